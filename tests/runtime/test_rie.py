"""Rung two: AWS's own Runtime API server (the emulator binary in the aws-sam-cli wheel) takes our loop's protocol."""

import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.function_url import PROJECT
from infra.local.tool_environments import tool
from tests.runtime.conftest import APPS

EVENTS = PROJECT / "tests" / "events"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheel has binaries for Linux only")


@pytest.fixture(scope="module")
def binary() -> Path:
    architecture = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    packages = tool("sam").parents[1] / "lib"
    (found,) = packages.glob(f"python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def emulated(binary: Path, app: str, timeout: int = 30) -> Iterator[int]:
    """The port that takes events. RIE would bind 0.0.0.0 if it were not told both addresses."""
    port = free_port()
    command = [
        *(str(binary), "--log-level", "error", "--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{free_port()}", sys.executable, "-m", "shared.lambda_runtime"),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "_HANDLER": f"{APPS}.{app}.handler",
        "LAMBDA_TASK_ROOT": str(PROJECT),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
    }
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


def invoke(port: int, event: dict[str, object]) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
        return connection.getresponse().read()
    finally:
        connection.close()


def event_for(path: str, query: str = "") -> dict[str, object]:
    event = json.loads((EVENTS / "chat_stream.json").read_text())
    event |= {"rawPath": path, "rawQueryString": query}
    event["requestContext"]["http"] |= {"path": path, "method": "GET"}
    return event


def split(answer: bytes) -> tuple[dict[str, object], bytes]:
    prelude, delimiter, body = answer.partition(b"\0" * 8)
    assert delimiter, answer
    return json.loads(prelude), body


def test_streams_and_plain_replies_on_one_process(binary: Path) -> None:
    with emulated(binary, "web") as port:
        head, body = split(invoke(port, event_for("/paced", "n=3&ms=10")))
        assert head["statusCode"] == 200
        assert body == b": ok\n\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"
        head, body = split(invoke(port, event_for("/empty", "status=204")))
        assert (head["statusCode"], body) == (200, b"\n")
        first, second = (json.loads(split(invoke(port, event_for("/echo")))[1]) for _ in range(2))
        assert (first["pid"], first["served"] + 1) == (second["pid"], second["served"])
        assert 0 < first["remaining_ms"] <= 30_000


@pytest.mark.parametrize("repeat", [1, 5_000])
def test_error_trailers_leave_the_process_alive(binary: Path, repeat: int) -> None:
    with emulated(binary, "web") as port:
        pid = json.loads(split(invoke(port, event_for("/echo")))[1])["pid"]
        assert split(invoke(port, event_for("/fails-late", f"repeat={repeat}")))[1] == b": ok\n\ndata: one\n\n"
        assert json.loads(split(invoke(port, event_for("/echo")))[1])["pid"] == pid


def test_errors_before_the_reply(binary: Path) -> None:
    with emulated(binary, "bare") as port:
        assert json.loads(invoke(port, event_for("/raise")))["errorType"] == "Runtime.LookupError"
        assert split(invoke(port, event_for("/")))[1] == b"fine"


def test_init_error(binary: Path) -> None:
    with emulated(binary, "broken") as port:
        assert json.loads(invoke(port, event_for("/")))["errorMessage"] == "RuntimeError: PEPPER_SECRET_ID is not set"
