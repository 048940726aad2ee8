"""The emulator as a bare ASGI application, without its server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.local.emulator import EmulatorServer, create_app
from infra.local.emulator.transport import ConnectionAborted


async def call(app: Any, text: str, model: str = "gemini-2.5-flash") -> tuple[int, bytes]:
    body = json.dumps({"contents": [{"parts": [{"text": text}]}]}).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": f"/v1beta/models/{model}:generateContent",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"x-goog-api-key", b"k")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    received = [
        {"type": "http.request", "body": body[:9], "more_body": True},
        {"type": "http.request", "body": body[9:]},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0) if received else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(("now", "ran"), [(1796083199.0, "gemini-2.5-flash"), (1796083200.0, "gemini-3.5-flash-lite")])
async def test_the_clock_is_the_callers(now: float, ran: str) -> None:
    status, body = await call(create_app(clock=lambda: now), "hello")
    assert (status, json.loads(body)["modelVersion"]) == (200, ran)


async def test_a_reset_without_a_transport_breaks_the_call() -> None:
    app = create_app()
    with pytest.raises(ConnectionAborted):
        await call(app, "@emulator reset after 0", "gemini-3.8-flash")


def test_a_stopped_server_is_gone_and_can_start_again() -> None:
    server = EmulatorServer()
    server.start()
    first = server.port
    server.stop()
    server.start()
    try:
        assert server.base_url == f"http://127.0.0.1:{first}"
    finally:
        server.stop()
