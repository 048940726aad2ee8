"""The totals of all accounts: whatever the table's stream delivers, each aggregate is counted once."""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any
from zlib import crc32

import pytest

from infra.local.aws import EmbeddedAws
from shared.gateway.maintenance import recount
from shared.stores.aws import Aws
from shared.stores.billed_costs import ExportedCosts
from shared.stores.dynamodb_global import DynamoGlobalTotals, aggregates_of
from shared.stores.dynamodb_usage import DynamoUsageReader
from shared.stores.protocols import KeyRecord, StoreUnavailable
from shared.stores.usage_protocols import UsageTotal
from tests.stores.bench import DAY, START_US, Bench, FaultyAws, refuse_unguarded_additions

NEXT = "20270116"
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An engine that serves streams and objects too."""
    services = ("dynamodb", "dynamodbstreams", "s3", "ssm", "secretsmanager", "sqs", "sts")
    embedded = EmbeddedAws(tmp_path_factory.mktemp("streams"), persist=False, services=services)
    yield embedded.start()
    embedded.stop()


@pytest.fixture(scope="module")
def aws(environment: dict[str, str]) -> Iterator[Aws]:
    aws = Aws(environment)
    refuse_unguarded_additions(aws.client("dynamodb"))
    yield aws
    aws.close()


@pytest.fixture
def streamed(bench: Bench) -> Bench:
    """The bench's table with a stream as template.yaml gives it."""
    bench.aws.client("dynamodb", patient=True).update_table(
        TableName=bench.table, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    )
    return bench


def totals_of(bench: Bench) -> DynamoGlobalTotals:
    return DynamoGlobalTotals(bench.aws, bench.table)


def stream_of(bench: Bench) -> Records:
    """Every record of the table's stream so far, as a function's event has them."""
    arn = bench.aws.client("dynamodb", patient=True).describe_table(TableName=bench.table)["Table"]["LatestStreamArn"]
    streams = bench.aws.client("dynamodbstreams", patient=True)
    found: Records = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        place = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        iterator = place["ShardIterator"]
        while iterator and (page := streams.get_records(ShardIterator=iterator))["Records"]:
            found += page["Records"]
            iterator = page.get("NextShardIterator")
    return found


async def use(bench: Bench, key: KeyRecord, *, day: str = DAY, model: str = "a", **fields: Any) -> None:
    await bench.admit(request := bench.request(key, day=day, model=model))
    await bench.settle(request, **fields)


async def expected(bench: Bench, keys: Iterable[KeyRecord], first: str = DAY, last: str = NEXT) -> Sequence[UsageTotal]:
    """The sum of the accounts' own aggregates, the slow way."""
    sums: dict[tuple[str, str], list[int]] = {}
    for key in keys:
        for line in await DynamoUsageReader(bench.aws, bench.table).daily(key.acct, first, last):
            amounts = _amounts(line)
            before = sums.get((line.day, line.model), [0] * len(amounts))
            sums[line.day, line.model] = [a + b for a, b in zip(before, amounts, strict=True)]
    return [UsageTotal(*place, *amounts) for place, amounts in sorted(sums.items())]


def _amounts(line: UsageTotal) -> list[int]:
    names = ("requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nano")
    return [getattr(line, name) for name in names]


async def busy(bench: Bench) -> list[KeyRecord]:
    keys = [await bench.account() for _ in range(3)]
    for key in keys:
        for day, model, status in ((DAY, "a", 200), (DAY, "a", 500), (DAY, "b", 200), (NEXT, "a", 200)):
            await use(bench, key, day=day, model=model, status=status, cached_tokens=3, reasoning_tokens=2)
    return keys


async def test_what_the_stream_brings_is_the_sum_of_all_accounts(streamed: Bench) -> None:
    keys, totals = await busy(streamed), totals_of(streamed)
    records = stream_of(streamed)
    assert {record["eventName"] for record in records} == {"INSERT", "MODIFY"}
    assert await totals.count(aggregates_of(records)) == 9
    found = await totals.daily(DAY, NEXT)
    assert found == await expected(streamed, keys)
    assert [(line.day, line.model, line.requests, line.errors, line.cost_nano) for line in found] == [
        (DAY, "a", 6, 3, 300),
        (DAY, "b", 3, 0, 150),
        (NEXT, "a", 3, 0, 150),
    ]
    assert await totals.daily(NEXT, NEXT) == found[2:]
    assert await totals.daily("20270101", "20270102") == []


async def test_batches_may_come_twice_in_other_pieces_and_in_any_order(streamed: Bench) -> None:
    keys, totals = await busy(streamed), totals_of(streamed)
    records = stream_of(streamed)
    chance = random.Random(7)
    for size in (1, 5, len(records), 3):
        pieces = [records[start : start + size] for start in range(0, len(records), size)]
        chance.shuffle(pieces)
        for piece in pieces:
            await totals.count(aggregates_of(piece))
    assert await totals.daily(DAY, NEXT) == await expected(streamed, keys)
    assert await totals.count(aggregates_of(records)) == 0


async def test_the_same_batch_at_the_same_time_counts_once(streamed: Bench) -> None:
    keys, totals = await busy(streamed), totals_of(streamed)
    images = aggregates_of(stream_of(streamed))
    counted = await asyncio.gather(*(totals.count(images) for _ in range(6)))
    assert sum(counted) == 9
    assert await totals.daily(DAY, NEXT) == await expected(streamed, keys)


