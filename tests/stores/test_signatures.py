"""Signatures: kept per account, found from another environment, forgotten in time."""

from collections.abc import Mapping

import pytest

from shared.stores.aws import Aws
from shared.stores.protocols import StoredSignature, StoreUnavailable
from shared.stores.signatures import DynamoSignatureStore
from tests.stores.bench import FaultyAws

NOW = 1_800_000_000.0
LATER = 1_800_000_600
CALL = StoredSignature("c2ln", native_id="n1", name="get_weather", family="3")


def store(aws: Aws, table: str, now: float = NOW) -> DynamoSignatureStore:
    return DynamoSignatureStore(aws, table, clock=lambda: now)


async def test_what_was_put_is_found_here_and_elsewhere(aws: Aws, table: str) -> None:
    bare = StoredSignature("")
    mine = store(aws, table)
    await mine.put("acct", {"k1": CALL, "k2": bare}, LATER)
    expected = {"k1": CALL, "k2": bare}
    assert await mine.get("acct", ["k1", "k2", "k3", "k1"]) == expected
    assert await store(aws, table).get("acct", ["k1", "k2", "k3"]) == expected


async def test_another_account_finds_nothing(aws: Aws, table: str) -> None:
    mine = store(aws, table)
    await mine.put("acct", {"k1": CALL}, LATER)
    assert await mine.get("other", ["k1"]) == {}
    assert await store(aws, table).get("other", ["k1"]) == {}


async def test_expired_signatures_are_gone_though_the_engine_keeps_them(aws: Aws, table: str) -> None:
    now = NOW
    mine = DynamoSignatureStore(aws, table, clock=lambda: now)
    await mine.put("acct", {"k1": CALL}, LATER)
    now = float(LATER)
    assert await mine.get("acct", ["k1"]) == {}
    assert await store(aws, table, LATER).get("acct", ["k1"]) == {}
    assert aws.client("dynamodb").scan(TableName=table)["Count"] == 1


async def test_more_keys_than_one_batch_holds(aws: Aws, table: str) -> None:
    items = {f"k{number}": StoredSignature(f"s{number}") for number in range(230)}
    await store(aws, table).put("acct", items, LATER)
    assert await store(aws, table).get("acct", list(items)) == items


async def test_what_is_remembered_needs_no_store(aws: Aws, table: str) -> None:
    counting = FaultyAws(aws, {})
    mine = store(counting, table)
    await mine.put("acct", {"k1": CALL}, LATER)
    await mine.get("acct", ["k1"])
    assert counting.calls == 1
    assert await mine.get("acct", []) == {}
    assert counting.calls == 1


async def test_what_is_remembered_is_asked_for_again_after_an_hour(aws: Aws, table: str) -> None:
    counting, now = FaultyAws(aws, {}), NOW
    mine = DynamoSignatureStore(counting, table, clock=lambda: now)
    await mine.put("acct", {"k1": CALL}, LATER + 7_200)
    now += 3_599
    assert await mine.get("acct", ["k1"]) == {"k1": CALL}
    assert counting.calls == 1
    now += 2
    assert await mine.get("acct", ["k1"]) == {"k1": CALL}
    assert counting.calls == 2
    assert await mine.get("acct", ["k1"]) == {"k1": CALL}
    assert counting.calls == 2


async def test_no_more_is_remembered_than_fits(aws: Aws, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stores.signatures._FRONT_BYTES", 1_000)
    counting = FaultyAws(aws, {})
    mine = store(counting, table)
    items = {f"k{number}": StoredSignature("x" * 200) for number in range(3)}
    for _ in range(2):  # in place of each other, which takes no more room
        for key, item in items.items():
            await mine.put("acct", {key: item}, LATER)
    written = counting.calls
    assert await mine.get("acct", ["k1", "k2"]) == {key: items[key] for key in ("k1", "k2")}
    assert counting.calls == written
    assert await mine.get("acct", ["k0"]) == {"k0": items["k0"]}  # the oldest had to go
    assert counting.calls == written + 1
    await mine.put("acct", {"k9": StoredSignature("x" * 2_000)}, LATER)  # more than all the room
    assert await mine.get("acct", ["k9"]) == {"k9": StoredSignature("x" * 2_000)}


async def test_a_short_throttle_is_invisible_a_long_one_is_said(aws: Aws, table: str) -> None:
    await store(FaultyAws(aws, {1: "throttle"}), table).put("acct", {"k1": CALL}, LATER)
    assert await store(FaultyAws(aws, {1: "lost"}), table).get("acct", ["k1"]) == {"k1": CALL}
    broken = store(FaultyAws(aws, dict.fromkeys(range(1, 9), "throttle")), table)
    with pytest.raises(StoreUnavailable):
        await broken.get("acct", ["k1"])
    with pytest.raises(StoreUnavailable):
        await broken.put("acct", {"k1": CALL}, LATER)


async def test_keys_that_the_engine_left_for_later_are_asked_again(aws: Aws, table: str) -> None:
    class Halving(FaultyAws):
        async def call(self, service: str, operation: str, **request: object) -> Mapping[str, object]:
            if operation == "batch_get_item":
                ((name, asked),) = request["RequestItems"].items()
                keys, self.calls = asked["Keys"], self.calls + 1
                answer = await self._real.call(service, operation, RequestItems={name: {"Keys": keys[:1]}})
                rest = {name: {"Keys": keys[1:]}} if keys[1:] else {}
                return {**answer, "UnprocessedKeys": rest}
            return await super().call(service, operation, **request)

    items = {f"k{number}": StoredSignature(f"s{number}") for number in range(3)}
    await store(aws, table).put("acct", items, LATER)
    assert await store(Halving(aws, {}), table).get("acct", list(items)) == items


async def test_items_that_the_engine_left_for_later_are_written_again(aws: Aws, table: str) -> None:
    class Halving(FaultyAws):
        async def call(self, service: str, operation: str, **request: object) -> Mapping[str, object]:
            if operation != "batch_write_item":
                return await super().call(service, operation, **request)
            ((name, asked),) = request["RequestItems"].items()
            self.calls += 1
            await self._real.call(service, operation, RequestItems={name: asked[:1]})
            return {"UnprocessedItems": {name: asked[1:]} if asked[1:] else {}}

    items = {f"k{number}": StoredSignature(f"s{number}") for number in range(3)}
    halving = Halving(aws, {})
    await store(halving, table).put("acct", items, LATER)
    assert halving.calls == 3
    assert await store(aws, table).get("acct", list(items)) == items


async def test_a_signature_too_large_for_an_item_is_kept_here_only(
    aws: Aws, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    large = StoredSignature("x" * 400_000)
    mine = store(aws, table)
    await mine.put("acct", {"k1": large}, LATER)
    assert await mine.get("acct", ["k1"]) == {"k1": large}
    assert await store(aws, table).get("acct", ["k1"]) == {}
    assert "signature_too_large" in caplog.text


async def test_what_is_too_large_in_bytes_takes_nothing_else_with_it(aws: Aws, table: str) -> None:
    """What the upstream's own tools found may be in any script; an item is measured in UTF-8."""
    await store(aws, table).put("acct", {"k1": StoredSignature("本" * 200_000), "k2": CALL}, LATER)
    assert await store(aws, table).get("acct", ["k1", "k2"]) == {"k2": CALL}
