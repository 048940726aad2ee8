"""What only the bundles on Secrets Manager do: writers that race, sizes, the cache of a shard."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from shared.stores import key_records
from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import KeyRecord, StoreConflict, StoreUnavailable
from shared.stores.secrets_keys import MAX_BUNDLE_BYTES, SecretsKeyStore, shard_of

PLAIN = KeyRecord(kid="kid0000000000002", acct="a", hash="cd", pepper_id="p1")


class Meddling(Aws):
    """Lets something happen before the n-th call of an operation, or loses its answer."""

    def __init__(self, aws: Aws, operation: str, before: Any = None, lose: bool = False) -> None:
        self._real = aws
        self._operation = operation
        self._before = before
        self._lose = lose
        self.calls: list[str] = []

    async def call(self, service: str, operation: str, *, patient: bool = False, **request: Any) -> Mapping[str, Any]:
        first = operation == self._operation and operation not in self.calls
        self.calls.append(operation)
        if first and self._before is not None:
            await self._before()
        answer = await self._real.call(service, operation, patient=patient, **request)
        if first and self._lose:
            raise AwsFailure(operation, "ConnectionFailure")
        return answer


def of_one_shard(number: int) -> list[KeyRecord]:
    """Records whose kids fall into one shard."""
    found: list[KeyRecord] = []
    candidate = 0
    while len(found) < number:
        record = replace(PLAIN, kid=f"kid{candidate:013d}")
        if shard_of(record.kid) == "7f":
            found.append(record)
        candidate += 1
    return found


@pytest.fixture
def prefix(table: str) -> str:
    return f"gw/{table}/keys/"


async def test_the_shard_is_the_beginning_of_the_kids_digest() -> None:
    assert shard_of("abc") == "ba"  # SHA-256 of abc is ba7816bf...


@pytest.mark.parametrize("operation", ["put_secret_value", "update_secret_version_stage", "create_secret"])
async def test_of_two_writers_none_loses_a_key(aws: Aws, prefix: str, operation: str) -> None:
    one, two, three = of_one_shard(3)
    if operation != "create_secret":
        await SecretsKeyStore(aws, prefix).put(three)

    async def faster() -> None:
        await SecretsKeyStore(aws, prefix).put(two)

    slower = SecretsKeyStore(Meddling(aws, operation, faster), prefix)
    await slower.put(one)
    fresh = SecretsKeyStore(aws, prefix)
    assert [await fresh.resolve(record.kid) for record in (one, two)] == [one, two]
    assert await slower.resolve(two.kid) == two


async def test_twelve_writers_at_once_lose_no_key(aws: Aws, prefix: str) -> None:
    records = of_one_shard(12)
    store = SecretsKeyStore(aws, prefix)
    await store.put(records[0])

    async def insist(record: KeyRecord) -> None:
        writer = SecretsKeyStore(aws, prefix)
        while True:
            try:
                await writer.put(record)
            except StoreUnavailable:
                continue
            return

    await asyncio.gather(*(insist(record) for record in records))
    found, cursor = await SecretsKeyStore(aws, prefix).page()
    assert (sorted(found, key=lambda record: record.kid), cursor) == (records, None)


@pytest.mark.parametrize("operation", ["create_secret", "update_secret_version_stage"])
async def test_a_write_whose_answer_was_lost_can_be_repeated(aws: Aws, prefix: str, operation: str) -> None:
    one, two = of_one_shard(2)
    if operation != "create_secret":
        await SecretsKeyStore(aws, prefix).put(two)
    with pytest.raises(StoreUnavailable):
        await SecretsKeyStore(Meddling(aws, operation, lose=True), prefix).put(one, overwrite=False)
    await SecretsKeyStore(aws, prefix).put(one, overwrite=False)
    with pytest.raises(StoreConflict):
        await SecretsKeyStore(aws, prefix).put(replace(one, name="other"), overwrite=False)


async def test_a_bundle_that_does_not_fit_is_refused_by_us(aws: Aws, prefix: str) -> None:
    one, two = of_one_shard(2)
    store = SecretsKeyStore(aws, prefix)
    await store.put(replace(one, name="x" * 60_000))
    with pytest.raises(ValueError, match=f"at most {MAX_BUNDLE_BYTES} fit"):
        await store.put(replace(two, name="x" * 6_000))
    await store.put(two)


async def test_a_shard_is_read_once_in_five_seconds_by_many_at_once(aws: Aws, prefix: str) -> None:
    now = 0.0
    one, two = of_one_shard(2)
    await SecretsKeyStore(aws, prefix).put(one)
    counting = Meddling(aws, "none")
    store = SecretsKeyStore(counting, prefix, clock=lambda: now)
    assert await asyncio.gather(*(store.resolve(one.kid) for _ in range(10))) == [one] * 10
    assert await store.resolve(two.kid) is None
    assert counting.calls == ["get_secret_value"]
    await SecretsKeyStore(aws, prefix).put(two)
    now = 4.9
    assert await store.resolve(two.kid) is None
    now = 5.0
    assert await store.resolve(two.kid) == two
    assert len(counting.calls) == 2


async def test_what_one_writes_it_reads_at_once(aws: Aws, prefix: str) -> None:
    store = SecretsKeyStore(aws, prefix)
    assert await store.resolve(PLAIN.kid) is None
    await store.put(PLAIN)
    assert await store.resolve(PLAIN.kid) == PLAIN


@pytest.mark.parametrize("text", ["no JSON", "[]"])
async def test_a_damaged_bundle_is_undecidable_and_stays_unquoted(aws: Aws, prefix: str, text: str) -> None:
    name = prefix + shard_of(PLAIN.kid)
    aws.client("secretsmanager").create_secret(Name=name, SecretString=text)
    with pytest.raises(StoreUnavailable) as caught:
        await SecretsKeyStore(aws, prefix).resolve(PLAIN.kid)
    assert text not in str(caught.value)


async def test_a_damaged_record_spoils_itself_alone(aws: Aws, prefix: str) -> None:
    one, two = of_one_shard(2)
    bundle = {one.kid: json.loads(key_records.dumps(one)), two.kid: {"kid": two.kid}}
    aws.client("secretsmanager").create_secret(Name=prefix + "7f", SecretString=json.dumps(bundle))
    store = SecretsKeyStore(aws, prefix)
    assert await store.resolve(one.kid) == one
    with pytest.raises(StoreUnavailable):
        await store.resolve(two.kid)
    assert (await store.page())[0] == [one]


async def test_a_cursor_that_is_none_is_refused(aws: Aws, prefix: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await SecretsKeyStore(aws, prefix).page("x")
