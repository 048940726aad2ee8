"""The proof that a request came in through the edge, and both planes on one address."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shared.gateway.app import outside
from shared.gateway.context import Exchange
from shared.gateway.front_door import FrontDoor, OneAddress, control_serves
from shared.stores.aws import AwsFailure
from shared.stores.protocols import StoreUnavailable
from shared.stores.secrets import SecretsManagerOrigin
from tests.unit.template_rules import PROJECT

CURRENT, PREVIOUS = "c" * 64, "p" * 64


class Secrets:
    def __init__(self, *values: str) -> None:
        self.values = values

    async def accepted(self) -> Sequence[bytes]:
        if not self.values:
            raise StoreUnavailable("no secret", retry_after=1)
        return [value.encode() for value in self.values]


async def _echo(request: Request) -> JSONResponse:
    asked_by = Exchange.begin(request, 0).source_ip
    return JSONResponse({"path": request.url.path, "headers": sorted(request.headers.keys()), "asked_by": asked_by})


APP = Starlette(routes=[Route("/{rest:path}", _echo, methods=["GET", "POST"])])


async def ask(
    app: Any, path: str = "/v1/models", headers: Sequence[tuple[str, str]] = (), event: Any = None, query: bytes = b""
) -> tuple[int, dict[str, Any], dict[str, str]]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [[name.encode(), value.encode()] for name, value in headers],
        "client": ("192.0.2.1", 0),
        "server": ("gateway", 443),
        "scheme": "https",
        "aws.event": event or {"requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    named = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], json.loads(body), named


def door(*values: str) -> FrontDoor:
    return FrontDoor(APP, Secrets(*values), outside)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/upload/v1beta/files", b"upload_id=acct.abc&upload_protocol=resumable", 200),
        ("/upload/v1beta/files", b"upload_protocol=resumable", 403),
        ("/upload/v1beta/files", b"upload_id=", 403),
        ("/upload/v1beta/files", b"upload_id", 403),
        ("/upload/v1beta/files", b"xupload_id=acct.abc", 403),
        ("/v1/models", b"upload_id=acct.abc", 403),
    ],
)
async def test_pieces_of_an_upload_arrive_at_the_address_that_their_session_was_given(
    path: str, query: bytes, expected: int
) -> None:
    assert (await ask(door(CURRENT), path, query=query))[0] == expected


@pytest.mark.parametrize("value", [CURRENT, PREVIOUS])
async def test_either_secret_opens_and_goes_no_further(value: str) -> None:
    status, body, _ = await ask(door(CURRENT, PREVIOUS), headers=[("x-origin-verify", value), ("accept", "*/*")])
    assert (status, body["headers"]) == (200, ["accept"])


EDGE = {"requestContext": {"domainName": "x.on.aws", "http": {"sourceIp": "198.51.100.1"}}}


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["10.0.0.1, 203.0.113.9"], "203.0.113.9"),  # what a client claims stands before what the edge adds
        (["10.0.0.1", "203.0.113.9"], "203.0.113.9"),
        (["10.0.0.1,2001:db8::9"], "2001:db8::9"),
        (["10.0.0.1, 203.0.113.9, 198.51.100.1"], "203.0.113.9"),  # the edge's own, added by what it asks
        (["198.51.100.1"], "198.51.100.1"),
        ([], "198.51.100.1"),
    ],
)
async def test_behind_the_edge_the_client_is_whom_the_edge_was_asked_by(forwarded: Sequence[str], address: str) -> None:
    """Keys are bound to addresses, and failed authentications counted, by client and not by edge."""
    headers = [("x-origin-verify", CURRENT), *(("x-forwarded-for", value) for value in forwarded)]
    assert (await ask(door(CURRENT), headers=headers, event=EDGE))[1]["asked_by"] == address


async def test_without_an_edge_no_forwarding_header_is_believed() -> None:
    claimed = [("x-forwarded-for", "203.0.113.9")]
    assert (await ask(APP, headers=claimed, event=EDGE))[1]["asked_by"] == "198.51.100.1"
    rest = {"requestContext": {"identity": {"sourceIp": "198.51.100.2"}}}
    assert (await ask(APP, headers=claimed, event=rest))[1]["asked_by"] == "198.51.100.2"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-origin-verify", "")],
        [("x-origin-verify", CURRENT[:-1])],
        [("x-origin-verify", CURRENT + "c")],
        [("x-origin-verify", f"{CURRENT},{PREVIOUS}")],
        # a second one, written by a client, must not open what the first does not
        [("x-origin-verify", "guess"), ("x-origin-verify", CURRENT)],
        [("authorization", f"Bearer {CURRENT}")],
    ],
)
async def test_everything_else_does_not(headers: Sequence[tuple[str, str]]) -> None:
    status, body, answered = await ask(door(CURRENT, PREVIOUS), headers=headers)
    assert status == 403
    assert CURRENT not in json.dumps(body)
    assert answered["x-request-id"]


async def test_health_is_behind_it_too() -> None:
    assert (await ask(door(CURRENT), "/health"))[0] == 403


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/v1/chat/completions", [], lambda body: body["error"]["code"] and body["error"]["message"]),
        ("/v1/messages", [], lambda body: body["type"] == "error" and body["error"]["type"] == "permission_error"),
        ("/v1/models", [("anthropic-version", "2023-06-01")], lambda body: body["type"] == "error"),
        ("/v1beta/models/x:generateContent", [], lambda body: body["error"]["status"] == "PERMISSION_DENIED"),
        ("/admin/keys", [], lambda body: {"code", "message", "param"} <= set(body["error"])),
    ],
)
async def test_refused_in_the_words_of_the_path(path: str, headers: Sequence[tuple[str, str]], shape: Any) -> None:
    status, body, _ = await ask(door(CURRENT), path, headers)
    assert status == 403
    assert shape(body)


async def test_without_a_secret_nobody_comes_in() -> None:
    status, _, headers = await ask(door(), headers=[("x-origin-verify", "")])
    assert (status, headers["retry-after"]) == (503, "1")


async def test_what_iam_let_in_needs_no_secret() -> None:
    """The gateway's own invocations, which go on in the background, were not asked for at a URL."""
    status, body, _ = await ask(door(CURRENT), "/internal/x", event={"requestContext": {"http": {}}})
    assert (status, body["path"]) == (200, "/internal/x")


