"""Kept responses on a real engine: any size comes back whole, accounts are apart, states guard writes."""

import asyncio
import json
import random
import time
from typing import Any

import pytest

from shared.lambda_runtime.event import body_of, is_payload_v2, scope_of
from shared.stores.aws import Aws, AwsFailure
from shared.stores.lambda_invoke import LambdaInvoker, url_event
from shared.stores.protocols import KeptDocument, StoreConflict, StoreUnavailable
from shared.stores.responses import PIECE_BYTES, DynamoResponseStore

SOON = int(time.time()) + 3600


@pytest.fixture
def store(aws: Aws, table: str) -> DynamoResponseStore:
    return DynamoResponseStore(aws, table)


def large(size: int) -> KeptDocument:
    """Random enough that compression cannot make it one item."""
    return KeptDocument({"data": random.Random(size).randbytes(size // 2).hex(), "words": "é☃"}, "completed")


def items(aws: Aws, table: str) -> list[dict[str, Any]]:
    pages = aws.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [item for page in pages for item in page["Items"]]


@pytest.mark.parametrize("size", [10, PIECE_BYTES, 3_000_000])
async def test_what_was_put_comes_back_whole(store: DynamoResponseStore, aws: Aws, table: str, size: int):
    document = large(size)
    await store.put("acct", "resp_1", document, SOON)
    assert await store.get("acct", ["resp_1", "resp_2"]) == {"resp_1": document}
    written = items(aws, table)
    assert (len(written) > 3) is (size > 2_000_000)
    assert all(len(item["data"]["B"]) <= PIECE_BYTES for item in written)
    assert all(item["ttl"]["N"] == str(SOON) for item in written)


@pytest.mark.parametrize("text", ["", "é☃ \u2028", "half a pair \ud83d", "x" * 4_000, "word " * 1_000])
async def test_every_text_and_number_is_kept_as_it_is(store: DynamoResponseStore, text: str):
    document = KeptDocument({"text": text, "large": 2**70, "small": 1e-9, "nothing": None, "list": [True, -0.5]}, "s")
    plain = KeptDocument({"text": text, "again": [text, {"key": text}]}, "s")
    await store.put("acct", "a", document, SOON)
    await store.put("acct", "b", plain, SOON)
    assert await store.get("acct", ["a", "b"]) == {"a": document, "b": plain}


async def test_accounts_are_apart(store: DynamoResponseStore):
    await store.put("one", "resp_1", large(10), SOON)
    assert await store.get("two", ["resp_1"]) == {}
    assert await store.delete("two", "resp_1") is False
    assert "resp_1" in await store.get("one", ["resp_1"])


async def test_many_are_read_at_once(store: DynamoResponseStore):
    ids = [f"resp_{number}" for number in range(130)]
    await asyncio.gather(*(store.put("acct", one, KeptDocument({"n": one}), SOON) for one in ids))
    found = await store.get("acct", [*ids, *ids])
    assert {one: document.body["n"] for one, document in found.items()} == {one: one for one in ids}


async def test_deleted_and_expired_documents_are_gone(store: DynamoResponseStore, aws: Aws, table: str):
    await store.put("acct", "resp_1", large(2_000_000), SOON)
    assert await store.delete("acct", "resp_1") is True
    assert await store.delete("acct", "resp_1") is False
    assert items(aws, table) == []
    await store.put("acct", "resp_2", large(10), int(time.time()) - 1)
    assert await store.get("acct", ["resp_2"]) == {}


async def test_a_write_depends_on_the_state(store: DynamoResponseStore):
    await store.put("acct", "resp_1", KeptDocument({"n": 1}, "queued"), SOON)
    await store.put("acct", "resp_1", KeptDocument({"n": 2}, "cancelled"), SOON, if_state=["queued", "in_progress"])
    with pytest.raises(StoreConflict):
        await store.put("acct", "resp_1", KeptDocument({"n": 3}, "completed"), SOON, if_state=["queued", "in_progress"])
    with pytest.raises(StoreConflict):
        await store.put("acct", "resp_none", KeptDocument({"n": 3}, "completed"), SOON, if_state=["queued"])
    assert (await store.get("acct", ["resp_1"]))["resp_1"] == KeptDocument({"n": 2}, "cancelled")


async def test_a_reader_never_sees_half_of_a_write(store: DynamoResponseStore):
    versions = [large(size) for size in (900_000, 1_000_002, 1_100_000)]
    await store.put("acct", "resp_1", versions[0], SOON)

    async def write() -> None:
        for version in versions * 2:
            await store.put("acct", "resp_1", version, SOON)

    writing = asyncio.ensure_future(write())
    seen = 0
    while not writing.done():
        document = (await store.get("acct", ["resp_1"]))["resp_1"]
        assert document in versions
        seen += 1
    await writing
    assert seen


async def test_a_store_that_cannot_be_reached_says_so():
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "us-east-1"}
    aws = Aws({**away, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"})
    store = DynamoResponseStore(aws, "none")
    with pytest.raises(StoreUnavailable):
        await store.get("acct", ["resp_1"])
    with pytest.raises(StoreUnavailable):
        await store.put("acct", "resp_1", large(10), SOON)
    with pytest.raises(StoreUnavailable):
        await LambdaInvoker(aws, "none").invoke("/path", {})
    aws.close()


class Recorder:
    """Takes the calls that an invoker makes."""

    def __init__(self, status: int) -> None:
        self.calls: list[dict[str, Any]] = []
        self._status = status

    async def call(self, service: str, operation: str, **request: Any) -> dict[str, Any]:
        self.calls.append({"call": f"{service}.{operation}", **request})
        if self._status == 0:
            raise AwsFailure("lambda.invoke", "ResourceNotFoundException", status=404)
        return {"StatusCode": self._status}


async def test_an_invocation_is_asynchronous_and_looks_like_a_request():
    recorder = Recorder(202)
    await LambdaInvoker(recorder, "fn").invoke("/internal/x", {"ticket": "é"})  # type: ignore[arg-type]
    (call,) = recorder.calls
    assert (call["call"], call["FunctionName"], call["InvocationType"]) == ("lambda.invoke", "fn", "Event")
    event = json.loads(call["Payload"])
    assert event == url_event("/internal/x", {"ticket": "é"})
    assert is_payload_v2(event)
    scope = scope_of(event, None)  # type: ignore[arg-type]
    assert (scope["method"], scope["path"]) == ("POST", "/internal/x")
    assert json.loads(body_of(event)) == {"ticket": "é"}


@pytest.mark.parametrize("status", [0, 500])
async def test_an_invocation_that_was_not_taken_is_a_failure(status: int):
    with pytest.raises(StoreUnavailable):
        await LambdaInvoker(Recorder(status), "fn").invoke("/x", {})  # type: ignore[arg-type]
