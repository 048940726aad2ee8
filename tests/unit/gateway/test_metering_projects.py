"""Which upstream project a request's cost is booked on: the one whose credential made each call."""

import io
import json
import logging
from datetime import date
from types import SimpleNamespace

import pytest

from shared.events import Usage
from shared.gateway import telemetry, usage_lines
from shared.gateway.budgets import Estimate
from shared.gateway.metering import Meter
from shared.gateway.settings import Settings
from shared.gemini.catalog import resolve
from shared.stores import sqs
from shared.stores.protocols import Credential, KeyRecord

TODAY = date(2026, 11, 21)


def metered(*calls, unnamed=()):
    """A request's settlement after calls of (credential, prompt tokens or None for one that told no count)."""
    exchange = SimpleNamespace(
        request_id="R1",
        nonce="n",
        day="20261121",
        started_ms=1,
        elapsed_ms=2,
        ttft_ms=None,
        body_sha=None,
        today=TODAY,
        served="",
    )
    key = KeyRecord(kid="k", acct="k", hash="", pepper_id="p1")
    model = resolve("gemini-3.6-flash", TODAY)
    estimate = Estimate(nano=9, tokens=9, input_tokens=9)
    meter = Meter(None, None, Settings(), key, exchange, model, estimate, dialect="d", endpoint="chat", stream=True)
    for slot, tokens in calls:
        meter.outcome.attempts += 1
        meter.outcome.use(slot)
        if tokens is not None:
            meter.outcome.calls[meter.outcome.attempts] = Usage(prompt_tokens=tokens)
    for number, tokens in unnamed:
        meter.outcome.calls[number] = Usage(prompt_tokens=tokens)
    return meter.settlement()


A, A2, B, NOBODY = (
    Credential("a", "x", project="team-a"),
    Credential("a2", "x", project="team-a"),
    Credential("b", "x", project="team-b"),
    Credential("n", "x"),
)


def test_each_call_is_booked_on_the_project_of_its_credential():
    one, ten = metered((A, 1000)), metered((B, 10_000))
    found = metered((A, 1000), (B, 10_000), (A2, 1000), (B, None))
    assert found.projects == {"team-a": 2 * one.cost_nano, "team-b": ten.cost_nano}
    assert sum(found.projects.values()) == found.cost_nano > 0


@pytest.mark.parametrize("calls", [[(NOBODY, 1000)], [(A, None)], []])
def test_without_a_named_project_or_a_cost_nothing_is_booked(calls):
    assert metered(*calls).projects == {}


def test_a_call_under_a_number_of_its_own_goes_to_the_requests_project():
    found = metered((A, None), unnamed=[(0, 1000), (7, 1000)])  # embeddings count their batches
    assert found.projects == {"team-a": found.cost_nano}


def test_the_projects_survive_the_queue_and_the_log():
    found = metered((A, 1000), (B, 1000))
    assert sqs.loads(sqs.dumps(found)).projects == found.projects
    out = io.StringIO()
    handler = telemetry.JsonLines(out)
    logging.getLogger().addHandler(handler)
    telemetry.METRICS.setLevel(logging.INFO)
    usage_lines.write(found)
    telemetry.METRICS.setLevel(logging.NOTSET)
    logging.getLogger().removeHandler(handler)
    line = json.loads(out.getvalue())
    assert usage_lines.read(line).projects == found.projects
    del line["projects"]
    assert usage_lines.read(line).projects == {}
