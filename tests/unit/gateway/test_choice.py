"""One candidate on its way: shaped, its signatures kept before it leaves, the upstream closed where it is left."""

import json
from datetime import date

import pytest

from shared.dialects.contract import Translation
from shared.events import BlockDelta, BlockEnd, BlockStart, End, LooseSignature, ServerTool, Start, ToolCall, Usage
from shared.gateway.choice import Choice
from shared.gateway.metering import Outcome
from shared.gateway.shaping import Shaper
from shared.gateway.signature_keeper import SignatureKeeper
from shared.gemini.catalog import resolve
from shared.gemini.signatures import FoundSignature, call_key, content_key, server_key, text_key
from shared.stores.protocols import StoreUnavailable

MODEL = resolve("gemini-3.6-flash", date(2026, 11, 21))
FAMILY = MODEL.capabilities.family
END = End("stop", "STOP", Usage())
HELLO = [BlockStart(1, "text"), BlockDelta(1, "hel"), BlockDelta(1, "lo")]
CALL = ToolCall(2, "look", {"at": 1.0}, "native", "sig")


class Store:
    def __init__(self, *, down=False):
        self.down = down
        self.writes = []

    async def put(self, acct, items, expires_at):
        if self.down:
            raise StoreUnavailable("down")
        self.writes.append(items)


class Upstream:
    def __init__(self, *bursts):
        self.bursts = bursts
        self.said = 0
        self.closed = False

    async def answer(self):
        try:
            for burst in self.bursts:
                self.said += 1
                yield burst
        finally:
            self.closed = True


def choice(upstream, store, **options):
    shaper = Shaper(Translation(request={}, **options), lambda: "call_1")
    outcome = Outcome()
    keeper = SignatureKeeper(store, "acct", MODEL, 1000)
    return Choice(3, upstream.answer(), shaper, keeper, outcome), outcome


async def test_bursts_come_as_they_are_with_the_number_of_the_choice():
    upstream, store = Upstream([Start("r", "m"), *HELLO], [BlockEnd(1), END]), Store()
    made, outcome = choice(upstream, store)
    assert [item async for item in made] == [(3, [Start("r", "m"), *HELLO]), (3, [BlockEnd(1), END])]
    assert (store.writes, outcome.finish_reason, upstream.closed) == ([], "", True)


async def test_at_its_stop_sequence_an_answer_ends_and_the_upstream_is_left():
    upstream = Upstream([BlockStart(0, "text"), BlockDelta(0, "one STOP two")], [BlockDelta(0, "three")], [END])
    made, outcome = choice(upstream, Store(), stop=("STOP",))
    events = [event async for _, burst in made for event in burst]
    assert [event.text for event in events if isinstance(event, BlockDelta)] == ["one "]
    assert events[-1].stop_sequence == "STOP"
    assert (upstream.said, upstream.closed, outcome.finish_reason) == (1, True, "STOP")
    with pytest.raises(StopAsyncIteration):
        await anext(made)


async def test_leaving_early_closes_the_upstream():
    upstream = Upstream(HELLO, [END])
    made, outcome = choice(upstream, Store())
    await anext(made)
    await made.aclose()
    assert (upstream.said, upstream.closed, outcome.finish_reason) == (1, True, "")


async def test_calls_are_kept_before_they_leave_by_id_and_by_content():
    store = Store()
    made, _ = choice(Upstream([CALL, ToolCall(3, "f", {}, "n2"), ToolCall(4, "g", {})], [END]), store)
    await anext(made)
    found = FoundSignature("sig", "native", "look", FAMILY)
    (written,) = store.writes
    assert written[content_key("", "look", {"at": 1})] == found
    assert written[call_key("call_1")] == FoundSignature("", "n2", "f", FAMILY)  # two with one id: the last stays


@pytest.mark.parametrize(
    "ending", [[BlockEnd(1, "sig"), END], [BlockEnd(1), LooseSignature("sig"), END], [BlockEnd(1, "sig"), CALL, END]]
)
async def test_a_signed_text_is_kept_with_its_end_in_one_write(ending):
    store = Store()
    made, _ = choice(
        Upstream([BlockStart(0, "reasoning"), BlockDelta(0, "hm"), BlockEnd(0, "own"), *HELLO], ending), store
    )
    async for _ in made:
        pass
    (written,) = store.writes
    assert written[text_key("", "hello")] == FoundSignature("sig", family=FAMILY)
    assert len(written) == (3 if CALL in ending else 1)


async def test_a_store_that_is_down_costs_no_answer():
    made, _ = choice(Upstream([CALL, END]), Store(down=True))
    assert len([burst async for burst in made]) == 1


async def test_what_the_upstreams_own_tools_did_is_kept_with_the_call_that_follows():
    parts = [{"toolCall": {"id": "s1"}, "thoughtSignature": "c2ln"}, {"toolResponse": {"id": "s1"}}]
    calls = [ToolCall(3, "f", {}, "n1", "c2ln"), ToolCall(4, "g", {}, "n2", None)]
    upstream = Upstream([ServerTool(index, part) for index, part in enumerate(parts, 1)], calls, [END])
    store, ids = Store(), iter(("call_1", "call_2"))
    shaper = Shaper(Translation(request={}), lambda: next(ids))
    async for _ in Choice(3, upstream.answer(), shaper, SignatureKeeper(store, "acct", MODEL, 1000), Outcome()):
        pass
    kept = {key: found for write in store.writes for key, found in write.items()}
    assert json.loads(kept[server_key("call_1")].signature) == parts
    assert server_key("call_2") not in kept
    assert call_key("call_2") in kept
