"""A function that has little time: every dialect ends its answer in its own words, and books it, before Lambda ends the
process."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.chaos_forms import FORMS, Clients, Form, Verdict, judged
from tests.running import ROOT, Gateway, clean_environment, free_port

TIMEOUT_S = 6  # three of them are kept back for the last words
ENDLESS = {"text": "x " * 40, "chunks": 40, "pace_ms": 250}
SILENT = {"text": "late", "silence_ms": 5000}
ASKED = [form for form in FORMS if form.thorough and form.name != "embeddings"]
PACED = [form for form in ASKED if form.upstream_streams]  # where the upstream can be slow once it has begun


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    state = tmp_path_factory.mktemp("deadline") / "state"
    port, log = free_port(), state.parent / "function.log"
    command = [sys.executable, "-m", "infra.local.function_url", "--handler", "gateway"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--timeout", str(TIMEOUT_S), "--processes", "8"],
            cwd=ROOT,
            env=clean_environment() | {"GATEWAY_STATE_DIR": str(state)},
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
        )
    try:
        line = process.stdout.readline()
        assert f":{port}" in line, log.read_text()
        made = json.loads((state / "credentials.json").read_text())
        yield Gateway(f"http://127.0.0.1:{port}", made["client_key"], made["admin_key"], state, process, log, False)
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


@pytest.fixture(scope="module")
def verdicts(function) -> dict[tuple[str, str, str], Verdict]:
    """By kind of lateness, dialect and form; fewer at a time than there are processes."""
    asked = [("begun", ENDLESS, form) for form in PACED] + [("silent", SILENT, form) for form in ASKED]
    with Clients(function.base_url) as clients, ThreadPoolExecutor(4) as pool:
        # a first round of quick ones, so that no process has its cold start among those that count
        list(pool.map(lambda form: judged(form, clients, function.client_key, "warm"), ASKED[:4]))

        def one(item: tuple[str, dict, Form]) -> Verdict:
            return judged(item[2], clients, function.client_key, "@emulator " + json.dumps(item[1]))

        found = list(pool.map(one, asked))
    return {(word, form.name, form.mode): verdict for (word, _, form), verdict in zip(asked, found, strict=True)}


@pytest.mark.parametrize("form", PACED, ids=lambda form: f"{form.name}-{form.mode}")
def test_an_answer_that_does_not_end_in_time_ends_as_an_error(verdicts, form):
    verdict = verdicts["begun", form.name, form.mode]
    assert verdict.status == (504 if form.mode == "buffered" else 0), verdict
    assert verdict.exception not in ("RemoteProtocolError", "APIConnectionError", "ReadError"), verdict  # told, not cut


@pytest.mark.parametrize("form", ASKED, ids=lambda form: f"{form.name}-{form.mode}")
def test_an_upstream_that_stays_silent_is_a_504(verdicts, form):
    assert verdicts["silent", form.name, form.mode].status == 504


def test_every_request_is_booked_and_no_process_was_ended(function, verdicts):
    kid = function.client_key.split("_")[1]
    rows = [row for row in function.row(kid, len(verdicts) + 4) if row["finish_reason"] != "STOP"]
    assert len(rows) == len(verdicts)
    assert {row["finish_reason"] for row in rows} == {"upstream_timeout"}
    begun = [row for row in rows if row["ttft_ms"] is not None and row["stream"]]
    assert len(begun) == 4
    assert all(row["status"] == 200 and row["cost_nano_usd"] > 0 for row in begun)
    assert all(row["status"] == 504 for row in rows if row not in begun)
    assert all(row["duration_ms"] < TIMEOUT_S * 1000 for row in rows)
    assert "overran" not in function.log.read_text()
