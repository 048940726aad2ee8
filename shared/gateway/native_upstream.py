"""The upstream for native clients: the same credentials, retries and hops, and replies as the bytes they came in."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from shared.dialects.gemini_native.elements import Elements
from shared.dialects.gemini_native.query import Options
from shared.dialects.gemini_native.reading import parsed
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_attempt import Attempt
from shared.gateway.native_call import NativeCall
from shared.gateway.recovery import AskAgain, Progress
from shared.gateway.telemetry import log
from shared.gateway.upstream import Upstream
from shared.gemini.catalog import ResolvedModel
from shared.gemini.client import RelayCall, RelayReply
from shared.json_codec import encode
from shared.sse import MAX_EVENT_BYTES
from shared.stores.protocols import Credential


class NativeUpstream(Upstream):
    """Stands beside the upstream of the other dialects, on the same client and the same credentials."""

    @classmethod
    def beside(cls, upstream: Upstream) -> "NativeUpstream":
        made = cls(upstream.client, upstream.pool, upstream.settings)
        made.recovery = upstream.recovery  # what is gone is gone for all
        return made

    async def relay(
        self, call: NativeCall, model: ResolvedModel, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Elements]:
        """The objects of one answer, those together that came together: one for a plain call, a stream's chunks else.
        Raises GatewayError."""
        progress = self.recovery.begin(call.request, model, exchange)
        usages: list[Mapping[str, Any]] = []
        while True:
            call.notes[:] = _notes(progress, model)
            progress.attempts += 1
            slot = None
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, call.credential_id)
                with Attempt(call, progress, slot, meter, exchange, usages) as attempt:
                    while attempt.hop.wanted:
                        try:
                            async with self._asked(attempt, slot, exchange) as reply:
                                attempt.begin_hop(reply)
                                while attempt.reading:
                                    for shown in attempt.feed(await anext(reply.pieces, b"")):
                                        yield shown
                            attempt.hop.wanted = call.join and await self.goes_on(attempt.hop)
                        except GatewayError as error:
                            if not (call.join and await self.resume(attempt.hop, error)):
                                raise
                        if shown := attempt.end_hop():
                            yield shown
                    if shown := attempt.close():
                        yield shown
                return
            except GatewayError as error:
                if progress.shown or not await self.recovery.recover(error, progress, slot, model, exchange):
                    raise
            except AskAgain:
                log("empty_answer_retried", request_id=exchange.request_id, model=progress.model_id)

    def _asked(self, attempt: Attempt, slot: Credential, exchange: Exchange) -> AbstractAsyncContextManager[RelayReply]:
        relay, thinking = attempt.next_call()
        return self.client.relay(relay, slot.key, deadline_s=exchange.remaining_s, thinking=thinking)

    async def plain(
        self,
        method: str,
        body: Callable[[str], Mapping[str, Any]],
        model: ResolvedModel,
        exchange: Exchange,
        *,
        meter: Meter | None = None,
        number: int | None = None,
        query: tuple[tuple[str, str], ...] = (),
        credential_id: str | None = None,
    ) -> bytes:
        """A method with one small reply, retried like an answer; `body` makes the request for an upstream id, `number`
        is the call's among those that `meter` pays."""
        progress = self.recovery.begin({}, model, exchange)
        while True:
            progress.attempts += 1
            slot = None
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, credential_id)
                if meter is not None:
                    meter.outcome.attempts += 1
                    meter.outcome.use(slot, number)
                call = RelayCall(f"models/{progress.model_id}:{method}", encode(body(progress.model_id)), query=query)
                async with self.client.relay(call, slot.key, deadline_s=exchange.remaining_s) as reply:
                    answer = await whole_body(reply)
            except GatewayError as error:
                if not await self.recovery.recover(error, progress, slot, model, exchange):
                    raise
                continue
            exchange.mark_first_byte()
            if meter is not None:
                meter.outcome.model_version = progress.model_id  # these replies name none
            return answer

    async def fetch(
        self,
        call: RelayCall,
        model_id: str,
        exchange: Exchange,
        credential_id: str | None = None,
        meter: Meter | None = None,
    ) -> tuple[bytes, RelayReply, str]:
        """A plain call that is asked once: (body, reply, id of the credential used). Refused credentials rest."""
        slot = await self.slot(model_id, set(), credential_id)
        if meter is not None:
            meter.outcome.attempts += 1
            meter.outcome.use(slot)
        try:
            async with self.client.relay(call, slot.key, deadline_s=exchange.remaining_s) as reply:
                return await whole_body(reply), reply, slot.id
        except GatewayError as error:
            self.pool.rest(slot, "", error)  # what a project may store for a model is no quota of its answers
            raise


async def whole_body(reply: RelayReply) -> bytes:
    gathered = bytearray()
    async for piece in reply.pieces:
        gathered += piece
        if len(gathered) > MAX_EVENT_BYTES:
            raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
    return bytes(gathered)


def passed(raw: bytes, options: Options) -> bytes:
    """A plain reply as it came, or the part of it that the client wants to see."""
    return raw if options.mask is None else written(parsed(raw), options)


def _notes(progress: Progress, model: ResolvedModel) -> list[str]:
    """Items for `x-gateway-warnings`: another model than the one sent first, and what was repaired."""
    notes = [f"model:{progress.model_id}"] if progress.model_id != model.id else []
    return notes + [f"repaired:{reason}" for reason in sorted(progress.repaired)]
