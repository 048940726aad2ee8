"""One emulator on a real port for these tests, and a small client that shows bytes as they came."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.local.emulator import EmulatorServer

NOVEMBER = 1795219200.0  # 2026-11-21T00:00:00Z


@dataclass
class Got:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The payloads of an SSE body; fails when the framing is not `data: ...CRLFCRLF`."""
        events = self.raw.decode().split("\r\n\r\n")
        assert events.pop() == ""
        assert all(event.startswith("data: ") for event in events)
        return [json.loads(event[6:]) for event in events]

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def candidate(self) -> dict[str, Any]:
        return dict(self.json["candidates"][0])


class Upstream:
    """Speaks to the emulator the way the gateway does: one key in one header."""

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Got:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=10)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"x-goog-api-key": "k"} if headers is None else headers)
            response = connection.getresponse()
            return Got(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def unary(self, model: str, body: Any, method: str = "generateContent") -> Got:
        return self.send("POST", f"/v1beta/models/{model}:{method}", body)

    def stream(self, model: str, body: Any) -> Got:
        return self.send("POST", f"/v1beta/models/{model}:streamGenerateContent?alt=sse", body)


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture(scope="session")
def connect() -> type[Upstream]:
    return Upstream


@pytest.fixture
def upstream(emulator: EmulatorServer) -> Upstream:
    emulator.reset()
    emulator.set_clock(NOVEMBER)
    return Upstream(emulator)


def say(text: str, **rest: Any) -> dict[str, Any]:
    """A request with one user text."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **rest}


@pytest.fixture(name="say")
def _say() -> Any:
    return say
