"""Rung three: the built artefact in a Lambda container, by `sam local invoke`, on an engine of the test's own.

Template, artefact, wrapper and both loops at once; DynamoDB, SSM, Secrets Manager and SQS are the embedded AWS, the
upstream is the Gemini emulator, both bound to the engine's bridge. Where the engine cannot run (not Linux, not root)
the tests are skipped, but never under CI=true.
"""

import base64
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.template import TemplateLoader
from tests.running import free_port
from tests.runtime.backends import Backends, running

PROJECT = Path(__file__).parents[2]
ENGINE = PROJECT / "infra" / "local" / "sam_ci.sh"
EVENTS = PROJECT / "tests" / "events"
FUNCTION = "ChatCompletionsFunction"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Iterator[dict[str, str]]:
    """What `sam_ci.sh up` prints: DOCKER_HOST, SAM, SAM_CI_ADDRESS, ARCH, PYVER."""
    able = subprocess.run([ENGINE, "check"], capture_output=True, text=True, check=False)
    if able.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"no container engine here: {able.stderr.strip()}")
    try:
        up = subprocess.run([ENGINE, "up"], capture_output=True, text=True, check=False, timeout=300)
        assert up.returncode == 0, up.stderr
        yield dict(line.split("=", 1) for line in up.stdout.splitlines())
    finally:
        subprocess.run([ENGINE, "down"], check=True, timeout=60)


