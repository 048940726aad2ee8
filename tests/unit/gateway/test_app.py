"""How a request comes to its endpoint, and what every answer carries."""

import asyncio
import json
from typing import Any
from unittest.mock import MagicMock

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from shared.errors import GatewayError
from shared.gateway import app as app_module
from shared.gateway.app import DataPlane, Endpoint, build_app
from shared.gateway.pipeline import Services
from shared.gateway.registry import ROWS
from shared.gateway.request_headers import header, headers_of
from shared.gateway.responses import json_response
from shared.gateway.settings import Settings
from shared.stores.protocols import StoreUnavailable

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.fixture(scope="module")
def app() -> DataPlane:
    parts: Any = MagicMock()
    return build_app(Services(Settings(), parts, parts, parts, parts, parts, secrets=parts, kept=parts, owned=parts))


def scope_of(method: str, path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": list(headers), "client": ("192.0.2.1", 1), "server": ("x", 80), "scheme": "http",
    }  # fmt: skip


def by_starlette(app: DataPlane, scope: dict[str, Any]) -> Any:
    """The application and parameters that Starlette's search through all routes ends with."""
    for route in app.routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            return route.app, found["path_params"]  # type: ignore[attr-defined]
    return app_module._unrouted, {}


@pytest.mark.parametrize("method", METHODS)
def test_every_path_leads_where_starlettes_search_leads(app: DataPlane, method: str) -> None:
    filled = [row.path.replace("{name:path}", "m:call").replace("{rest:path}", "a/b") for row in ROWS]
    paths = [path.replace("{", "").replace("}", "").replace(":path", "") for path in filled]
    paths += [path + "/" for path in paths] + [path + "/more" for path in paths]
    for path in [*paths, "/", "/health", "/api/hello", "/nowhere", "/v1", "", "/v1/models/a%2Fb", "/V1/MESSAGES"]:
        scope = scope_of(method, path)
        expected = by_starlette(app, dict(scope))
        assert (app._app_of(scope), scope.get("path_params", {})) == expected, path


async def answer(app: Any, scope: dict[str, Any], raising: bool = False) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    if raising:
        with pytest.raises(ZeroDivisionError):
            await app(scope, receive, send)
    else:
        await app(scope, receive, send)
    assert len(dict(sent[0]["headers"])) == len(sent[0]["headers"])
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("PROPFIND", "/v1/messages"), ("POST", "/health")])
async def test_what_leads_nowhere_is_not_found(app: DataPlane, method: str, path: str) -> None:
    status, headers, body = await answer(app, scope_of(method, path, (b"x-request-id", b"mine")))
    assert (status, headers[b"x-request-id"]) == (404, b"mine")
    assert json.loads(body)["error"]["message"].startswith(f"Unknown path: {path}")


@pytest.mark.parametrize(
    ("path", "google"),
    [("/v1beta/nowhere", True), ("/v1alpha/nowhere", True), ("/v1beta/openai/nowhere", False), ("/v1/nowhere", False)],
)
async def test_an_unknown_path_is_one_in_the_words_of_its_prefix(app: DataPlane, path: str, google: bool) -> None:
    """Also for clients that send Google's paths a bearer token, as one vendor's document does."""
    _, _, body = await answer(app, scope_of("POST", path, (b"authorization", b"Bearer x")))
    assert ("status" in json.loads(body)["error"]) == google


async def test_health_needs_no_key(app: DataPlane) -> None:
    status, headers, body = await answer(app, scope_of("GET", "/health"))
    assert (status, body) == (200, b'{"status":"ok"}')
    assert len(headers[b"x-request-id"]) == 26


async def test_an_error_that_cannot_even_be_rendered_is_answered_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any) -> Response:
        raise GatewayError("internal", "x")

    ways = iter((lambda *_: 1 / 0, app_module._refusal))
    monkeypatch.setattr(app_module, "_refusal", lambda *given: next(ways)(*given))
    endpoint = Endpoint(fails, Settings(), ROWS[0])
    status, _, body = await answer(endpoint, scope_of("POST", ROWS[0].path), raising=True)
    assert (status, json.loads(body)["error"]["message"][:15]) == (500, "Internal error.")


async def test_a_store_that_fails_is_told_to_the_operator_only(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(*_: Any) -> Response:
        raise GatewayError("unavailable", "Not now.") from StoreUnavailable("dynamodb.update_item: AccessDenied")

    endpoint = Endpoint(fails, Settings(), ROWS[0])
    status, headers, body = await answer(endpoint, scope_of("POST", ROWS[0].path))
    assert (status, b"AccessDenied" in body) == (503, False)
    (record,) = [record for record in caplog.records if record.message == "store_unavailable"]
    told: Any = record
    assert record.levelname == "ERROR"
    assert told.fields == {
        "error": "dynamodb.update_item: AccessDenied",
        "request_id": headers[b"x-request-id"].decode(),
    }


async def test_pieces_of_an_answer_go_to_the_server_itself(app: DataPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands in between that would cost every piece of a stream its own calls."""
    seen: list[Any] = []

    async def listens(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send)

    async def send(message: Any) -> None: ...

    async def receive() -> Any: ...

    monkeypatch.setattr(app._exact["/v1/messages"], "app", listens)
    await app(scope_of("POST", "/v1/messages"), receive, send)
    assert seen == [send]


async def test_a_websocket_is_told_that_there_is_none(app: DataPlane) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {**scope_of("GET", "/v1/responses"), "type": "websocket", "extensions": {"websocket.http.response": {}}}
    del scope["method"]
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == 426


def test_a_whole_answer_has_the_headers_that_starlette_would_give_it() -> None:
    given = {"x-a": "1", "retry-after": "é"}
    ours, theirs = json_response(200, {"a": "é"}, given), Response('{"a":"é"}', 200, given, "application/json")
    assert ours.raw_headers == theirs.raw_headers
    assert (ours.body, ours.status_code, ours.background) == (theirs.body, 200, None)


async def test_what_comes_after_an_answer_waits_for_its_last_byte() -> None:
    done: list[str] = []

    async def after() -> None:
        await asyncio.sleep(0)
        done.append("after")

    async def send(message: Any) -> None:
        done.append(message["type"])

    response = json_response(200, {}, after=after)
    await response({"type": "http"}, None, send)  # type: ignore[arg-type]
    assert done == ["http.response.start", "http.response.body", "after"]


@pytest.mark.parametrize("name", [b"x-a", b"x-b", b"x-c"])
def test_of_a_repeated_header_the_first_counts_as_everywhere(name: bytes) -> None:
    request = Request(scope_of("GET", "/", (b"x-a", b"1"), (b"x-b", b"\xe9"), (b"x-a", b"2")))
    assert header(request, name) == request.headers.get(name.decode(), "")
    assert (name in headers_of(request)) == (name.decode() in request.headers)
