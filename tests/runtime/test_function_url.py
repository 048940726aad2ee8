"""The emulator itself: what AWS punishes is punished here too, or the other tests prove nothing."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.execution import Function
from infra.local.function_url import PROJECT, FunctionUrl, FunctionUrlServer, configuration
from tests.runtime.conftest import APPS, Serve, call, watch

COMMAND = [sys.executable, str(Path(__file__).parent / "apps" / "misbehaves.py")]


@pytest.mark.parametrize(
    ("path", "violation", "ends"),
    [
        ("/empty", "an empty streamed body", False),
        ("/unanswered", "/next was asked for", True),
        ("/no-prelude", "no prelude", True),
        ("/odd-prelude", "no prelude", True),
    ],
)
def test_violations_are_a_bad_gateway_and_are_recorded(serve: Serve, path: str, violation: str, ends: bool) -> None:
    server = serve("none", command=COMMAND, processes=1).server
    reply = call(server.base_url, path)
    assert (reply.status, reply.body) == (502, b'{"message":"Internal Server Error"}')
    assert call(server.base_url, "/").body == b"fine"
    assert any(text.startswith(violation) for text in server.violations)
    assert len(server.exit_codes) == (1 if ends else 0)


def test_long_trailers_kill_the_process_and_cut_the_client_off(serve: Serve) -> None:
    server = serve("none", command=COMMAND, processes=1).server
    assert call(server.base_url, "/long-trailers").complete is False
    assert call(server.base_url, "/").body == b"fine"
    assert server.violations == ["trailers above 4,096 bytes"]
    assert server.exit_codes == [-signal.SIGKILL]


def test_a_second_reply_is_refused(serve: Serve) -> None:
    function = serve("none", command=COMMAND, processes=1)
    assert call(function.url, "/twice").body == b"one"
    function.wait_for("second reply: 400")
    assert function.server.violations == ["a second or foreign /response"]


def test_the_timeout_kills(serve: Serve) -> None:
    server = serve("none", command=COMMAND, processes=1, timeout=0.5).server
    assert call(server.base_url, "/hang").status == 502
    assert call(server.base_url, "/").body == b"fine"
    assert server.exit_codes == [-signal.SIGKILL]


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/split-prelude", b"fine", "text/plain"),
        ("/plain-stream", b"raw", "application/octet-stream"),
        ("/value", b'{"a":1}', "application/json"),
    ],
)
def test_other_lawful_replies(serve: Serve, path: str, body: bytes, content_type: str) -> None:
    reply = call(serve("none", command=COMMAND).url, path)
    assert (reply.status, reply.body, reply.header("content-type")) == (200, body, content_type)


def test_malformed_http_is_a_400(serve: Serve) -> None:
    parts = urlsplit(serve("bare").url)
    for request in (
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"nonsense\r\n\r\n",
    ):
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5) as connection:
            connection.sendall(request)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400")


def test_keep_alive_and_expect_continue(serve: Serve) -> None:
    parts = urlsplit(serve("web").url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5) as connection:
        stream = connection.makefile("rwb")
        for _ in range(2):
            stream.write(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                b"Content-Length: 3\r\nContent-Type: text/plain\r\n\r\n"
            )
            stream.flush()
            assert stream.readline().startswith(b"HTTP/1.1 100")
            while stream.readline() != b"\r\n":
                pass
            stream.write(b"abc")
            stream.flush()
            assert stream.readline().startswith(b"HTTP/1.1 200")
            while stream.readline() != b"\r\n":
                pass
            body = b""
            while size := int(stream.readline(), 16):
                body += stream.read(size)
                stream.readline()
            stream.readline()
            assert json.loads(body)["size"] == 3


def test_stop_ends_the_processes(serve: Serve) -> None:
    server = FunctionUrlServer(f"{APPS}.web.handler")
    with server:
        pid = call(server.base_url, "/echo").json()["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert server.exit_codes == [0]


def test_a_taken_port_is_an_error(serve: Serve) -> None:
    port = urlsplit(serve("bare").url).port or 0
    with pytest.raises(OSError, match="in use"):
        FunctionUrlServer(f"{APPS}.bare.handler", port=port).start()


def command_line(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.local.function_url", "--port", "0", *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_one_line_and_stops_cleanly(number: signal.Signals) -> None:
    process = command_line(
        "--handler", f"{APPS}.web.handler", "--env", "MARKER", "--env", "LEAK=given", MARKER="passed on"
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"function URL of {APPS}.web.handler: http://127.0.0.1:")
    seen = call(line.split()[-1], "/echo").json()
    assert (seen["marker"], seen["leak"]) == ("passed on", "given")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, "")


def test_the_command_says_why_a_function_does_not_start() -> None:
    process = command_line("--handler", f"{APPS}.broken.handler")
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, "")
    assert "PEPPER_SECRET_ID is not set" in errors.splitlines()[-1]


def test_a_stream_that_is_cut_is_seen_as_cut(serve: Serve) -> None:
    assert watch(serve("web").url, "/dies?late").complete is False


def test_an_old_process_is_replaced_between_two_requests() -> None:
    """As its credentials end some day."""
    base = configuration(f"{APPS}.web.handler", environment={}, processes=1)
    asked: list[str] = []

    def credentials() -> dict[str, str]:
        asked.append(f"session {len(asked)}")
        return {"AWS_SESSION_TOKEN": asked[-1]}

    async def pids() -> tuple[int, int, list[int | None]]:
        function = Function(replace(base, credentials=credentials, lifetime=0.0))
        url = FunctionUrl(function)
        base_url = await url.start()
        try:
            seen = [(await asyncio.to_thread(call, base_url, "/echo")).json()["pid"] for _ in range(2)]
        finally:
            await url.stop()
        return seen[0], seen[1], function.exit_codes

    first, second, codes = asyncio.run(pids())
    assert first != second
    assert codes == [0, 0]
    assert asked == ["session 0", "session 1"]