class FakeAws:
    """Answers `get_secret_value` with `text`; None fails."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.calls = 0

    async def call(self, service: str, operation: str, **request: Any) -> Any:
        self.calls += 1
        assert (service, operation, request) == ("secretsmanager", "get_secret_value", {"SecretId": "gw/prod/origin"})
        if self.text is None:
            raise AwsFailure("secretsmanager.get_secret_value", "ResourceNotFoundException")
        return {"SecretString": self.text}


async def test_the_secret_is_read_every_five_minutes() -> None:
    now = [0.0]
    aws: Any = FakeAws(json.dumps({"current": CURRENT, "previous": ""}))
    secrets = SecretsManagerOrigin(aws, "gw/prod/origin", clock=lambda: now[0])
    for _ in range(3):
        assert await secrets.accepted() == (CURRENT.encode(),)
    assert aws.calls == 1
    aws.text = json.dumps({"current": "n" * 64, "previous": CURRENT})
    now[0] = 301.0
    assert await secrets.accepted() == (b"n" * 64, CURRENT.encode())
    aws.text, now[0] = None, 700.0
    assert len(await secrets.accepted()) == 2  # what is known stays in use while AWS does not answer
    assert aws.calls == 3


@pytest.mark.parametrize("text", [None, "", "{}", '{"current":""}', '{"previous":"x"}', '["current"]', "ossifrage"])
async def test_a_secret_without_a_current_value_is_none(text: str | None) -> None:
    aws: Any = FakeAws(text)
    with pytest.raises(StoreUnavailable) as raised:
        await SecretsManagerOrigin(aws, "gw/prod/origin").accepted()
    assert "ossifrage" not in str(raised.value)


async def test_the_control_plane_is_opened_by_its_first_request() -> None:
    opened: list[int] = []

    def open_control() -> Any:
        opened.append(1)
        return Starlette(routes=[Route("/admin/keys", lambda request: JSONResponse({"plane": "control"}))])

    app = OneAddress(APP, open_control)
    assert (await ask(app, "/v1/chat/completions"))[1]["path"] == "/v1/chat/completions"
    assert not opened
    for _ in range(2):
        assert (await ask(app, "/admin/keys"))[1] == {"plane": "control"}
    assert opened == [1]


@pytest.mark.parametrize("path", ["/admin/keys", "/admin", "/v1/usage", "/v1/usage/requests", "/docs", "/console/x"])
def test_paths_of_the_control_plane(path: str) -> None:
    assert control_serves(path)


@pytest.mark.parametrize("path", ["/", "/administrator", "/v1/usages", "/v1/models", "/documents", "/health"])
def test_paths_of_the_data_plane(path: str) -> None:
    assert not control_serves(path)


def test_the_one_function_imports_fastapi_for_the_control_plane_only() -> None:
    code = """
import asyncio, sys
from handlers.gateway import handler

async def status(path):
    sent = []
    async def send(message): sent.append(message)
    async def receive(): return {"type": "http.request", "body": b"", "more_body": False}
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "root_path": "",
             "client": ("192.0.2.1", 0), "server": ("x", 443), "scheme": "https"}
    await handler.app(scope, receive, send)
    return sent[0]["status"]

async def main():
    assert await status("/health") == 200
    assert not {"fastapi", "pydantic"} & set(sys.modules), "imported before anybody asked for it"
    assert await status("/docs") == 200
    assert "fastapi" in sys.modules

asyncio.run(main())
"""
    names = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "GEMINI_POOL_SECRET_ID", "SETTLE_QUEUE_URL")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **dict.fromkeys(names, "x")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
