"""The search for leaks finds what was planted: a test run of its own, in which every test leaks in another way."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.canaries import pytest_configure, pytest_runtest_makereport, pytest_runtest_setup
"""
PLANTED = """
import logging, sys
import httpx2, pytest
from pathlib import Path
from infra.local.emulator import EmulatorServer
from shared.gateway import telemetry
from shared.gateway.keyring import make_key
from tests.canaries import CREDENTIAL, PROMPT, WATCH

KEY = make_key("K" * 16, "s" * 43)
ASKED = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}

@pytest.fixture(scope="module")
def emulator():
    with EmulatorServer() as server:
        url = f"{server.base_url}/v1beta/models/gemini-3.8-flash:generateContent"
        server.ask = lambda: httpx2.post(url, json=ASKED, headers={"x-goog-api-key": "k"})
        yield server

@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    log = tmp_path_factory.mktemp("g") / "gateway.log"
    log.write_text("started\\n")
    WATCH.gateway(1, log, [CREDENTIAL])
    return log

def test_leak_key_on_stdout():
    print("made", KEY)

def test_leak_key_on_stderr():
    print("made", KEY, file=sys.stderr)

def test_leak_credential_in_log_line(gateway):
    telemetry.log("calling", credential=CREDENTIAL)

def test_leak_credential_in_exception(gateway):
    try:
        raise ValueError(CREDENTIAL)
    except ValueError as error:
        telemetry.log("failed", exc=error, level=40)

def test_leak_credential_in_metrics(gateway):
    telemetry.log("used", metrics={"X": 1}, slot=CREDENTIAL)

def test_leak_prompt_in_log_line(emulator):
    emulator.ask()
    logging.getLogger("some.library").warning("sent %s", PROMPT)

def test_leak_prompt_in_process_log(emulator, gateway):
    emulator.ask()
    with gateway.open("a") as log:
        log.write(f"got {PROMPT}\\n")

def test_leak_key_in_process_log(gateway):
    with gateway.open("a") as log:
        log.write(f"key {KEY}\\n")

def test_leak_credential_in_answer(gateway):
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(500, stream=httpx2.ByteStream(CREDENTIAL.encode()))
    )
    with httpx2.Client(transport=transport, base_url="http://testserver") as client:
        client.get("/")

def test_leak_credential_in_header(gateway):
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, headers={"x-slot": CREDENTIAL}, stream=httpx2.ByteStream(b"ok"))
    )
    with httpx2.Client(transport=transport, base_url="http://testserver") as client:
        client.get("/")

def test_leak_loaded_secret_in_output():
    telemetry.hide("a-secret-that-was-loaded")
    print("a-secret-that-was-loaded")

def test_clean_redacted_key():
    telemetry.log("asked", header=f"Bearer {KEY}")

def test_clean_prompt(emulator, gateway):
    emulator.ask()
    telemetry.log("asked", characters=len(PROMPT))

def test_clean_redacted_credential(gateway):
    telemetry.hide(CREDENTIAL)
    telemetry.log("calling", credential=CREDENTIAL)
"""


def test_every_planted_leak_fails_its_test_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_planted.py").write_text(PLANTED)
    options = ["-q", "-rA", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    verdicts = {
        name: word for word, name in re.findall(r"^(PASSED|FAILED|ERROR) \S*::(\w+)", done.stdout, re.MULTILINE)
    }
    expected = {
        line.removeprefix("def ").partition("(")[0]: "FAILED" if "_leak_" in line else "PASSED"
        for line in PLANTED.splitlines()
        if line.startswith("def test_")
    }
    assert verdicts == expected, done.stdout[-6_000:]
    assert "leaked:" in done.stdout
