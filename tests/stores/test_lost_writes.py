"""Documents whose writes reached the engine and whose answers did not: each counts once, and counts."""

import random
import time

import pytest

from shared.gateway.memory import append
from shared.stores.aws import Aws
from shared.stores.protocols import KeptDocument, StoreConflict
from shared.stores.responses import DynamoResponseStore
from tests.stores.bench import FaultyAws

SOON = int(time.time()) + 3600
CONVERSATION = {"object": "conversation", "entries": [], "expires_at": SOON}


@pytest.fixture
def store(aws: Aws, table: str) -> DynamoResponseStore:
    return DynamoResponseStore(aws, table)


async def test_a_conversation_gains_an_item_once(store: DynamoResponseStore, aws: Aws, table: str):
    await store.put("acct", "conv_1", KeptDocument(CONVERSATION, "0"), SOON)
    faulty = DynamoResponseStore(FaultyAws(aws, {2: "lost"}), table)
    await append(faulty, "acct", "conv_1", {"item": {"id": "msg_1"}})
    kept = (await store.get("acct", ["conv_1"]))["conv_1"]
    assert (kept.body["entries"], kept.state) == ([{"item": {"id": "msg_1"}}], "1")


async def test_a_conversation_gains_an_item_once_where_another_came_between(
    store: DynamoResponseStore, aws: Aws, table: str
):
    await store.put("acct", "conv_1", KeptDocument(CONVERSATION, "0"), SOON)
    mine, other = {"item": {"id": "msg_1"}}, {"item": {"id": "msg_2"}}

    async def meanwhile() -> None:
        await append(store, "acct", "conv_1", other)

    faulty = DynamoResponseStore(FaultyAws(aws, {2: "lost", 3: meanwhile}), table)
    await append(faulty, "acct", "conv_1", mine)
    assert (await store.get("acct", ["conv_1"]))["conv_1"].body["entries"] == [mine, other]
    await append(store, "acct", "conv_1", mine)  # wanted twice
    assert (await store.get("acct", ["conv_1"]))["conv_1"].body["entries"] == [mine, other, mine]


@pytest.mark.parametrize("size", [10, 900_000])
async def test_a_write_that_was_done_is_no_conflict(store: DynamoResponseStore, aws: Aws, table: str, size: int):
    done = KeptDocument({"data": random.Random(size).randbytes(size // 2).hex()}, "completed")
    await store.put("acct", "resp_1", KeptDocument({}, "in_progress"), SOON)
    head = 1 if size < 100 else 3
    faulty = DynamoResponseStore(FaultyAws(aws, {head: "lost"}), table)
    await faulty.put("acct", "resp_1", done, SOON, if_state=["in_progress"])
    assert (await store.get("acct", ["resp_1"]))["resp_1"] == done
    with pytest.raises(StoreConflict):  # somebody else's is one
        await store.put("acct", "resp_1", KeptDocument({}, "completed"), SOON, if_state=["in_progress"])


async def test_the_first_write_is_the_first_whatever_becomes_of_its_answer(
    store: DynamoResponseStore, aws: Aws, table: str
):
    faulty = DynamoResponseStore(FaultyAws(aws, {1: "lost"}), table)
    await faulty.put("acct", "resp_1", KeptDocument({}, "queued"), SOON, if_state=())
    with pytest.raises(StoreConflict):
        await store.put("acct", "resp_1", KeptDocument({}, "queued"), SOON, if_state=())
