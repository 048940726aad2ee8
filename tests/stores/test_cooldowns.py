"""Cooldowns of the pool in the usage table: what one environment writes, another reads."""

import pytest

from shared.stores.aws import Aws
from shared.stores.cooldowns import DynamoCooldowns
from shared.stores.protocols import Cooldown, StoreUnavailable

NOW = 1_800_000_000
DAY = Cooldown("gemini-3.6-flash", "PerDay", "upstream_quota", NOW + 3600)
BAD_KEY = Cooldown("", "", "upstream_auth", NOW + 300)


async def test_what_rests_is_known_elsewhere_until_it_is_over(aws: Aws, table: str) -> None:
    now = float(NOW)
    await DynamoCooldowns(aws, table, clock=lambda: now).put("project:a", [DAY, BAD_KEY])
    other = DynamoCooldowns(aws, table, clock=lambda: now)
    assert await other.get(["project:a", "project:b"]) == {"project:a": [DAY, BAD_KEY]}
    now += 301
    assert await other.get(["project:a"]) == {"project:a": [DAY]}
    now += 3600
    assert await other.get(["project:a"]) == {"project:a": []}


async def test_a_write_replaces_the_last(aws: Aws, table: str) -> None:
    store = DynamoCooldowns(aws, table, clock=lambda: float(NOW))
    await store.put("k1", [DAY])
    await store.put("k1", [BAD_KEY])
    assert await store.get(["k1"]) == {"k1": [BAD_KEY]}


async def test_more_owners_than_one_read_takes(aws: Aws, table: str) -> None:
    store = DynamoCooldowns(aws, table, clock=lambda: float(NOW))
    await store.put("k149", [DAY])
    assert await store.get([f"k{number}" for number in range(150)]) == {"k149": [DAY]}


async def test_a_table_that_does_not_answer_is_unavailable(aws: Aws) -> None:
    store = DynamoCooldowns(aws, "no-such-table", clock=lambda: float(NOW))
    with pytest.raises(StoreUnavailable):
        await store.get(["k1"])
    with pytest.raises(StoreUnavailable):
        await store.put("k1", [DAY])
