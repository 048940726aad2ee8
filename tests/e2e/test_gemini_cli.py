"""Gemini CLI, unmodified, works on a task with its own tools; signatures and ids are enforced upstream."""

import json
import os
import subprocess

import pytest

from tests.clients.installation import installed

MODEL = "gemini-3.8-flash"
SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"disableAutoUpdate": True, "disableUpdateNag": True, "enableAutoUpdate": False},
}


@pytest.fixture(scope="module")
def gemini():
    package = installed("gemini-cli") / "node_modules" / "@google" / "gemini-cli"
    return ["node", str(package / json.loads((package / "package.json").read_text())["bin"]["gemini"])]


@pytest.fixture
def run(gemini, gateway, upstream, tmp_path):
    """`run(*turns)` -> (the CLI's result, its working directory). Everything but loopback is out of its reach."""
    upstream.reset()
    home, work = tmp_path / "home", tmp_path / "work"
    (home / ".gemini").mkdir(parents=True)
    work.mkdir()
    (home / ".gemini" / "settings.json").write_text(json.dumps(SETTINGS))
    closed = "http://127.0.0.1:9"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GEMINI_API_KEY": gateway.client_key,
        "GOOGLE_GEMINI_BASE_URL": gateway.base_url,
        "GEMINI_TELEMETRY_ENABLED": "false",
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "NO_COLOR": "1",
        "CI": "true",
        "HTTP_PROXY": closed,
        "HTTPS_PROXY": closed,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }

    def start(*turns):
        task = "Do it. @emulator " + json.dumps({"turns": turns})
        command = [*gemini, "--prompt", task, "--model", MODEL, "--approval-mode", "yolo", "--output-format", "json"]
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, (done.stderr[-3000:], done.stdout[-1000:], gateway.log.read_text()[-2000:])
        return json.loads(done.stdout), work

    return start


def call(name, **args):
    return {"call": {"name": name, "args": args}}


def test_a_task_with_files_and_a_shell(run, gateway, upstream):
    result, work = run(
        call("write_file", file_path="notes.txt", content="forty-two\n"),
        call("run_shell_command", command="wc -c notes.txt > size.txt", description="Count"),
        {"text": "The file is written."},
    )
    assert result["response"] == "The file is written."
    assert (work / "notes.txt").read_text() == "forty-two\n"
    assert (work / "size.txt").read_text().split() == ["10", "notes.txt"]
    kinds = {row["path"].rpartition(":")[2] for row in upstream.requests}
    assert "streamGenerateContent" in kinds
    assert all(row["status"] == 200 for row in upstream.requests), [row["status"] for row in upstream.requests]
    assert all(row["credentials"] == [("x-goog-api-key", "test-upstream-key")] for row in upstream.requests)
    kid = gateway.client_key.split("_")[1]
    billed = [row for row in upstream.requests if not row["path"].endswith(":countTokens")]
    rows = gateway.row(kid, number=len(billed))
    assert all(row["dialect"] == "gemini_native" and row["cost_nano_usd"] > 0 for row in rows)