@pytest.mark.parametrize("fault", ["error", "lost", "throttle", "conflict"])
async def test_no_failing_call_counts_twice_or_not_at_all(streamed: Bench, fault: str) -> None:
    key = await streamed.account()
    for number in count(1):
        await use(streamed, key)
        images = aggregates_of(stream_of(streamed))
        faulty = FaultyAws(streamed.aws, {number: fault})
        await DynamoGlobalTotals(faulty, streamed.table).count(images)
        assert await totals_of(streamed).daily(DAY, NEXT) == await expected(streamed, [key])
        if faulty.calls < number:  # every call has failed once
            assert number > 2
            return


async def test_a_lost_record_is_brought_by_the_next_or_by_the_recount(streamed: Bench) -> None:
    key, totals = await streamed.account(), totals_of(streamed)
    await use(streamed, key)
    seen = len(stream_of(streamed))
    await use(streamed, key)  # its record never arrives
    lost = len(stream_of(streamed))
    assert lost > seen
    await use(streamed, key)
    await totals.count(aggregates_of(stream_of(streamed)[:seen]))
    assert [line.requests for line in await totals.daily(DAY, DAY)] == [1]
    await totals.count(aggregates_of(stream_of(streamed)[lost:]))
    assert await totals.daily(DAY, DAY) == await expected(streamed, [key])
    await use(streamed, key)
    now = START_US // 1_000_000
    counts = await recount([key.acct], totals, now, lambda: False)
    assert counts == {"accounts": 1, "left": 0, "changed": 1, "failed": 0}
    assert await totals.daily(DAY, DAY) == await expected(streamed, [key])
    assert (await recount([key.acct], totals, now, lambda: False))["changed"] == 0
    cut_short = {"accounts": 0, "left": 1, "changed": 0, "failed": 0}
    assert await recount([key.acct], totals, now, lambda: True) == cut_short


async def test_a_late_settlement_corrects_the_total(bench: Bench) -> None:
    key, totals = await bench.account(), totals_of(bench)
    await bench.admit(request := bench.request(key, model="a"))
    await bench.ledger.sweep_expired(key.acct, request.expires_at + 1)
    await totals.recount(key.acct, DAY, DAY)
    (line,) = await totals.daily(DAY, DAY)
    assert (line.requests, line.errors, line.cost_nano) == (1, 1, 100)
    await bench.settle(request, projects={"p": 50})
    await totals.recount(key.acct, DAY, DAY)
    (line,) = await totals.daily(DAY, DAY)
    assert (line.requests, line.errors, line.cost_nano, line.input_tokens) == (1, 0, 50, 10)
    assert await totals.projects(DAY) == {"p": 50}


async def test_costs_are_told_by_upstream_project(bench: Bench) -> None:
    keys, totals = [await bench.account(), await bench.account()], totals_of(bench)
    for key, projects in ((keys[0], {"team-a": 30, "team-b": 20}), (keys[1], {"team-b": 50}), (keys[1], {})):
        await use(bench, key, projects=projects)
    await use(bench, keys[0], day=NEXT, projects={"team-a": 50})
    for key in keys:
        await totals.recount(key.acct, DAY, NEXT)
    assert await totals.projects(DAY) == {"team-a": 30, "team-b": 70}
    assert await totals.projects(NEXT) == {"team-a": 50}
    row = next(item for item in bench.items() if item.get("projects", {}).get("team-b") == 20)
    assert row["projects"] == {"team-a": 30, "team-b": 20}


async def test_billed_costs_are_an_object_of_s3(aws: Aws) -> None:
    client = aws.client("s3", patient=True)
    client.create_bucket(Bucket="finance")
    client.put_object(
        Bucket="finance", Key="gemini/costs of 2027.csv", Body=b"project,day,cost_usd\nteam,2027-01-15,1.5\n"
    )
    uri = "s3://finance/gemini/costs%20of%202027.csv"
    assert await ExportedCosts(aws, uri).billed(DAY) == {"team": 1_500_000_000}
    assert await ExportedCosts(aws, uri).billed(NEXT) == {}
    with pytest.raises(StoreUnavailable, match="NoSuchKey"):
        await ExportedCosts(aws, "s3://finance/other.csv").billed(DAY)


async def test_a_batch_of_more_accounts_than_a_transaction_holds(bench: Bench) -> None:
    key, totals = await bench.account(), totals_of(bench)
    await use(bench, key)
    (image,) = (item for item in bench.items() if item["sk"].startswith("D#"))
    images = [{**image, "pk": f"A#other{number}"} for number in range(1_800)]
    shard = [one for one in images if _shard(one) == _shard(images[0])]
    assert len(shard) > 100
    assert await totals.count(shard) == len(shard)
    (line,) = await totals.daily(DAY, DAY)
    assert (line.requests, line.cost_nano) == (len(shard), 50 * len(shard))
    client = bench.aws.client("dynamodb", patient=True)  # of accounts that are none: the invariants would say so
    for item in bench.items():
        if item["pk"][0] in "CG":
            client.delete_item(TableName=bench.table, Key={"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}})


def _shard(image: dict[str, Any]) -> int:
    return crc32(image["pk"].encode()) % 16


async def test_a_store_that_does_not_answer_says_so(environment: dict[str, str], bench: Bench) -> None:
    key = await bench.account()
    await use(bench, key)
    nowhere = Aws({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    totals = DynamoGlobalTotals(nowhere, bench.table)
    (image,) = (item for item in bench.items() if item["sk"].startswith("D#"))
    for work in (totals.count([image]), totals.daily(DAY, DAY), totals.recount(key.acct, DAY, DAY)):
        with pytest.raises(StoreUnavailable):
            await work
    nowhere.close()
