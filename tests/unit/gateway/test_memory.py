"""What is loaded before a request and kept after it."""

import asyncio

import pytest

from shared.dialects import openai_responses as dialect
from shared.dialects.contract import ReplyContext
from shared.errors import GatewayError
from shared.gateway.memory import MAX_CHAIN, Memory, append
from shared.gateway.sealing import Sealer
from shared.stores.protocols import KeptDocument
from tests.unit.gateway.kept_documents import MemoryStore

IDS = [f"01M80B627WNZXBRKZW9FD603{number:02d}" for number in range(10)]


def memory(store, number=0, acct="acct"):
    return Memory(store, acct, Sealer(b"pepper", acct), dialect, IDS[number], 1_795_000_000)


async def answered(store, number, status="completed", acct="acct", **body):
    """One request and its answer, kept; the answer's id."""
    one = memory(store, number, acct)
    body = {"model": "m", "input": f"question {number}", **body}
    await one.load(body)
    response = dict(dialect.queued(body, ReplyContext(IDS[number], 1, "m")))
    said = {"type": "output_text", "text": f"answer {number}"}
    output = [{"id": f"msg_{IDS[number].lower()}00", "type": "message", "role": "assistant", "content": [said]}]
    await one.keep({**response, "status": status, "output": output})
    return response["id"]


def words(items):
    return [item["content"][0]["text"] for item in items]


async def test_a_chain_comes_back_in_order():
    store = MemoryStore()
    first = await answered(store, 0)
    second = await answered(store, 1, previous_response_id=first)
    third = memory(store, 2)
    await third.load({"input": "x", "previous_response_id": second})
    assert words(third.history) == ["question 0", "answer 0", "question 1", "answer 1"]


@pytest.mark.parametrize("status", ["queued", "in_progress", "failed", "cancelled"])
async def test_nothing_builds_upon_what_has_no_answer(status):
    store = MemoryStore()
    previous = await answered(store, 0, status=status)
    with pytest.raises(GatewayError) as caught:
        await memory(store, 1).load({"input": "x", "previous_response_id": previous})
    assert caught.value.param == "previous_response_id"


async def test_a_gap_in_the_chain_is_said_and_not_skipped():
    store = MemoryStore()
    first = await answered(store, 0)
    second = await answered(store, 1, previous_response_id=first)
    await store.delete("acct", first)
    with pytest.raises(GatewayError) as caught:
        await memory(store, 2).load({"input": "x", "previous_response_id": second})
    assert caught.value.reason == "previous_response_not_found"


async def test_a_chain_has_an_end():
    store = MemoryStore()
    first = await answered(store, 0)
    document = store.documents["acct", first]
    long = KeptDocument({**document.body, "chain": ["resp_x"] * MAX_CHAIN}, document.state)
    store.documents["acct", first] = long
    with pytest.raises(GatewayError) as caught:
        await memory(store, 1).load({"input": "x", "previous_response_id": first})
    assert str(MAX_CHAIN) in caught.value.message


async def test_another_account_sees_nothing():
    store = MemoryStore()
    first = await answered(store, 0)
    with pytest.raises(GatewayError):
        await memory(store, 1, "other").load({"input": "x", "previous_response_id": first})


async def test_references_are_found_in_the_response_they_came_with():
    store = MemoryStore()
    first = await answered(store, 0)
    item_id = store.documents["acct", first].body["response"]["output"][0]["id"]
    asked = [{"type": "item_reference", "id": item_id}, {"type": "item_reference", "id": "msg_none"}]
    one = memory(store, 1)
    await one.load({"input": asked})
    assert words(one.references.values()) == ["answer 0"]


async def test_a_store_that_fails_costs_the_memory_and_not_the_answer():
    store = MemoryStore()
    one = memory(store)
    await one.load({"input": "x", "model": "m"})
    store.down = True
    await one.keep({**dialect.queued({"model": "m"}, ReplyContext(IDS[0], 1, "m")), "status": "completed"})
    with pytest.raises(GatewayError) as caught:
        await memory(store, 1).load({"input": "x", "previous_response_id": "resp_1"})
    assert (caught.value.kind, caught.value.retry_after) == ("unavailable", 2)
    store.down = False
    assert store.documents == {}


async def test_what_is_not_to_be_kept_is_not():
    store = MemoryStore()
    one = memory(store)
    await one.load({"input": "x", "store": False})
    await one.keep({"id": one.response_id, "status": "completed", "output": []})
    assert store.documents == {}


class SlowStore(MemoryStore):
    """Whoever reads sees what others are about to change."""

    async def get(self, acct, ids):
        found = await super().get(acct, ids)
        await asyncio.sleep(0.002)
        return found


async def test_of_many_who_write_to_a_conversation_at_once_nobody_is_lost():
    store = SlowStore()
    store.documents["acct", "conv_1"] = KeptDocument({"entries": [], "expires_at": 1}, "0")
    await asyncio.gather(*(append(store, "acct", "conv_1", {"response": f"resp_{number}"}) for number in range(16)))
    entries = store.documents["acct", "conv_1"].body["entries"]
    assert sorted(entry["response"] for entry in entries) == sorted(f"resp_{number}" for number in range(16))
