"""The books after crashes: sweep, queue, reconciliation with the log; and the function that runs them."""

import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from infra.local.aws import EmbeddedAws
from shared.gateway import telemetry, usage_lines
from shared.gateway.billing_check import days_to_compare
from shared.gateway.maintenance import Reconciler, account_names, book, sweep
from shared.stores import sqs
from shared.stores.aws import Aws
from shared.stores.cloudwatch_logs import CloudWatchUsageLog
from shared.stores.dynamodb_global import DynamoGlobalTotals
from shared.stores.dynamodb_usage import DynamoUsageReader
from shared.stores.protocols import Admission, KeyRecord, Settlement, StoreUnavailable
from shared.stores.sqs import SqsSettlementQueue
from shared.stores.ssm import SsmKeyStore
from tests.stores.bench import DAY, Bench
from tests.stores.test_ledger import COST

ROOT = Path(__file__).resolve().parents[2]
LONG = 10_000  # seconds after which every line has arrived


class Log:
    """The functions' log in memory."""

    def __init__(self, *lines: Mapping[str, Any]) -> None:
        self.kept = list(lines)
        self.down = False

    async def lines(self, term: str, since_ms: int, until_ms: int) -> Sequence[Mapping[str, Any]]:
        if self.down:
            raise StoreUnavailable("logs")
        return [line for line in self.kept if term in json.dumps(line)]


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the product's own logger writes."""
    stream = io.StringIO()
    handler = telemetry.JsonLines(stream)
    logging.getLogger().addHandler(handler)
    level = telemetry.LOGGER.level
    telemetry.LOGGER.setLevel("INFO")
    yield stream
    logging.getLogger().removeHandler(handler)
    telemetry.LOGGER.setLevel(level)


def usage_line_of(settlement: Settlement, written: io.StringIO) -> dict[str, Any]:
    usage_lines.write(settlement)
    line: dict[str, Any] = json.loads(written.getvalue().splitlines()[-1])
    return line


async def lost(bench: Bench, **terms: Any) -> tuple[KeyRecord, Admission]:
    """A request that was admitted, never settled, and swept."""
    key = await bench.account(budget_limit_nano=1_000, **terms)
    await bench.admit(request := bench.request(key))
    assert await bench.ledger.sweep_expired(key.acct, request.expires_at + 1) == 1
    return key, request


def reconciler(bench: Bench, log: Log, *, whole_log: bool = True) -> Reconciler:
    return Reconciler(DynamoUsageReader(bench.aws, bench.table), log, bench.ledger.settle, whole_log=whole_log)


def never() -> bool:
    return False


async def decisions(work: Reconciler, key: KeyRecord, now_s: int) -> dict[str, int]:
    counts = await work.run([key.acct], now_s, never)
    return {name: count for name, count in counts.items() if count}


def test_a_usage_line_gives_the_settlement_back(written: io.StringIO) -> None:
    bench = Bench(Aws({}), "none")
    request = bench.request(KeyRecord("k", "a", "h", "p"))
    settlement = bench.settlement(request, cached_tokens=3, reasoning_tokens=2, ttft_ms=None)
    expected = replace(settlement, nonce="", had_hold=False, modalities={}, tpm=None)
    assert usage_lines.read(usage_line_of(settlement, written)) == expected
    assert usage_lines.read({"message": "usage", "request_id": "x"}) is None
    assert usage_lines.read({"message": "upstream_start"}) is None


async def test_a_lost_request_is_adjusted_to_its_usage_line_once(bench: Bench, written: io.StringIO) -> None:
    key, request = await lost(bench)
    log = Log(usage_line_of(bench.settlement(request, cached_tokens=4), written))
    work, now_s = reconciler(bench, log), request.expires_at + LONG
    assert bench.state(key)["spent"] == 100
    assert await decisions(work, key, now_s) == {"adjusted": 1}
    assert bench.state(key)["spent"] == COST
    assert await decisions(work, key, now_s) == {}
    (row,), _ = await DynamoUsageReader(bench.aws, bench.table, clock=lambda: now_s).rows(key.acct, DAY)
    assert (row["cost_nano_usd"], row["cached_tokens"], row["model_version"], row["endpoint"], row["stream"]) == (
        COST,
        4,
        "gemini-2.5-flash-001",
        "chat",
        True,
    )


async def test_a_start_without_an_end_keeps_the_estimate(bench: Bench) -> None:
    key, request = await lost(bench)
    work = reconciler(bench, Log({"message": "upstream_start", "request_id": request.rid}))
    assert await decisions(work, key, request.expires_at + LONG) == {"stands": 1}
    assert bench.state(key)["spent"] == 100


