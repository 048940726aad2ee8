"""A long decode under faults: whatever breaks in whichever hop, what the client sees is said once and in order."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.events import BlockDelta, ToolCall
from shared.gateway import recovery
from shared.gateway.settings import Settings
from tests.unit.gateway.test_upstream import Chunks, ask, chunk

# of each call: how many pieces it makes, after which of them a token stands (those of odd number beside it, the others
# in a chunk of its own), and what becomes of it
CALLS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sets(st.integers(0, 3)),
        st.sampled_from(["whole", "whole", "broken", "error", "cut", "refused", "empty"]),
    ),
    max_size=6,
)


def part(name: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}}} if name.startswith("call") else {"text": name}


class Decoder:
    """An upstream that makes these pieces: a token is the number of those that it covers."""

    def __init__(self, pieces: list[str], calls: list[tuple[int, set[int], str]]) -> None:
        self.pieces = pieces
        self.calls = list(calls)
        self.paid = 0  # by the counts of all calls: each of its own pieces

    @asynccontextmanager
    async def stream(self, model, body, credential, **more):
        count, tokens, fate = self.calls.pop(0) if self.calls else (len(self.pieces), set(), "whole")
        at = int(body.get("continuationToken", "0"))
        end = min(len(self.pieces), at + count)
        if fate == "refused":
            raise GatewayError("upstream_overloaded", "Not now.")
        if fate == "empty":
            raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")
        answer: list[Any] = []
        for number in range(at, end):
            beside = {"continuationToken": str(number + 1)} if number - at in tokens and number % 2 else {}
            answer.append(chunk(part(self.pieces[number]), **beside))
            if number - at in tokens and not beside:
                answer.append(chunk({"text": ""}, continuationToken=str(number + 1)))
        if fate == "whole":
            last = end == len(self.pieces)
            ending = {} if last else {"continuationToken": str(end)}
            answer.append(chunk({"text": ""}, finish="STOP" if last else "CONTINUATION", **ending))
        elif fate == "broken":
            answer.append(GatewayError("upstream_interrupted", "Broken off."))
        elif fate == "error":
            answer.append({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
        self.paid += any(isinstance(each, dict) and "candidates" in each for each in answer)
        yield Chunks(answer)


@given(st.lists(st.sampled_from(["text", "call"]), min_size=1, max_size=8), CALLS)
def test_everything_is_said_once_and_in_order_and_every_call_is_paid(
    kinds: list[str], calls: list[tuple[int, set[int], str]]
) -> None:
    pieces = [f"{kind}{number};" for number, kind in enumerate(kinds)]
    decoder = Decoder(pieces, calls)
    settings = Settings(commit_after_s=0.05, breaker_failures=0)
    with mock.patch.object(recovery, "_BACKOFF_S", 0.0):
        events, error, outcome = asyncio.run(ask(decoder, slots=("a", "b"), settings=settings))
    said = [
        one.text if isinstance(one, BlockDelta) else one.name for one in events if type(one) in (BlockDelta, ToolCall)
    ]
    assert said == pieces[: len(said)]
    if error is None and outcome.finish_reason == "STOP":
        assert said == pieces
    assert (outcome.usage.prompt_tokens if outcome.usage else 0) == 10 * decoder.paid
