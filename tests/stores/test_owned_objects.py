"""Owner records: kept per account, listed by kind in the order of their names, forgotten in time."""

import pytest

from shared.stores.aws import Aws
from shared.stores.owned_objects import DynamoOwnedObjects
from shared.stores.protocols import OwnedObject, StoreUnavailable

NOW = 1_800_000_000.0
LATER = 1_800_000_600


def store(aws: Aws, table: str, now: float = NOW) -> DynamoOwnedObjects:
    return DynamoOwnedObjects(aws, table, clock=lambda: now)


def file(number: int, expires_at: int = LATER) -> OwnedObject:
    return OwnedObject(f"files/{number:03}", "first", expires_at)


async def test_what_was_put_is_found_under_its_account_only(aws: Aws, table: str) -> None:
    mine = store(aws, table)
    session = OwnedObject("uploads/a.b", "second", LATER, "https://upstream/session")
    await mine.put("acct", session)
    assert await mine.get("acct", "uploads/a.b") == session
    assert await mine.get("other", "uploads/a.b") is None
    await mine.delete("other", "uploads/a.b")
    assert await mine.get("acct", "uploads/a.b") == session
    await mine.delete("acct", "uploads/a.b")
    assert await mine.get("acct", "uploads/a.b") is None


async def test_a_name_too_long_for_a_key_is_unknown(aws: Aws, table: str) -> None:
    assert await store(aws, table).get("acct", f"files/{'a' * 3_000}") is None


async def test_expired_records_are_gone_though_the_engine_keeps_them(aws: Aws, table: str) -> None:
    await store(aws, table).put("acct", file(1))
    assert await store(aws, table, LATER).get("acct", "files/001") is None
    assert await store(aws, table, LATER).page("acct", "files") == []


async def test_pages_follow_each_other_over_what_has_expired(aws: Aws, table: str) -> None:
    mine = store(aws, table)
    for number in range(12):
        await mine.put("acct", file(number, LATER if number % 3 == 0 else int(NOW)))
    await mine.put("acct", OwnedObject("cachedContents/x", "first", LATER))
    await mine.put("acct", OwnedObject("uploads/x", "first", LATER))
    await mine.put("other", file(0))
    first = await mine.page("acct", "files", limit=2)
    assert [item.name for item in first] == ["files/000", "files/003"]
    second = await mine.page("acct", "files", first[-1].name, limit=2)
    assert [item.name for item in second] == ["files/006", "files/009"]
    assert await mine.page("acct", "files", second[-1].name, limit=2) == []
    assert [item.name for item in await mine.page("acct", "cachedContents")] == ["cachedContents/x"]


async def test_a_table_that_cannot_answer_is_unavailable(environment: dict[str, str]) -> None:
    absent = store(Aws(environment), "no-such-table")
    with pytest.raises(StoreUnavailable):
        await absent.get("acct", "files/001")
