"""The process: start, what it does when it cannot, and its end."""

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from infra.local.function_url import PROJECT
from tests.runtime.conftest import APPS, Serve, call
from tests.runtime.scripted_api import Exchange, ScriptedApi

WRAPPER = PROJECT / "stream-wrapper"


def start(app: str, api: ScriptedApi, *stock: str, **environment: str) -> subprocess.Popen[bytes]:
    variables = {
        "PATH": os.environ["PATH"],
        "_HANDLER": f"{APPS}.{app}.handler",
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "PYTHONPATH": str(PROJECT),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "shared.lambda_runtime", *stock],
        cwd=PROJECT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, list[dict[str, object]]]:
    output, _ = process.communicate(timeout=20)
    return process.returncode, [json.loads(line) for line in output.decode().splitlines()]


@pytest.mark.parametrize(
    ("app", "kind", "message"),
    [
        ("broken", "Runtime.RuntimeError", "PEPPER_SECRET_ID is not set"),
        ("missing", "Runtime.ModuleNotFoundError", "No module named"),
        ("refuses", "Runtime.StartupFailed", "the pool is empty"),
        ("plain", "Runtime.TypeError", "no ASGI application"),
    ],
)
def test_init_errors_are_reported(app: str, kind: str, message: str) -> None:
    with ScriptedApi([Exchange("POST", "/init/error", 202)]) as api:
        code, lines = finish(start(app, api))
    assert code == 1
    request = api.requests[0]
    assert request.headers["lambda-runtime-function-error-type"] == kind
    document = json.loads(request.body)
    assert document["errorType"] == kind
    assert document["stackTrace"] == []
    assert message in document["errorMessage"]
    assert lines[-1]["level"] == "CRITICAL"


def test_init_error_through_the_emulator(serve: Serve) -> None:
    function = serve("broken")
    assert function.server.init_error is not None
    assert function.server.init_error.error_type == "Runtime.RuntimeError"
    assert call(function.url, "/").status == 502


def test_a_refused_next_ends_the_process_with_1() -> None:
    with ScriptedApi([Exchange("GET", "/invocation/next", 403)]) as api:
        code, lines = finish(start("bare", api))
    assert code == 1
    assert lines[-1]["status"] == 403


def test_a_vanished_runtime_api_ends_the_process_with_1() -> None:
    with ScriptedApi([Exchange("GET", "/invocation/next", 0)]) as api:
        code, lines = finish(start("bare", api))
    assert code == 1
    assert lines[-1]["level"] == "CRITICAL"


def test_sigterm_runs_the_lifespans_shutdown_and_ends_with_0() -> None:
    with ScriptedApi([Exchange("GET", "/invocation/next", hold=True)]) as api:
        process = start("web", api)
        api.wait_for(1)
        process.send_signal(signal.SIGTERM)
        code, lines = finish(process)
    assert code == 0
    assert lines[-1]["message"] == "lifespan shutdown"


EVENT = {
    "version": "2.0",
    "rawPath": "/",
    "requestContext": {"http": {"method": "GET", "path": "/", "sourceIp": "192.0.2.1"}},
}


def next_event(event: object, **headers: str) -> Exchange:
    return Exchange(
        "GET",
        "/invocation/next",
        200,
        headers={"Lambda-Runtime-Aws-Request-Id": "r1", "Lambda-Runtime-Deadline-Ms": "9999999999999", **headers},
        body=event if isinstance(event, bytes) else json.dumps(event).encode(),
    )


def test_the_bytes_of_a_reply() -> None:
    script = [
        next_event(EVENT, **{"Lambda-Runtime-Invocation-Id": "i1"}),
        Exchange("POST", "/invocation/r1/response", 202),
        Exchange("GET", "/invocation/next", 403),
    ]
    with ScriptedApi(script) as api:
        finish(start("bare", api))
    request = api.requests[1]
    assert request.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
    assert request.headers["lambda-runtime-function-response-mode"] == "streaming"
    assert request.headers["transfer-encoding"] == "chunked"
    assert request.headers["lambda-runtime-invocation-id"] == "i1"
    assert request.headers["trailer"] == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    prelude = b'{"statusCode":200,"headers":{"content-type":"text/plain"},"cookies":[]}' + b"\0" * 8
    assert request.chunks == [prelude, b"fine"]
    assert request.trailers == {}


@pytest.mark.parametrize("event", [b"not json", {}, ["x"], {"version": "2.0", "requestContext": {"http": {}}}])
def test_events_nobody_can_read_are_errors_and_the_loop_goes_on(event: object) -> None:
    script = [
        next_event(event),
        Exchange("POST", "/invocation/r1/error", 202),
        Exchange("GET", "/invocation/next", 403),
    ]
    with ScriptedApi(script) as api:
        code, _ = finish(start("bare", api))
    assert code == 1
    assert (
        json.loads(api.requests[1].body)["errorType"] == api.requests[1].headers["lambda-runtime-function-error-type"]
    )


def test_a_rest_proxy_event_is_read_by_mangum() -> None:
    event = json.loads((Path(__file__).parents[1] / "events" / "rest_proxy_v1.json").read_text())
    script = [
        next_event(event),
        Exchange("POST", "/invocation/r1/response", 202),
        Exchange("GET", "/invocation/next", 403),
    ]
    with ScriptedApi(script) as api:
        finish(start("bare", api))
    assert api.requests[1].chunks[1:] == [b"fine"]


