"""The smoke test finds what is wrong with a gateway: a small stand-in for one, sound but for one fault at a time."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from infra.smoke.__main__ import main

KEY, ADMIN = "sk-good", "sk-admin"
SOUND = ""


class Gateway(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.rows: list[dict[str, Any]] = []
        self.numbers = itertools.count()
        self.revoked = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def log_message(self, *_: Any) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.rid = f"r{next(self.server.numbers)}"

    @property
    def fault(self) -> str:
        return self.server.fault

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.fault == "dead":
            self.close_connection = True
            return
        if path == "/health":
            self.answer(200, {"status": "ok"})
        elif path == "/v1/usage":
            self.answer(200, {"total": {"requests": 0 if self.fault == "no total" else len(self.server.rows)}})
        elif path == "/v1/usage/requests":
            self.answer(200, {"data": [] if self.fault == "no rows" else self.server.rows})
        else:
            self.answer(200, {"data": [1], "models": [] if self.fault == "no models" else [1]})

    def do_DELETE(self) -> None:
        self.server.revoked = True
        self.answer(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/admin/keys":
            self.answer(201, {"key": "sk-new", "kid": "new"})
            return
        sent = self.headers.get("authorization", "").removeprefix("Bearer ")
        key = self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or sent
        revoked = key == "sk-new" and self.server.revoked and self.fault != "not revoked"
        if (key not in (KEY, "sk-new") and self.fault != "any key") or revoked:
            self.refuse()
            return
        dialect = self.dialect()
        cost = 0 if self.fault == "free" else 5
        self.server.rows.append(
            {"request_id": self.rid, "endpoint": dialect, "status": 200, "input_tokens": 3, "cost_nano_usd": cost}
        )
        if body.get("stream") or ":stream" in self.path:
            self.stream(dialect)
        else:
            self.answer(200, ANSWERS[dialect])

    def dialect(self) -> str:
        return next(name for part, name in PATHS.items() if part in self.path)

    def refuse(self) -> None:
        if self.dialect() == "messages":
            error: dict[str, Any] = {"type": "authentication_error", "message": "no"}
        elif self.dialect() == "native":
            error = {"status": "UNAUTHENTICATED", "code": 401, "message": "no"}
        else:
            error = {"code": "invalid_api_key", "message": "no"}
        self.answer(401, {"error": "no" if self.fault == "plain errors" else error})

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("x-request-id", self.rid)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, dialect: str) -> None:
        self.send_response(200)
        self.send_header("x-request-id", self.rid)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        last = json.dumps({}) if self.fault == "cut" else ENDS[dialect]
        pieces = [": ok\n\n", 'data: {"candidates": [{}]}\n\n', f"data: {last}\n\n"]
        if self.fault == "buffered":
            pieces = [pieces[0], "".join(pieces[1:])]
        for piece in pieces:
            data = piece.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
            time.sleep(0.001 if self.fault == "at once" else 0.03)
        self.wfile.write(b"0\r\n\r\n")


PATHS = {
    "chat/completions": "chat",
    "responses": "responses",
    "messages": "messages",
    "enerateContent": "native",
    "embeddings": "embeddings",
}
ANSWERS: dict[str, Any] = {
    "chat": {"choices": [{"message": {"content": "one"}}]},
    "responses": {"output": [{"content": [{"text": "one"}]}]},
    "messages": {"content": [{"type": "text", "text": "one"}]},
    "native": {"candidates": [{"content": {"parts": [{"text": "one"}]}}]},
    "embeddings": {"data": [{"embedding": [0.1, 0.2]}]},
}
ENDS = {
    "chat": "[DONE]",
    "responses": '{"type": "response.completed"}',
    "messages": '{"type": "message_stop"}',
    "native": '{"candidates": [{"finishReason": "STOP"}]}',
}
STREAMS = {f"{name}, streamed" for name in ENDS}
REFUSALS = {f"{name}, wrong key" for name in [*ENDS, "embeddings"]}


@contextmanager
def gateway(fault: str) -> Iterator[str]:
    with Gateway(fault) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def failures(said: str) -> set[str]:
    return {line.partition("  ")[0] for line in said.splitlines() if " FAIL " in line}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (SOUND, set()),
        ("buffered", STREAMS),
        ("at once", STREAMS),
        ("cut", STREAMS),
        ("any key", REFUSALS),
        ("plain errors", REFUSALS | {"revocation"}),
        ("no models", {"models, Google"}),
        ("no rows", {"metering"}),
        ("no total", {"metering"}),
        ("free", {"metering"}),
        ("not revoked", {"revocation"}),
        ("dead", {"health", "own usage", "models, OpenAI", "models, Anthropic", "models, Google", "metering"}),
    ],
)
def test_each_fault_fails_its_checks(
    fault: str, expected: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.smoke.checks._SETTLE_S", 0.3)
    with gateway(fault) as url:
        status = main(["--url", f"{url}/v1", "--key", KEY, "--admin-key", ADMIN, "--min-spread-ms", "15"])
    said = capsys.readouterr().out
    assert failures(said) == expected, said
    assert status == (1 if expected else 0)
    assert KEY not in said
    assert ADMIN not in said


def test_without_an_admin_key_it_says_what_it_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with gateway(SOUND) as url:
        assert main(["--url", url, "--key", KEY]) == 0
    assert "revocation was not checked" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--url", "gateway.example"], ["--url", "https://gateway.example"]])
def test_it_asks_for_what_it_needs(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "KEY", "ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "make smoke URL=" in capsys.readouterr().err
