"""Logs: one JSON object a line, and no secret in it whatever carried it there."""

import io
import json
import logging

import pytest

from shared.gateway import telemetry
from shared.gateway.keyring import make_key

KEY = make_key("K" * 16, "s" * 43)
GOOGLE_KEY = "AIza" + "B" * 35


@pytest.fixture
def lines():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(telemetry.JsonLines())
    telemetry.LOGGER.addHandler(handler)
    telemetry.LOGGER.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    telemetry.LOGGER.removeHandler(handler)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {KEY}",
        KEY,
        f"https://host/v1beta/models/x?alt=sse&key={GOOGLE_KEY}",
        f"x-goog-api-key: {GOOGLE_KEY}",
        f"{{'x-goog-api-key': '{GOOGLE_KEY}'}}",
        GOOGLE_KEY,
        "AQ.Ab8RN6" + "c" * 40,
        "the literal pool-secret-of-ours again",
    ],
)
def test_secrets_are_redacted_in_messages_fields_and_exceptions(lines, text):
    telemetry.hide("pool-secret-of-ours")
    try:
        raise ValueError(text)
    except ValueError as error:
        telemetry.log(text, exc=error, detail=text, nested={"deep": [text]})
    (line,) = lines()
    whole = json.dumps(line)
    for secret in (KEY, "s" * 43, GOOGLE_KEY, "c" * 40, "pool-secret-of-ours"):
        assert secret not in whole
    assert "REDACTED" in whole


def test_no_input_forges_a_line(lines):
    telemetry.log("a", detail='x\n{"message":"forged"}\r\u2028y')
    assert [line["message"] for line in lines()] == ["a"]


def test_the_usage_line_is_an_embedded_metric(lines):
    telemetry.usage_line(
        {"ts_ms": 5, "request_id": "r"}, metrics={"Requests": 1, "DurationMs": 7}, dimensions={"Model": "m"}
    )
    (line,) = lines()
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == 5
    for metric in directive["Metrics"]:
        assert isinstance(line[metric["Name"]], int)
    for name in directive["Dimensions"][0]:
        assert line[name]