@pytest.fixture(scope="module")
def backends(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Reachable from containers, as they are bound to the engine's bridge."""
    with running(tmp_path_factory.mktemp("backends"), host=engine["SAM_CI_ADDRESS"]) as backends:
        yield backends


class Sam:
    """`sam` on the engine; `build` once, then `invoke`."""

    def __init__(self, engine: dict[str, str], backends: Backends, folder: Path) -> None:
        self._program = engine["SAM"]
        self._folder = folder
        self._overrides = [
            "--parameter-overrides",
            f"Architecture={engine['ARCH']}",
            f"PythonRuntime=python{engine['PYVER']}",
        ]
        self._environment = {
            **os.environ,
            **{name: engine[name] for name in ("DOCKER_HOST", "ARCH", "PYVER")},
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "us-east-1",
            # SAM hands them to the container, and would spend seconds asking the real STS about them
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL_STS": backends.variables["AWS_ENDPOINT_URL"],
        }
        self._backends = backends

    def run(self, *arguments: str) -> bytes:
        done = subprocess.run(
            [self._program, *arguments, *self._overrides],
            cwd=PROJECT,
            env=self._environment,
            capture_output=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def build(self) -> None:
        self.run("build", "--build-dir", str(self._folder / "build"))

    def invoke(self, event: str, *, key: str | None = None, **variables: str) -> bytes:
        """Standard output: the answer and nothing else."""
        document = json.loads((EVENTS / f"{event}.json").read_text())
        document["headers"]["authorization"] = f"Bearer {key or self._backends.client_key}"
        (self._folder / "event.json").write_text(json.dumps(document))
        event_file = str(self._folder / "event.json")
        return self.run("local", "invoke", FUNCTION, "--event", event_file, *self._local(**variables))

    def _local(self, **variables: str) -> list[str]:
        """What the built template is run with; SAM takes those variables that it declares."""
        file = self._folder / "variables.json"
        file.write_text(json.dumps({"Parameters": {**self._backends.variables, **variables}}))
        template = str(self._folder / "build" / "template.yaml")
        return ["--skip-pull-image", "--template", template, "--env-vars", str(file)]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of Lambda's API in front of all functions, each in a container that stays warm."""
        port = free_port()
        with (self._folder / "start-lambda.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(self._program, "local", "start-lambda", "--host", "127.0.0.1", "--port", str(port)),
                    *("--warm-containers", "LAZY", *self._local(), *self._overrides),
                ],
                cwd=PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _await(url, process, self._folder / "start-lambda.log")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
        except urllib.error.HTTPError:
            return  # it answers, if only that there is nothing at /
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def sam(engine: dict[str, str], backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Sam:
    sam = Sam(engine, backends, tmp_path_factory.mktemp("sam"))
    sam.build()
    return sam


def test_buffered_by_mangum(sam: Sam, backends: Backends) -> None:
    before = len(backends.rows())
    answer = json.loads(sam.invoke("chat_buffered"))
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert answer["headers"]["content-type"].startswith("application/json")
    body = json.loads(answer["body"])
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"]
    assert len(backends.rows()) == before + 1


def test_streamed_by_our_loop(sam: Sam, backends: Backends) -> None:
    before = len(backends.rows())
    prelude, delimiter, body = sam.invoke("chat_stream", FORCE_STREAM="1").partition(b"\0" * 8)
    assert delimiter
    head = json.loads(prelude)
    assert head["statusCode"] == 200
    assert head["headers"]["content-type"].startswith("text/event-stream")
    frames = body.decode().strip().split("\n\n")
    assert frames[0] == ": ok"
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[1:-1] if frame.startswith("data: ")]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert len(backends.rows()) == before + 1


@pytest.mark.parametrize("force_stream", ["", "1"])
def test_a_wrong_key_is_refused_in_both_loops(sam: Sam, force_stream: str) -> None:
    answer = sam.invoke("chat_buffered", key="sk-nobody", FORCE_STREAM=force_stream)
    if force_stream:
        prelude, _, body = answer.partition(b"\0" * 8)
        status, document = json.loads(prelude)["statusCode"], json.loads(body)
    else:
        reply = json.loads(answer)
        status, document = reply["statusCode"], json.loads(reply["body"])
    assert (status, document["error"]["code"]) == (401, "invalid_api_key")


def functions() -> list[str]:
    template = yaml.load((PROJECT / "template.yaml").read_text(), TemplateLoader)
    return [name for name, entry in template["Resources"].items() if entry["Type"] == "AWS::Serverless::Function"]


# what each function's recorded event is answered with, when all is well
ANSWERS: dict[str, Any] = {
    "ChatCompletionsFunction": lambda body: body["choices"][0]["message"]["content"],
    "MessagesFunction": lambda body: body["type"] == "message" and body["content"][0]["text"],
    "ModelsFunction": lambda body: body["object"] == "list" and body["data"],
    "ResponsesFunction": lambda body: body["status"] == "completed" and body["output"],
    "GenerateContentFunction": lambda body: body["candidates"][0]["content"]["parts"][0]["text"],
    "EmbeddingsFunction": lambda body: body["data"][0]["embedding"],
    "ImagesFunction": lambda body: base64.b64decode(body["data"][0]["b64_json"]),
    "AudioFunction": lambda body: len(body) > 100,
    "ControlFunction": lambda body: {record["name"] for record in body["data"]} >= {"local admin", "local client"},
    "GatewayFunction": lambda body: body["name"] == "local client" and body["total"]["requests"] >= 0,
}
ADMIN = ("ControlFunction",)


@pytest.fixture(scope="module")
def lambda_url(sam: Sam) -> Iterator[str]:
    with sam.serving() as url:
        yield url


def call(url: str, function: str, event: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/2015-03-31/functions/{function}/invocations", json.dumps(event).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def recorded(function: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / "functions" / f"{function}.json").read_text())
    return event


def test_every_function_has_an_event_and_an_answer() -> None:
    assert {path.stem for path in (EVENTS / "functions").iterdir()} == set(functions())
    assert set(ANSWERS) | {"MaintenanceFunction"} == set(functions())


@pytest.mark.parametrize("function", ANSWERS)
def test_every_function_answers_its_recorded_event(lambda_url: str, backends: Backends, function: str) -> None:
    event = recorded(function)
    key = backends.admin_key if function in ADMIN else backends.client_key
    event["headers"]["authorization"] = f"Bearer {key}"
    answer = call(lambda_url, function, event)
    body = answer["body"].encode()
    if answer["isBase64Encoded"]:
        body = base64.b64decode(body)
    assert answer["statusCode"] == 200, body
    kind = answer["headers"]["content-type"]
    assert ANSWERS[function](json.loads(body) if kind.startswith("application/json") else body)


def test_the_scheduled_function_sweeps(lambda_url: str) -> None:
    assert call(lambda_url, "MaintenanceFunction", recorded("MaintenanceFunction")) == {
        "accounts": 2,
        "holds": 0,
        "failed": 0,
    }
