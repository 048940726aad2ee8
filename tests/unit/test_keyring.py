"""The text form of keys, and the caches between requests and the registry."""

import asyncio
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.gateway.keyring import KeyDirectory, ParsedKey, in_force, key_hash, make_key, parse_key
from shared.stores.protocols import Credential, KeyRecord, StoreUnavailable

KID, SECRET = "abcdefGHIJ012345", "s" * 43
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
base62 = st.text(BASE62, min_size=1)


def test_the_form_is_what_scanners_and_clients_expect() -> None:
    text = make_key(KID, SECRET)
    assert len(text) == 73
    assert re.fullmatch(r"sk-gw1_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}", text)
    check = sum(BASE62.index(digit) * 62**power for power, digit in enumerate(reversed(text[-6:])))
    assert check == zlib.crc32(text[:-6].encode())
    assert parse_key(text) == ParsedKey(KID, SECRET)


@given(st.integers(0, 72), st.characters())
def test_one_wrong_character_is_no_key(position: int, character: str) -> None:
    text = make_key(KID, SECRET)
    changed = text[:position] + character + text[position + 1 :]
    assert changed == text or parse_key(changed) is None


@given(st.text())
def test_garbage_is_no_key(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize("make", [lambda key: key + "\n", lambda key: " " + key, lambda key: key[:-1], str.upper])
def test_almost_a_key_is_no_key(make: object) -> None:
    assert callable(make)
    assert parse_key(make(make_key(KID, SECRET))) is None


def test_the_secret_does_not_show() -> None:
    assert SECRET not in repr(ParsedKey(KID, SECRET))


@pytest.mark.parametrize(
    ("record", "now", "expected"),
    [
        ({}, 0, True),
        ({"status": "disabled"}, 0, False),
        ({"status": "revoked"}, 0, False),
        ({"not_before": 10}, 9, False),
        ({"not_before": 10}, 10, True),
        ({"expires_at": 10}, 9.9, True),
        ({"expires_at": 10}, 10, False),
    ],
)
def test_when_a_record_is_in_force(record: dict[str, object], now: float, expected: bool) -> None:
    assert in_force(replace(KeyRecord(KID, "a", "h", "p1"), **record), now) is expected


@dataclass
class FakeStores:
    """A registry and its peppers in memory, that can be slow or down."""

    records: dict[str, KeyRecord] = field(default_factory=dict)
    reads: int = 0
    failures: int = 0  # the next so many reads fail
    delay_s: float = 0.0

    async def resolve(self, kid: str, *, fresh: bool = False) -> KeyRecord | None:
        self.reads += 1
        await asyncio.sleep(self.delay_s)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("down")
        return self.records.get(kid)

    async def put(self, record: KeyRecord, *, overwrite: bool = True) -> None:
        self.records[record.kid] = record

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        return list(self.records.values()), None

    async def pepper(self, pepper_id: str | None = None) -> tuple[str, bytes]:
        return pepper_id or "p1", {"p1": b"one"}[pepper_id or "p1"]

    async def pool(self, *, refresh: bool = False) -> Sequence[Credential]:
        return ()


@pytest.fixture
def stores() -> FakeStores:
    record = KeyRecord(KID, "acct", key_hash(b"one", SECRET), "p1")
    return FakeStores({KID: record})


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(stores: FakeStores, clock: Clock) -> KeyDirectory:
    return KeyDirectory(stores, stores, clock)


RIGHT, WRONG, UNKNOWN = ParsedKey(KID, SECRET), ParsedKey(KID, "w" * 43), ParsedKey("u" * 16, SECRET)


async def test_a_right_key_is_read_once_a_minute(directory: KeyDirectory, stores: FakeStores, clock: Clock) -> None:
    assert not directory.knows(RIGHT)
    for _ in range(3):
        assert await directory.lookup(RIGHT) == stores.records[KID]
    assert directory.knows(RIGHT)
    assert stores.reads == 1
    clock.now += 59.9
    await directory.lookup(RIGHT)
    assert stores.reads == 1
    clock.now += 0.1
    await directory.lookup(RIGHT)
    assert stores.reads == 2


async def test_a_wrong_secret_never_meets_a_cached_success(directory: KeyDirectory, stores: FakeStores) -> None:
    await directory.lookup(RIGHT)
    assert await directory.lookup(WRONG) is None
    assert not directory.knows(WRONG)
    assert await directory.lookup(RIGHT) is not None


@pytest.mark.parametrize("key", [WRONG, UNKNOWN])
async def test_a_refusal_lasts_ten_seconds(
    directory: KeyDirectory, stores: FakeStores, clock: Clock, key: ParsedKey
) -> None:
    for _ in range(3):
        assert await directory.lookup(key) is None
    assert stores.reads == 1
    clock.now += 10.1
    await directory.lookup(key)
    assert stores.reads == 2


async def test_a_key_made_a_moment_after_a_refusal_is_found_soon(
    directory: KeyDirectory, stores: FakeStores, clock: Clock
) -> None:
    assert await directory.lookup(UNKNOWN) is None
    stores.records[UNKNOWN.kid] = replace(stores.records[KID], kid=UNKNOWN.kid)
    clock.now += 10.1
    assert await directory.lookup(UNKNOWN) is not None


async def test_garbage_does_not_evict_good_keys(directory: KeyDirectory, stores: FakeStores) -> None:
    await directory.lookup(RIGHT)
    for number in range(10_050):
        await directory.lookup(ParsedKey(f"{number:016d}", SECRET))
    reads = stores.reads
    assert await directory.lookup(RIGHT) is not None
    assert stores.reads == reads


async def test_a_cached_success_does_not_outlive_the_keys_expiry(
    directory: KeyDirectory, stores: FakeStores, clock: Clock
) -> None:
    stores.records[KID] = replace(stores.records[KID], expires_at=1_030, not_before=1_010)
    assert await directory.lookup(RIGHT) is None
    clock.now = 1_010.0
    assert await directory.lookup(RIGHT) is not None
    clock.now = 1_030.0
    assert await directory.lookup(RIGHT) is None
    assert stores.reads == 1


async def test_a_status_arrives_within_a_minute(directory: KeyDirectory, stores: FakeStores, clock: Clock) -> None:
    await directory.lookup(RIGHT)
    stores.records[KID] = replace(stores.records[KID], status="revoked")
    clock.now += 60
    assert await directory.lookup(RIGHT) is None


async def test_a_deleted_key_is_forgotten_even_when_the_store_goes_down(
    directory: KeyDirectory, stores: FakeStores, clock: Clock
) -> None:
    await directory.lookup(RIGHT)
    del stores.records[KID]
    clock.now += 61
    assert await directory.lookup(RIGHT) is None
    stores.failures = 99
    clock.now += 11
    with pytest.raises(StoreUnavailable):
        await directory.lookup(RIGHT)


async def test_concurrent_misses_make_one_read(directory: KeyDirectory, stores: FakeStores) -> None:
    stores.delay_s = 0.01
    answers = await asyncio.gather(*(directory.lookup(key) for key in (RIGHT, WRONG) * 10))
    assert [answer is not None for answer in answers] == [True, False] * 10
    assert stores.reads == 1


async def test_a_client_that_leaves_does_not_spoil_the_read_for_others(
    directory: KeyDirectory, stores: FakeStores
) -> None:
    stores.delay_s = 0.02
    first = asyncio.ensure_future(directory.lookup(RIGHT))
    second = asyncio.ensure_future(directory.lookup(RIGHT))
    await asyncio.sleep(0.005)
    first.cancel()
    assert await second is not None
    assert stores.reads == 1


async def test_one_failure_is_retried_two_are_said(directory: KeyDirectory, stores: FakeStores) -> None:
    stores.failures = 1
    assert await directory.lookup(RIGHT) is not None
    assert stores.reads == 2
    stores.failures = 2
    with pytest.raises(StoreUnavailable):
        await directory.lookup(UNKNOWN)
    assert await directory.lookup(UNKNOWN) is None  # the failure itself was not remembered


async def test_while_the_store_is_down_known_keys_pass_for_five_minutes(
    directory: KeyDirectory, stores: FakeStores, clock: Clock
) -> None:
    await directory.lookup(RIGHT)
    await directory.lookup(WRONG)
    stores.failures = 1_000
    clock.now += 120
    assert await directory.lookup(RIGHT) is not None
    asked = stores.reads
    assert await directory.lookup(RIGHT) is not None
    assert stores.reads == asked  # not every request pays for a store that is down
    clock.now += 3
    assert await directory.lookup(RIGHT) is not None
    assert stores.reads > asked
    with pytest.raises(StoreUnavailable):  # a refusal is never stale
        await directory.lookup(WRONG)
    clock.now = 1_000.0 + 300
    assert not directory.knows(RIGHT)
    with pytest.raises(StoreUnavailable):
        await directory.lookup(RIGHT)


async def test_a_stale_key_still_expires(directory: KeyDirectory, stores: FakeStores, clock: Clock) -> None:
    stores.records[KID] = replace(stores.records[KID], expires_at=1_100)
    await directory.lookup(RIGHT)
    stores.failures = 1_000
    clock.now = 1_099.0
    assert await directory.lookup(RIGHT) is not None
    clock.now = 1_100.0
    assert await directory.lookup(RIGHT) is None


async def test_a_record_of_an_unknown_pepper_is_undecidable(directory: KeyDirectory, stores: FakeStores) -> None:
    stores.records[KID] = replace(stores.records[KID], pepper_id="p9")
    with pytest.raises(StoreUnavailable):
        await directory.lookup(RIGHT)


async def test_what_is_remembered_is_what_a_lookup_would_say(
    directory: KeyDirectory, stores: FakeStores, clock: Clock
) -> None:
    text = make_key(KID, SECRET)
    assert directory.remembered(text) is None
    record = await directory.lookup(RIGHT)
    assert directory.remembered(text) is record is not None
    for almost in (text[:-1] + "_", text + " ", "SK-gw1_" + text[7:], make_key(KID, "w" * 43), "", "\u00e9"):
        assert directory.remembered(almost) is None
    clock.now += 60
    assert directory.remembered(text) is None


async def test_a_key_that_is_no_longer_in_force_is_not_remembered(
    directory: KeyDirectory, stores: FakeStores, clock: Clock
) -> None:
    stores.records[KID] = replace(stores.records[KID], expires_at=1_030)
    await directory.lookup(RIGHT)
    clock.now = 1_029.9
    assert directory.remembered(make_key(KID, SECRET)) is not None
    clock.now = 1_030.0
    assert directory.remembered(make_key(KID, SECRET)) is None


async def test_a_changed_record_is_asked_for_again(directory: KeyDirectory, stores: FakeStores) -> None:
    await directory.lookup(RIGHT)
    assert await directory.lookup(WRONG) is None
    directory.forget(KID)
    assert directory.remembered(make_key(KID, SECRET)) is None
    reads = stores.reads
    await directory.lookup(RIGHT)
    await directory.lookup(WRONG)
    assert stores.reads == reads + 2


async def test_the_memory_for_right_keys_is_bounded(directory: KeyDirectory, stores: FakeStores) -> None:
    keys = [ParsedKey(f"{number:016d}", SECRET) for number in range(10_001)]
    stores.records |= {key.kid: replace(stores.records[KID], kid=key.kid) for key in keys}
    for key in keys:
        await directory.lookup(key)
    assert [directory.knows(key) for key in (keys[0], keys[1], keys[-1])] == [False, True, True]
