"""Small applications behind the function-URL emulator, and a client that sees when each piece arrives."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local.function_url import FunctionUrlServer

APPS = "tests.runtime.apps"


@dataclass
class Function:
    """A served function and what its processes have logged."""

    server: FunctionUrlServer
    log_file: Path

    @property
    def url(self) -> str:
        return self.server.base_url

    def logged(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, text: str) -> None:
        """A line may be written after its reply has left."""
        for _ in range(100):
            if text in self.logged():
                return
            time.sleep(0.05)
        raise AssertionError(f"{text!r} was never logged")

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.logged().splitlines()]


Serve = Callable[..., Function]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """``serve("web", processes=1, ...)`` -> Function; stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(app: str, **options: Any) -> Function:
            path = tmp_path / f"{app}.log"
            log = stack.enter_context(path.open("wb", buffering=0))
            return Function(stack.enter_context(FunctionUrlServer(f"{APPS}.{app}.handler", log=log, **options)), path)

        yield start


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The application of apps/web.py on one process, shared by the tests of a module."""
    path = tmp_path_factory.mktemp("web") / "log"
    with path.open("wb", buffering=0) as log:
        server = FunctionUrlServer(f"{APPS}.web.handler", processes=1, env={"MARKER": "from the template"}, log=log)
        with server:
            yield Function(server, path)
        assert server.violations == []


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    arrivals: list[tuple[float, bytes]] = field(default_factory=list)  # seconds after the request left; raw bytes
    complete: bool = True

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    base_url: str, target: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> Reply:
    """One request on a fresh connection; a cut reply is returned with ``complete=False``."""
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        response = connection.getresponse()
        try:
            return Reply(response.status, response.getheaders(), response.read())
        except http.client.IncompleteRead as error:
            return Reply(response.status, response.getheaders(), error.partial, complete=False)
    finally:
        connection.close()


def watch(base_url: str, target: str) -> Reply:
    """One GET over a bare socket: what arrives, and when."""
    parts = urlsplit(base_url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        began = time.monotonic()
        connection.sendall(request.encode())
        arrivals = []
        while data := connection.recv(65_536):
            arrivals.append((time.monotonic() - began, data))
    raw = b"".join(data for _, data in arrivals)
    head, _, body = raw.partition(b"\r\n\r\n")
    return Reply(int(head.split()[1]), [], body, arrivals, complete=body.endswith(b"0\r\n\r\n"))