@pytest.mark.parametrize(("after", "whole_log", "spent"), [(LONG, True, 0), (60, True, 100), (LONG, False, 100)])
async def test_without_any_line_the_upstream_was_never_called(
    bench: Bench, after: int, whole_log: bool, spent: int
) -> None:
    """But only once lines would have arrived, and where start lines are kept at all."""
    key, request = await lost(bench)
    work = reconciler(bench, Log(), whole_log=whole_log)
    assert await decisions(work, key, request.expires_at + after) == {"stands" if spent else "voided": 1}
    assert bench.state(key)["spent"] == spent


async def test_what_neither_ledger_nor_queue_took_is_booked_from_its_line(bench: Bench, written: io.StringIO) -> None:
    key = await bench.account()
    settlement = bench.settlement(bench.request(key), had_hold=False)
    bench.unreserved.add(settlement.rid)
    lines = [usage_line_of(settlement, written), {"message": "settle_lost", "request_id": settlement.rid}]
    for _ in range(2):
        assert await decisions(reconciler(bench, Log(*lines)), key, bench.now_us // 1_000_000) == {"booked": 1}
    assert bench.state(key)["spent"] == COST


async def test_a_log_that_is_down_changes_nothing(bench: Bench) -> None:
    key, request = await lost(bench)
    log = Log()
    work = reconciler(bench, log)
    log.down = True
    with pytest.raises(StoreUnavailable):
        await decisions(work, key, request.expires_at + LONG)
    assert bench.state(key)["spent"] == 100


async def test_the_sweep_looks_at_every_account_and_survives_one_that_fails(bench: Bench) -> None:
    keys = [await bench.account(budget_limit_nano=1_000) for _ in range(20)]
    requests = [bench.request(key) for key in keys]
    for request in requests:
        await bench.admit(request)
    now_s = requests[0].expires_at + 1

    class Flaky:
        async def sweep_expired(self, acct: str, now_s: int) -> int:
            if acct == keys[3].acct:
                raise StoreUnavailable("throttled")
            return await bench.ledger.sweep_expired(acct, now_s)

    accounts = [key.acct for key in keys]
    done = await sweep(accounts, Flaky(), now_s, never)
    assert (done.accounts, done.holds, done.failed) == (20, 19, 1)
    assert len(bench.state(keys[3])["holds"]) == 1
    done = await sweep(accounts, bench.ledger, now_s, never)
    assert (done.holds, done.failed) == (1, 0)
    assert (await sweep(accounts, bench.ledger, now_s, lambda: True)).accounts == 0


async def test_accounts_are_those_of_the_registry_once_each(aws: Aws, table: str) -> None:
    store = SsmKeyStore(aws, f"/gw/{table}/keys", patient=True)
    for number in range(13):
        await store.put(KeyRecord(f"kid{number}", f"acct{number % 5}", "h", "p"))
    assert sorted(await account_names(store)) == [f"acct{number}" for number in range(5)]


async def test_what_the_queue_brings_is_booked_and_only_failures_come_again(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    await bench.admit(request := bench.request(key))
    good = sqs.dumps(bench.settlement(request))
    orphan = sqs.dumps(bench.settlement(replace(bench.request(key), acct="nobody")))
    bent = json.dumps(json.loads(good) | {"cost_nano": "7"})
    bodies = {"0": bent, "1": good, "2": "no JSON", "3": good, "4": orphan, "5": "{}"}
    messages = [{"messageId": name, "body": body} for name, body in bodies.items()]
    assert await book(messages, sqs.loads, bench.ledger.settle) == ["0", "2", "4", "5"]
    assert bench.state(key)["spent"] == COST


def stream_record(pk: str, sk: str, **numbers: int) -> dict[str, Any]:
    """As a function gets it: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html"""
    keys = {"pk": {"S": pk}, "sk": {"S": sk}}
    return {
        "eventID": "c4ca4238a0b923820dcc509a6f75849b",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_800_000_000,
            "Keys": keys,
            "NewImage": {**keys, **{name: {"N": str(number)} for name, number in numbers.items()}},
            "SequenceNumber": "4421584500000000017450439091",
            "SizeBytes": 26,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/gw/stream/2027-01-15T00:00:00.000",
    }


async def test_the_function_understands_its_events(
    environment: dict[str, str], aws: Aws, table: str, tmp_path: Path
) -> None:
    """As AWS's own loop calls it: a process of its own, a handler, an event, a context."""
    code = """
import json, sys
from handlers.maintenance import handler
class Context:
    def get_remaining_time_in_millis(self): return 60_000
for event in json.load(sys.stdin):
    print("answer", json.dumps(handler(event, Context())))
"""
    day = days_to_compare(int(time.time()))[-1]
    spent = {"n": 1, "cost_nano": 2_000_000_000, "p#team": 2_000_000_000}
    removed = {**stream_record("A#gone", f"D#{day}#m"), "eventName": "REMOVE"}
    del removed["dynamodb"]["NewImage"]
    records = [
        stream_record("A#a", "STATE", avail=1),
        stream_record("A#a", f"D#{day}#m", v=2, **(spent | {"n": 5})),
        stream_record("A#a", f"D#{day}#m", v=1, **spent),
        stream_record("A#b", f"D#{day}#m", v=1, **spent),
        removed,
    ]
    billing = tmp_path / "billing.csv"
    billing.write_text(f"project,day,cost_usd\nteam,{day[:4]}-{day[4:6]}-{day[6:]},4.01\nother,2020-01-01,9\n")
    events = [
        {"task": "sweep"},
        {"Records": [{"messageId": "m1", "eventSource": "aws:sqs", "body": "damaged"}]},
        {"task": "recount"},
        {"Records": records},
        {"Records": records},
        {"task": "compare_billing"},
    ]
    prefix = f"/gw/{table}/keys/"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        # a function has no profile
        env={
            **{name: value for name, value in environment.items() if value},
            "USAGE_TABLE": table,
            "KEY_PARAMETER_PREFIX": prefix,
            "LOG_LEVEL": "ERROR",
            "BILLED_COSTS_URI": billing.as_uri(),
        },
        input=json.dumps(events),
        capture_output=True,
        text=True,
    )
    answers = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("answer ")]
    assert answers == [
        {"accounts": 0, "holds": 0, "failed": 0},
        {"batchItemFailures": [{"itemIdentifier": "m1"}]},
        {"accounts": 0, "left": 0, "changed": 0, "failed": 0},
        {"counted": 2},
        {"counted": 0},
        {"agree": 1, "differ": 0, "not_billed_yet": 0},
    ], done.stderr
    (total,) = await DynamoGlobalTotals(aws, table).daily(day, day)
    assert (total.model, total.requests, total.cost_nano) == ("m", 6, 4_000_000_000)