@pytest.mark.parametrize("status", [403, 500])
def test_a_refused_reply_is_logged_and_the_loop_goes_on(status: int) -> None:
    script = [next_event(EVENT), Exchange("POST", "/invocation/r1/response", status), next_event(EVENT)]
    script += [Exchange("POST", "/invocation/r1/response", 202), Exchange("GET", "/invocation/next", 403)]
    with ScriptedApi(script) as api:
        _, lines = finish(start("bare", api))
    assert [line["status"] for line in lines if "detail" in line] == [status]
    assert len(api.requests) == 5


def test_a_reply_that_cannot_be_delivered_does_not_end_the_loop() -> None:
    """The connection is closed in the middle of the reply: the next one is made on a new connection."""
    script = [next_event(EVENT), Exchange("POST", "/invocation/r1/response", 0), next_event(EVENT)]
    script += [Exchange("POST", "/invocation/r1/response", 202), Exchange("GET", "/invocation/next", 403)]
    with ScriptedApi(script) as api:
        _, lines = finish(start("bare", api))
    assert any(line["message"] == "the Runtime API did not take the reply" for line in lines)
    assert api.requests[3].chunks[1:] == [b"fine"]


def test_two_connections_are_kept() -> None:
    script = []
    for _ in range(3):
        script += [next_event(EVENT), Exchange("POST", "/invocation/r1/response", 202)]
    with ScriptedApi([*script, Exchange("GET", "/invocation/next", 403)]) as api:
        finish(start("bare", api))
    assert api.connections == 2


def test_a_handler_without_an_application_gets_the_stock_loop(serve: Serve) -> None:
    reply = call(serve("plain").url, "/scheduled")
    assert (reply.status, reply.body) == (200, b"awslambdaric /scheduled")


@pytest.mark.parametrize(
    ("side", "script", "code"),
    [
        ("", [("GET", "/restore/next", 200), ("GET", "/invocation/next", 403)], 1),
        ("before", [("POST", "/init/error", 202)], 64),
        ("after", [("GET", "/restore/next", 200), ("POST", "/restore/error", 202)], 65),
    ],
)
def test_snapstart(side: str, script: list[tuple[str, str, int]], code: int) -> None:
    with ScriptedApi([Exchange(*step) for step in script]) as api:
        process = start("snapshot", api, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", FAIL=side)
        assert finish(process)[0] == code
    assert [(request.method, request.path) for request in api.requests] == [
        (method, path) for method, path, _ in script
    ]
    if side:
        kind = {"before": "Runtime.BeforeSnapshotError", "after": "Runtime.AfterRestoreError"}[side]
        assert api.requests[-1].headers["lambda-runtime-function-error-type"] == kind


def test_snapstart_hooks_run_in_order() -> None:
    steps = [
        Exchange("GET", "/restore/next", 200),
        next_event(EVENT),
        Exchange("POST", "/invocation/r1/response", 202),
        Exchange("GET", "/invocation/next", 403),
    ]
    with ScriptedApi(steps) as api:
        finish(start("snapshot", api, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"))
    assert json.loads(api.requests[2].chunks[1]) == ["before 2", "before 1", "after 1", "after 2"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "-m shared.lambda_runtime PYTHON /var/runtime/bootstrap.py"),
        ({"AWS_SAM_LOCAL": "true"}, "/var/runtime/bootstrap.py"),
        ({"AWS_SAM_LOCAL": "true", "FORCE_STREAM": "1"}, "-m shared.lambda_runtime PYTHON /var/runtime/bootstrap.py"),
        ({"FORCE_STREAM": ""}, "-m shared.lambda_runtime PYTHON /var/runtime/bootstrap.py"),
    ],
)
def test_wrapper_chooses_the_loop(tmp_path: Path, variables: dict[str, str], expected: str) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\necho "$PYTHONPATH"\n')
    python.chmod(0o755)
    command = [WRAPPER, python, "/var/runtime/bootstrap.py"]
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, check=True
    )
    arguments, path = done.stdout.splitlines()
    assert arguments == expected.replace("PYTHON", str(python))
    assert path == ("/var/task:/opt/python:/var/runtime" if "shared" in expected else "")


def test_the_loop_imports_the_standard_library_only() -> None:
    code = "import sys, shared.lambda_runtime.loop; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    foreign = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"shared", "__main__"}
    assert {name for name in foreign if not name.startswith(("_", "sitecustomize"))} == set()


@pytest.mark.parametrize(("kind", "asked"), [("on-demand", {"secretsmanager.GetSecretValue"}), ("snap-start", set())])
def test_a_function_asks_aws_for_nothing_before_its_snapshot(kind: str, asked: set[str]) -> None:
    """An answer of Secrets Manager would be as old as the snapshot, and its connection as dead."""
    calls: set[str] = set()

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.add(self.headers["x-amz-target"])
            self.send_error(400)

        def log_message(self, *args: object) -> None:
            pass

    required = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "SETTLE_QUEUE_URL", "ORIGIN_SECRET_ID")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    Thread(target=server.serve_forever, daemon=True).start()
    environment = dict.fromkeys([*required, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "x") | {
        "_HANDLER": "handlers.chat_completions.handler",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
    }
    path = "/restore/next" if kind == "snap-start" else "/invocation/next"
    with ScriptedApi([Exchange("GET", path, 403)]) as api:
        code, _ = finish(start("bare", api, **environment))
    server.shutdown()
    server.server_close()
    assert (code, len(api.requests)) == (1, 1)
    assert calls == asked
