"""The real chat function behind the function URL: proof that tokens leave as they come, on every side of our code."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.function_url import PROJECT, FunctionUrlServer
from tests.runtime.backends import Backends, running
from tests.runtime.conftest import APPS, call

PAUSE = 0.2


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    with running(tmp_path_factory.mktemp("backends")) as backends:
        yield backends


@pytest.fixture(scope="module")
def served(backends: Backends) -> Iterator[str]:
    with FunctionUrlServer("chat_completions", env=backends.variables, processes=2) as server:
        assert server.init_error is None
        yield server.base_url
        assert server.violations == []


def chat(base_url: str, key: str, **body: object) -> list[tuple[float, bytes]]:
    """POST over a bare socket: (seconds since the request left, what arrived)."""
    parts = urlsplit(base_url)
    content = json.dumps(
        {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hello"}], **body}
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as connection:
        began = time.monotonic()
        connection.sendall(head.encode() + content)
        arrivals = []
        while data := connection.recv(65_536):
            arrivals.append((time.monotonic() - began, data))
    return arrivals


def text_times(arrivals: list[tuple[float, bytes]]) -> list[float]:
    return [at for at, data in arrivals if re.search(rb'"content": ?"[^"]', data)]


def test_first_text_leaves_before_the_upstreams_second_chunk(served: str, backends: Backends) -> None:
    backends.emulator.script({"text": "one two three four five six", "chunks": 5, "pace_ms": PAUSE * 1000, "times": 2})
    chat(served, backends.client_key, stream=True)  # imports of the first request
    arrivals = chat(served, backends.client_key, stream=True)
    times = text_times(arrivals)
    assert arrivals[0][1].startswith(b"HTTP/1.1 200")
    assert times[0] < PAUSE, times
    assert times[-1] > 3 * PAUSE, times
    assert len(times) >= 5, times


def test_the_stock_loop_fails_the_same_check(backends: Backends) -> None:
    command = [sys.executable, "-m", "awslambdaric", "handlers.chat_completions.handler"]
    backends.emulator.script({"text": "one two three four five six", "chunks": 5, "pace_ms": PAUSE * 1000, "times": 2})
    with FunctionUrlServer("chat_completions", env=backends.variables, processes=1, command=command) as server:
        chat(server.base_url, backends.client_key, stream=True)
        times = text_times(chat(server.base_url, backends.client_key, stream=True))
    assert len(times) == 1
    assert times[0] > 3 * PAUSE


def test_each_request_is_booked_before_the_next(served: str, backends: Backends) -> None:
    before = len(backends.rows())
    for stream in (True, False):
        assert b" 200 " in chat(served, backends.client_key, stream=stream)[0][1]
    for _ in range(40):
        if len(backends.rows()) == before + 2:
            break
        time.sleep(0.05)
    assert len(backends.rows()) == before + 2


def test_health_needs_no_key(served: str) -> None:
    assert call(served, "/health").status == 200


def test_missing_configuration_is_an_init_error() -> None:
    with FunctionUrlServer("chat_completions") as server:
        assert server.init_error is not None
        assert "USAGE_TABLE" in server.init_error.message
        assert call(server.base_url, "/health").status == 502


def test_the_command_brings_what_the_function_stands_on(tmp_path: Path) -> None:
    """`make function-url` in a fresh clone: embedded AWS, the emulator, a client key in the state folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.function_url", "--port", "0"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GATEWAY_STATE_DIR": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("function URL of handlers.chat_completions.handler: ")
        key = json.loads((tmp_path / "state" / "credentials.json").read_text())["client_key"]
        reply = b"".join(data for _, data in chat(line.split()[-1], key))
        assert b'"object":"chat.completion"' in reply.replace(b": ", b":")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_dotted_handler_needs_no_services() -> None:
    with FunctionUrlServer(f"{APPS}.bare.handler") as server:
        assert call(server.base_url, "/").body == b"fine"