async def test_a_laptop_takes_its_own_queue(bench: Bench, environment: Mapping[str, str]) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    await bench.admit(request := bench.request(key))
    queue = SqsSettlementQueue(bench.aws, environment["SETTLE_QUEUE_URL"])
    await queue.send(bench.settlement(request))
    (message,) = await queue.receive()
    assert await book([message], sqs.loads, bench.ledger.settle) == []
    await queue.done(message)
    assert await queue.receive() == []
    assert bench.state(key)["spent"] == COST


# --- CloudWatch


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    embedded = EmbeddedAws(
        tmp_path_factory.mktemp("logs"),
        persist=False,
        services=("dynamodb", "s3", "ssm", "secretsmanager", "sqs", "sts", "logs"),
    )
    aws = Aws(embedded.start())
    yield aws
    aws.close()
    embedded.stop()


async def test_lines_are_found_by_a_word_in_every_group_of_the_deployment(logs: Aws) -> None:
    client = logs.client("logs", patient=True)
    now_ms = int(time.time() * 1000)
    for group, lines in {
        "/gw/t/stack/chat": ['{"message":"usage","request_id":"R1"}', '{"message":"usage","request_id":"R2"}'],
        "/gw/t/stack/models": ['{"message":"upstream_start","request_id":"R1"}', "R1 in no JSON"],
        "/gw/other/chat": ['{"message":"usage","request_id":"R1"}'],
    }.items():
        client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName="s")
        events = [{"timestamp": now_ms, "message": line} for line in lines]
        client.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
    log = CloudWatchUsageLog(logs, "/gw/t/stack/")
    found = await log.lines("R1", now_ms - 1_000, now_ms + 1_000)
    assert sorted(line["message"] for line in found) == ["upstream_start", "usage"]
    assert {line["request_id"] for line in found} == {"R1"}
    assert await log.lines("R1", now_ms - 5_000, now_ms - 1_000) == []
    with pytest.raises(ValueError, match="one word"):
        await log.lines('R1" "', 0, 1)


async def test_a_log_out_of_reach_says_so(environment: Mapping[str, str]) -> None:
    nowhere = Aws({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable):
        await CloudWatchUsageLog(nowhere, "/gw/").lines("R1", 0, 1)
    nowhere.close()
