"""A settlement ends, whatever becomes of the request that began it; and what names a request's day and id."""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from shared.events import Usage
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange, ulid
from shared.gateway.metering import Meter, Outcome
from shared.gateway.settings import Settings
from shared.gemini.catalog import resolve
from shared.stores.protocols import KeyRecord, Settlement


class SlowBook:
    """A ledger that takes a few turns of the loop for a settlement."""

    def __init__(self) -> None:
        self.settled: list[Settlement] = []

    async def settle(self, settlement: Settlement) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.settled.append(settlement)


def exchange(started_ms: int = 1_800_000_000_000) -> Exchange:
    return Exchange(ulid(started_ms, os.urandom(16)), "shown", started_ms, 0.0, 60.0, "")


def metered(book: Any) -> Meter:
    begun = exchange()
    model = resolve("gemini-2.5-flash", begun.today)
    key = KeyRecord("k", "acct", "h", "p")
    return Meter(
        book, book, Settings(), key, begun, model, Estimate(1, 1, 1), dialect="d", endpoint="chat", stream=True
    )


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_request_is_settled_once(turns: int) -> None:
    book = SlowBook()
    request = asyncio.ensure_future(metered(book).settle())
    for _ in range(turns):
        await asyncio.sleep(0)
    begun = turns > 0  # a task that never ran has nothing to settle
    request.cancel()
    await asyncio.wait([request])
    for _ in range(6):
        await asyncio.sleep(0)
    assert len(book.settled) == int(begun)


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_request_cancelled_twice_is_settled_once(turns: int) -> None:
    """The second time while what the first one cut short is done anew."""
    book = SlowBook()
    request = asyncio.ensure_future(metered(book).settle())
    for pause in (1, turns):
        for _ in range(pause):
            await asyncio.sleep(0)
        request.cancel()
    await asyncio.wait([request])
    for _ in range(6):
        await asyncio.sleep(0)
    assert request.cancelled()
    assert len(book.settled) == 1


async def test_who_is_being_cancelled_still_settles() -> None:
    """The client left while the answer was under way: the cancellation is what brings the request to its end."""
    book = SlowBook()
    meter = metered(book)

    async def answer() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await meter.settle()

    request = asyncio.ensure_future(answer())
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait([request])
    assert request.cancelled()
    assert len(book.settled) == 1


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(prompt_tokens=7, output_tokens=3, prompt_modalities={"TEXT": 7}, service_tier="priority"),
        Usage(reasoning_tokens=2, cached_tokens=1, search_queries=4, estimated=True),
    ],
)
def test_the_usage_of_one_call_is_a_sum_of_one(usage: Usage) -> None:
    assert Outcome(calls={1: usage}).usage == Usage() + usage
    assert Outcome(calls={1: usage, 2: Usage()}).usage == replace(usage + Usage(), service_tier=usage.service_tier)
    assert Outcome().usage is None


def test_a_cost_that_was_asked_for_early_is_not_the_last_word() -> None:
    meter = metered(SlowBook())
    seen = [meter.cost()]
    for number, tokens in ((1, 1_000), (1, 2_000), (2, 5_000)):  # a guess that turns out otherwise, and another call
        meter.outcome.calls[number] = Usage(prompt_tokens=tokens)
        seen.append(meter.cost())
    assert seen == [0, seen[1], 2 * seen[1], 7 * seen[1]] and seen[1] > 0
    assert meter.settlement().cost_nano == seen[-1]


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00", "2024-02-29T23:59:59", "2026-12-31T23:59:59", "2027-01-01"])
def test_the_day_is_the_moments_day_in_utc(moment: str) -> None:
    began = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    found = exchange(round(began.timestamp() * 1000))
    assert (found.today, found.day) == (began.date(), began.strftime("%Y%m%d"))


def test_a_request_id_is_its_moment_and_chance() -> None:
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    ids = [ulid(moment, os.urandom(16)) for moment in (0, 1, 1_800_000_000_000, 2**48 - 1)]
    assert ids == sorted(ids)
    for moment, text in zip((0, 1, 1_800_000_000_000, 2**48 - 1), ids, strict=True):
        assert len(text) == 26
        number = sum(digits.index(digit) << 5 * place for place, digit in enumerate(reversed(text)))
        assert number >> 80 == moment
    assert ulid(5, bytes(16)) != ulid(5, b"\1" * 16)
