"""Rung three: the built artefact in a Lambda container, by `sam local invoke`, on an engine of the test's own.

Template, artefact, wrapper and both loops at once; DynamoDB, SSM, Secrets Manager and SQS are the embedded AWS, the
upstream is the Gemini emulator, both bound to the engine's bridge. Where the engine cannot run (not Linux, not root)
the tests are skipped, but never under CI=true.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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
        overrides = {**self._backends.variables, **variables}  # SAM takes those that template.yaml declares
        (self._folder / "variables.json").write_text(json.dumps({"Parameters": overrides}))
        return self.run(
            *("local", "invoke", FUNCTION, "--skip-pull-image", "--event", str(self._folder / "event.json")),
            *(
                "--template",
                str(self._folder / "build" / "template.yaml"),
                "--env-vars",
                str(self._folder / "variables.json"),
            ),
        )


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
