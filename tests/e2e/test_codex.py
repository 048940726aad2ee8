"""Codex CLI, unmodified, works on a task of several rounds through `/v1/responses`; its signatures are enforced."""

import json
import os
import subprocess

import pytest

from tests.clients.installation import installed

MODEL = "gemini-3.8-flash"


@pytest.fixture(scope="module")
def codex():
    return str(installed("codex") / "node_modules" / ".bin" / "codex")


CONFIGURATION = """
model = "{model}"
model_provider = "gateway"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[model_providers.gateway]
name = "gateway"
base_url = "{base_url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
[otel]
exporter = "none"
"""


@pytest.fixture
def run(codex, gateway, upstream, tmp_path):
    """`run(turns)` -> (Codex's events, its working directory). Everything but loopback is out of its reach."""
    upstream.reset()
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (home / "config.toml").write_text(CONFIGURATION.format(model=MODEL, base_url=gateway.base_url))
    closed = "http://127.0.0.1:9"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CODEX_HOME": str(home),
        "GATEWAY_KEY": gateway.client_key,
        "HTTP_PROXY": closed,
        "HTTPS_PROXY": closed,
        "NO_PROXY": "127.0.0.1,localhost",
    }

    def start(turns):
        prompt = "Work on the task.\n@emulator " + json.dumps({"turns": turns})
        command = [codex, "exec", "--json", "--skip-git-repo-check", "-C", str(work), prompt]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], work

    return start


def completed(events, kind):
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in items if item["type"] == kind]


@pytest.mark.slow
def test_a_task_of_several_rounds(run, upstream):
    events, work = run(
        [
            {"call": {"name": "exec_command", "args": {"cmd": "echo first line > made.txt"}}},
            {
                "call": [
                    {"name": "exec_command", "args": {"cmd": "wc -c made.txt"}},
                    {"name": "exec_command", "args": {"cmd": "cat made.txt"}},
                ]
            },
            {"call": {"name": "exec_command", "args": {"cmd": "mv made.txt kept.txt"}}},
            {"text": "The file is kept."},
        ]
    )
    assert (work / "kept.txt").read_text() == "first line\n"
    outputs = [item["aggregated_output"] for item in completed(events, "command_execution")]
    first, *parallel, last = outputs
    assert (first, sorted(parallel), last) == ("", ["11 made.txt\n", "first line\n"], "")
    assert [item["text"] for item in completed(events, "agent_message")] == ["The file is kept."]
    assert completed(events, "reasoning")
    assert events[-1]["type"] == "turn.completed"
    sent = [record["body"] for record in upstream.requests]
    assert len(sent) == 4
    assert events[-1]["usage"]["output_tokens"] > 0
    parts = [part for content in sent[-1]["contents"] for part in content["parts"]]
    assert len([part for part in parts if "functionCall" in part]) == 4
    assert len([part for part in parts if "thoughtSignature" in part]) == 3  # of parallel calls the first one only
    assert "skip_thought_signature_validator" not in json.dumps(sent)  # each signature came back


@pytest.mark.slow
def test_codex_sees_a_failure_as_one(codex, run, upstream):
    upstream.script({"error_after": {"chunks": 1, "form": "bare", "status": 503}, "text": "a b c", "chunks": 3})
    with pytest.raises(AssertionError) as caught:
        run([{"text": "never said"}])
    assert "turn.failed" in str(caught.value)
