"""Real Claude Code, unmodified, against the gateway: it edits files, runs commands, searches, gets over errors."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.installation import installed
from tests.running import clean_environment

SENTINEL = "skip_thought_signature_validator"


@pytest.fixture(scope="module")
def claude_code():
    # the launcher for installations without install scripts
    return ["node", str(installed("claude-code") / "node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs")]


@pytest.fixture
def session(claude_code, gateway, upstream, tmp_path):
    """`run(prompt, *arguments)` -> the parsed result; `folder` is where Claude Code works."""
    upstream.reset()
    made = gateway.gwctl("keys", "create", "claude code")
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    environment = clean_environment() | {
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": gateway.base_url,
        "ANTHROPIC_AUTH_TOKEN": made["key"],
        "IS_SANDBOX": "1",  # it refuses to work unasked as root otherwise
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }

    class Session:
        kid = made["kid"]

        def run(self, prompt, *arguments):
            command = [*claude_code, "-p", prompt, "--output-format", "json", "--permission-mode", "bypassPermissions"]
            done = subprocess.run(
                [*command, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout)

    Session.folder = folder
    return Session()


def directive(turns):
    return "@emulator " + json.dumps({"turns": turns})


@pytest.mark.parametrize("model", ["gemini-3.6-flash", "claude-opus-5-5"])
def test_it_edits_a_file_and_runs_a_command_over_several_tool_rounds(session, gateway, upstream, model):
    notes = session.folder / "notes.txt"
    notes.write_text("colour: red\n")
    path = str(notes)
    turns = [
        {
            "thoughts": "First a look.",
            "call": [
                {"name": "Read", "args": {"file_path": path}},
                {"name": "Bash", "args": {"command": "ls", "description": "list the folder"}},
            ],
        },
        {"call": [{"name": "Edit", "args": {"file_path": path, "old_string": "red", "new_string": "blue"}}]},
        {"call": [{"name": "Bash", "args": {"command": "cp notes.txt copy.txt", "description": "copy the file"}}]},
        {"text": "The colour is blue now."},
    ]
    result = session.run(f"Make the colour blue, and keep a copy.\n{directive(turns)}", "--model", model)
    assert (result["result"], result["is_error"]) == ("The colour is blue now.", False)
    assert notes.read_text() == (session.folder / "copy.txt").read_text() == "colour: blue\n"

    generated = [record for record in upstream.requests if "GenerateContent" in record["path"]]
    assert len(generated) == 4
    assert all(record["status"] == 200 for record in generated)
    last = json.dumps(generated[-1]["body"])
    assert last.count("thoughtSignature") >= 3
    assert SENTINEL not in last  # every signature came back real

    rows = gateway.row(session.kid, 4)
    assert all(row["cost_nano_usd"] > 0 and row["dialect"] == "anthropic_messages" for row in rows)
    used = result["usage"]
    assert sum(row["input_tokens"] for row in rows) == used["input_tokens"] + used["cache_read_input_tokens"]
    assert sum(row["output_tokens"] for row in rows) == used["output_tokens"]


def test_it_recovers_from_an_upstream_that_breaks_in_the_middle(session, upstream):
    upstream.script({"text": "a b c d e f", "chunks": 6, "pace_ms": 20, "cut_after": 3})
    result = session.run("Say that all is well.\n@emulator say all is well")
    assert (result["result"], result["is_error"]) == ("all is well", False)
    assert len([record for record in upstream.requests if "GenerateContent" in record["path"]]) == 2


def test_it_searches_the_web(session, upstream):
    turns = [{"call": [{"name": "WebSearch", "args": {"query": "who won the cup"}}]}, {"text": "Spain won."}]
    result = session.run(f"Who won?\n{directive(turns)}")
    assert result["result"] == "Spain won."
    searches = [
        record
        for record in upstream.requests
        if any("googleSearch" in tool for tool in record["body"].get("tools", []))
    ]
    assert len(searches) == 1
    told = json.dumps(upstream.requests[-1]["body"])
    assert "Links:" in told  # the search's result, as Claude Code handed it to the model


def test_bursts_of_counts_cost_nothing_and_few_upstream_calls(session, gateway, upstream):
    result = session.run("/context")
    assert not result["is_error"]
    counts = [record for record in upstream.requests if record["path"].endswith(":countTokens")]
    assert counts
    assert gateway.rows(session.kid) == []


def test_probes_need_no_key(gateway):
    def probe(command):
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout

    paths = ("/", "/api/hello")
    with ThreadPoolExecutor() as pool:
        for text in pool.map(lambda path: probe(["curl", "-sI", f"{gateway.base_url}{path}"]), paths):
            assert text.startswith("HTTP/1.1 200")
    assert os.environ.get("ANTHROPIC_AUTH_TOKEN") is None
