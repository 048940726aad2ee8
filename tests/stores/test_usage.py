"""Usage as it is read back."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from msgspec.structs import replace

from shared.stores.aws import Aws
from shared.stores.dynamodb_usage import DynamoUsageReader
from shared.stores.protocols import StoreUnavailable
from shared.stores.usage_protocols import UsageTotal
from tests.stores.bench import DAY, START_US, Bench

NOW = START_US / 1_000_000


def reader(bench: Bench, now: float = NOW) -> DynamoUsageReader:
    return DynamoUsageReader(bench.aws, bench.table, clock=lambda: now)


async def test_days_are_summed_by_model_within_the_range(bench: Bench) -> None:
    key, other = await bench.account(), await bench.account()
    for owner, day, model, status in (
        (key, "20270113", "a", 200),
        (key, "20270114", "a", 200),
        (key, "20270114", "a", 500),
        (key, "20270114", "b", 200),
        (key, "20270115", "a", 200),
        (key, "20270116", "a", 200),
        (other, "20270114", "a", 200),
    ):
        await bench.admit(request := bench.request(owner, day=day, model=model))
        await bench.settle(request, status=status, cached_tokens=4, reasoning_tokens=2)
    assert await reader(bench).daily(key.acct, "20270114", "20270115") == [
        UsageTotal("20270114", "a", 2, 1, 20, 8, 10, 4, 100),
        UsageTotal("20270114", "b", 1, 0, 10, 4, 5, 2, 50),
        UsageTotal("20270115", "a", 1, 0, 10, 4, 5, 2, 50),
    ]
    assert await reader(bench).daily("nobody", "20270101", "20271231") == []


async def test_rows_come_in_time_order_under_their_outside_names(bench: Bench) -> None:
    key = await bench.account()
    late, early = bench.request(key, now_us=START_US + 5_000_000), bench.request(key)
    for request in (late, early):
        await bench.admit(request)
        await bench.settle(request, cached_tokens=3, reasoning_tokens=1, ttft_ms=None)
    rows, cursor = await reader(bench).rows(key.acct, DAY)
    assert cursor is None
    assert [row["request_id"] for row in rows] == [early.rid, late.rid]
    assert rows[0] == {
        "request_id": early.rid,
        "ts": START_US // 1000,
        "kid": key.kid,
        "dialect": "openai_chat",
        "endpoint": "chat",
        "stream": True,
        "model": "gemini-2.5-flash",
        "model_version": "gemini-2.5-flash-001",
        "status": 200,
        "finish_reason": "stop",
        "input_tokens": 10,
        "cached_tokens": 3,
        "output_tokens": 5,
        "reasoning_tokens": 1,
        "cost_nano_usd": 50,
        "estimated": False,
        "ttft_ms": None,
        "duration_ms": 34,
    }


async def test_pages_hold_every_row_once_and_a_cursor_leads_nowhere_else(bench: Bench) -> None:
    key, other = await bench.account(), await bench.account()
    wanted = []
    for owner in (key, other):
        for number in range(7):
            await bench.admit(request := bench.request(owner, now_us=START_US + number * 1000))
            await bench.settle(request)
            wanted += [request.rid] if owner is key else []
    found: list[str] = []
    cursor = None
    while True:
        rows, cursor = await reader(bench).rows(key.acct, DAY, cursor, 3)
        found += [row["request_id"] for row in rows]
        if cursor is None:
            break
        theirs, _ = await reader(bench).rows(other.acct, DAY, cursor, 100)
        assert not {row["request_id"] for row in theirs} & set(wanted)
    assert found == wanted


async def test_the_newest_come_first_where_asked_for_and_a_cursor_leads_either_way(bench: Bench) -> None:
    key = await bench.account()
    oldest_first = []
    for number in range(7):
        await bench.admit(request := bench.request(key, now_us=START_US + number * 1000))
        await bench.settle(request)
        oldest_first.append(request.rid)
    found: list[str] = []
    cursor = None
    while True:
        rows, cursor = await reader(bench).rows(key.acct, DAY, cursor, 3, newest_first=True)
        found += [row["request_id"] for row in rows]
        if cursor is None:
            break
    assert found == oldest_first[::-1]
    rows, cursor = await reader(bench).rows(key.acct, DAY, None, 3, newest_first=True)
    back, end = await reader(bench).rows(key.acct, DAY, cursor)
    assert ([row["request_id"] for row in back], end) == (oldest_first[5:], None)  # what is later than the place


@pytest.mark.parametrize("cursor", ["", "x", "1#", "#R", "1#r2", "1#A#STATE", "9" * 99])
async def test_a_cursor_that_is_none_is_refused(bench: Bench, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await reader(bench).rows("acct", DAY, cursor)


async def test_expired_rows_are_not_shown(bench: Bench) -> None:
    key = await bench.account()
    await bench.admit(request := bench.request(key))
    await bench.settle(request)
    assert len((await reader(bench, NOW + 90 * 86_400 - 1).rows(key.acct, DAY))[0]) == 1
    assert (await reader(bench, NOW + 90 * 86_400).rows(key.acct, DAY))[0] == []


async def test_a_lost_row_is_shown_as_its_late_settlement_corrected_it(bench: Bench) -> None:
    key = await bench.account()
    late, lost = bench.request(key), bench.request(key)
    for request in (late, lost):
        await bench.admit(request)
    await bench.ledger.sweep_expired(key.acct, late.expires_at + 1)
    await bench.settle(late)
    rows = {row["request_id"]: row for row in (await reader(bench).rows(key.acct, DAY))[0]}
    shown = rows[late.rid]
    assert (shown["cost_nano_usd"], shown["input_tokens"], shown["status"], shown["ts"]) == (
        50,
        10,
        200,
        START_US // 1000,
    )
    assert (rows[lost.rid]["cost_nano_usd"], rows[lost.rid]["estimated"]) == (100, True)
    total = sum(day.cost_nano for day in await reader(bench).daily(key.acct, DAY, DAY))
    assert total == sum(row["cost_nano_usd"] for row in rows.values())


@pytest.mark.parametrize("times", [2, 1_000])
async def test_adjustments_that_the_engine_leaves_for_later_are_asked_for_again(bench: Bench, times: int) -> None:
    class Busy:
        """Leaves all keys of a batch for later so many times, in an order of its own."""

        def __init__(self) -> None:
            self.left = times

        async def call(self, service: str, operation: str, **request: Any) -> Mapping[str, Any]:
            if operation != "batch_get_item" or not self.left:
                return await bench.aws.call(service, operation, **request)
            self.left -= 1
            ((name, asked),) = request["RequestItems"].items()
            return {"Responses": {}, "UnprocessedKeys": {name: {**asked, "Keys": asked["Keys"][::-1]}}}

    key = await bench.account()
    requests = [bench.request(key), bench.request(key)]
    for request in requests:
        await bench.admit(request)
    await bench.ledger.sweep_expired(key.acct, requests[0].expires_at + 1)
    for request in requests:
        await bench.settle(request)
    busy = Busy()
    asked = DynamoUsageReader(cast(Aws, busy), bench.table, clock=lambda: NOW).rows(key.acct, DAY)
    if times > 2:
        with pytest.raises(StoreUnavailable):
            await asked
        assert busy.left > times - 100
        return
    assert [row["cost_nano_usd"] for row in (await asked)[0]] == [50, 50]


async def test_the_balance(bench: Bench) -> None:
    key = await bench.account(budget_limit_nano=1_000, budget_period="day", period=DAY)
    done, running = bench.request(key, period=DAY), bench.request(key, period=DAY)
    for request in (done, running):
        await bench.admit(request)
    await bench.settle(done)
    assert await reader(bench).balance(key.acct) == {
        "period": DAY,
        "spent_nano": 50,
        "spent_all_nano": 50,
        "limit_nano": 1_000,
        "available_nano": 850,
        "holds": 1,
        "requests_tat_us": None,
        "tokens_tat_us": None,
    }
    tomorrow = await reader(bench, NOW + 86_400).balance(key.acct)
    assert tomorrow is not None
    assert (tomorrow["period"], tomorrow["spent_nano"], tomorrow["available_nano"]) == ("20270116", 0, 900)
    unlimited = await reader(bench).balance((await bench.account()).acct)
    assert unlimited is not None
    assert (unlimited["limit_nano"], unlimited["available_nano"], unlimited["period"]) == (None, None, "all")
    assert await reader(bench).balance("nobody") is None


async def test_rotated_keys_share_their_rows(bench: Bench) -> None:
    key = await bench.account()
    rotated = replace(key, kid="rotated")
    await bench.ledger.open_account(rotated, period="all")
    for owner in (key, rotated):
        await bench.admit(request := bench.request(owner))
        await bench.settle(request)
    rows, _ = await reader(bench).rows(key.acct, DAY)
    assert {row["kid"] for row in rows} == {key.kid, "rotated"}
