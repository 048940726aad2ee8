"""Metered against billed: which ratio is judged, what is written, where an alarm can look."""

import io
import json
import logging
from collections.abc import Mapping, Sequence

import pytest

from shared.gateway import telemetry
from shared.gateway.billing_check import Comparison, compare, days_to_compare
from shared.stores.aws import Aws
from shared.stores.billed_costs import ExportedCosts, read_costs
from shared.stores.protocols import StoreUnavailable
from shared.stores.usage_protocols import UsageTotal

NOW = 1_800_000_000  # 2027-01-15
DOLLAR = 1_000_000_000
CSV = """project,day,cost_usd
team-a,2027-01-12,12.345678901
team-a,2027-01-12,0.1
team-b,2027-01-12,7
,2027-01-12,0.5
team-a,2027-01-13,1e-9
"""


class Metered:
    def __init__(self, days: Mapping[str, Mapping[str, int]]) -> None:
        self._days = days

    async def daily(self, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        return []

    async def projects(self, day: str) -> Mapping[str, int]:
        return self._days.get(day, {})


class Billed:
    def __init__(self, days: Mapping[str, Mapping[str, int]]) -> None:
        self._days = days

    async def billed(self, day: str) -> Mapping[str, int]:
        return self._days.get(day, {})


@pytest.fixture
def written():
    """What the product's own logger writes."""
    stream = io.StringIO()
    handler = telemetry.JsonLines(stream)
    logging.getLogger().addHandler(handler)
    level = telemetry.LOGGER.level
    telemetry.LOGGER.setLevel("INFO")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)
    telemetry.LOGGER.setLevel(level)


@pytest.mark.parametrize(
    ("metered", "billed", "ratio", "agrees"),
    [
        (100 * DOLLAR, 100 * DOLLAR, 1.0, True),
        (98 * DOLLAR, 100 * DOLLAR, 0.98, True),
        (102 * DOLLAR, 100 * DOLLAR, 1.02, True),
        (97_999 * DOLLAR, 100_000 * DOLLAR, 0.97999, False),
        (102_001 * DOLLAR, 100_000 * DOLLAR, 1.02001, False),
        (0, DOLLAR, 0.0, False),  # somebody else spends with the project's key
        (DOLLAR, 0, 1000.0, False),
        (DOLLAR // 200, 0, None, True),  # half a cent decides nothing
        (DOLLAR, None, None, True),  # not billed yet
    ],
)
def test_what_a_ratio_is_and_when_it_alarms(metered, billed, ratio, agrees):
    found = Comparison("p", "20270112", metered, billed)
    assert (found.ratio, found.agrees) == (ratio, agrees)


async def test_every_project_and_day_is_written_and_its_ratio_is_a_metric(written):
    metered = Metered({"20270111": {"a": 2 * DOLLAR, "b": DOLLAR}, "20270112": {"a": DOLLAR}})
    billed = Billed({"20270111": {"a": 2 * DOLLAR, "other": 3 * DOLLAR}})
    counts = await compare(["20270111", "20270112"], metered, billed, NOW)
    assert counts == {"agree": 1, "differ": 1, "not_billed_yet": 2}
    lines = {(line["day"], line["Project"]): line for line in written() if line["message"] == "billing_compared"}
    told = {place: (line["level"], line.get("BillingRatio")) for place, line in lines.items()}
    assert told == {
        ("20270111", "a"): ("INFO", 1.0),
        ("20270111", "b"): ("WARNING", None),
        ("20270111", "other"): ("ERROR", 0.0),
        ("20270112", "a"): ("WARNING", None),
    }
    (directive,) = lines["20270111", "a"]["_aws"]["CloudWatchMetrics"]
    assert directive == {
        "Namespace": "GeminiGateway",
        "Dimensions": [[], ["Project"]],
        "Metrics": [{"Name": "BillingRatio", "Unit": "None"}],
    }
    assert lines["20270111", "a"]["_aws"]["Timestamp"] == NOW * 1000
    assert "_aws" not in lines["20270112", "a"]


def test_the_days_compared_are_those_whose_billing_should_have_come():
    assert days_to_compare(NOW) == ["20270111", "20270112", "20270113"]


def test_a_csv_export_is_read_exactly():
    costs = read_costs(b"\xef\xbb\xbf" + CSV.encode())
    assert costs == {
        ("20270112", "team-a"): 12_445_678_901,
        ("20270112", "team-b"): 7 * DOLLAR,
        ("20270112", ""): DOLLAR // 2,
        ("20270113", "team-a"): 1,
    }


def test_json_lines_are_read_alike():
    lines = [
        '{"project": "team-a", "day": "2027-01-12", "cost_usd": 12.345678901}',
        "",
        '{"cost_usd": "0.1", "day": "2027-01-12T00:00:00Z", "project": "team-a"}',
    ]
    assert read_costs("\n".join(lines).encode()) == {("20270112", "team-a"): 12_445_678_901}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("project,day\na,2027-01-01\n", "columns"),
        ("project,day,cost_usd\na,2027-01-01,much\n", "line 2"),
        ("project,day,cost_usd\na,2027-01-01,NaN\n", "line 2"),
        ("project,day,cost_usd\na,1.1.2027,1\n", "line 2"),
        ("project,day,cost_usd\na,2027-01-01\n", "line 2"),
        ('{"project": "a"}', "line 1"),
        ('{"project": "a", "day"', "line 1"),
        ("", "columns"),
    ],
)
def test_what_cannot_be_understood_is_named(content, words):
    with pytest.raises(ValueError, match=words):
        read_costs(content.encode())


async def test_a_file_is_read_once_and_told_by_day(tmp_path):
    file = tmp_path / "costs of billing.csv"
    file.write_text(CSV)
    costs = ExportedCosts(Aws({}), file.as_uri())
    assert await costs.billed("20270113") == {"team-a": 1}
    file.unlink()
    assert (await costs.billed("20270112"))["team-b"] == 7 * DOLLAR
    with pytest.raises(StoreUnavailable, match="No such file"):
        await ExportedCosts(Aws({}), file.as_uri()).billed("20270112")


@pytest.mark.parametrize("uri", ["https://bucket/key", "s3://bucket", "s3://bucket/", "costs.csv", ""])
def test_a_place_that_is_none_is_refused(uri):
    with pytest.raises(ValueError, match="s3://bucket/key"):
        ExportedCosts(Aws({}), uri)
