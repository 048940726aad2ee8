"""One candidate of an answer on its way from the upstream to the renderer."""

from collections.abc import AsyncGenerator

from shared.events import Event
from shared.gateway.metering import Outcome
from shared.gateway.shaping import Shaper
from shared.gateway.signature_keeper import SignatureKeeper, Signed


class Choice:
    """(number, events) as the client should see them, those together that came together; their signatures are kept
    before they leave. `aclose` after the last, or early."""

    def __init__(
        self,
        number: int,
        answer: AsyncGenerator[list[Event]],
        shaper: Shaper,
        keeper: SignatureKeeper,
        outcome: Outcome,
    ) -> None:
        self._number = number
        self._answer = answer
        self._shaper = shaper
        self._signed = Signed(keeper.family)
        self._keeper = keeper
        self._outcome = outcome

    def __aiter__(self) -> "Choice":
        return self

    async def __anext__(self) -> tuple[int, list[Event]]:
        if self._shaper.stopped:  # leaving closes the upstream: nobody pays for what nobody reads
            await self._answer.aclose()
            self._outcome.finish_reason = "STOP"
            raise StopAsyncIteration
        async for events in self._answer:
            shaped = self._shaper.feed_all(events)
            if kept := self._signed.watch(shaped):
                await self._keeper.keep(kept)
            if shaped:
                return self._number, shaped
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._answer.aclose()
