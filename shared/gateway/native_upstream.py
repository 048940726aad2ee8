"""The upstream for native clients: the same credentials, retries and hops, and replies as the bytes they came in."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from msgspec import Struct, field

from shared.dialects.gemini_native.elements import Element, Elements
from shared.dialects.gemini_native.framing import ArrayObjects, EventObjects, Splitter
from shared.dialects.gemini_native.query import Options
from shared.dialects.gemini_native.reading import parsed, read
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.events import End
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_attempt import Attempt, Join
from shared.gateway.native_echo import EchoCut
from shared.gateway.recovery import AskAgain, Progress
from shared.gateway.request_media import RequestMedia
from shared.gateway.telemetry import log
from shared.gateway.upstream import Upstream, note
from shared.gemini.catalog import ResolvedModel
from shared.gemini.client import RelayCall, RelayReply
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import encode
from shared.sse import MAX_EVENT_BYTES
from shared.stores.protocols import Credential


class NativeCall(Struct):
    """One generateContent on its way. `join` hides the hops of a long decode; `credential_id` names the credential
    whose stored objects the request uses; `echo_prefix` is cut where the answer begins with it."""

    request: GenerateContentRequest
    stream: bool
    sse: bool
    query: tuple[tuple[str, str], ...] = ()
    join: bool = True
    credential_id: str | None = None
    echo_prefix: str = ""
    media: RequestMedia | None = None  # what the gateway has to make ready first
    notes: list[str] = field(default_factory=list)  # filled in: what was changed after a refusal

    def relay(self, model_id: str, request: GenerateContentRequest) -> RelayCall:
        method = "streamGenerateContent" if self.stream else "generateContent"
        query = (*self.query, ("alt", "sse")) if self.stream and self.sse else self.query
        return RelayCall(f"models/{model_id}:{method}", encode(request), query=query, patient=not self.stream)

    def attempt(self, slot: Credential, join: Join, number: int) -> Attempt:
        echo = EchoCut(self.echo_prefix, whole=not self.stream)
        return Attempt(slot, join, number, echo, stream=self.stream, joins=self.join)

    def splitter(self) -> Splitter:
        return EventObjects() if self.sse else ArrayObjects()


class NativeUpstream(Upstream):
    """Stands beside the upstream of the other dialects, on the same client and the same credentials."""

    @classmethod
    def beside(cls, upstream: Upstream) -> "NativeUpstream":
        return cls(upstream.client, upstream.pool, upstream.settings)

    async def relay(
        self, call: NativeCall, model: ResolvedModel, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Elements]:
        """The objects of one answer, those together that came together: one for a plain call, a stream's chunks else.
        Raises GatewayError."""
        progress = self.recovery.begin(call.request, model, exchange)
        call.notes[:] = _notes(progress, model)
        spent: list[Mapping[str, Any]] = []
        while True:
            progress.attempts += 1
            slot, join = None, Join(spent)
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, call.credential_id)
                meter.outcome.attempts += 1
                meter.outcome.use(slot)
                attempt = call.attempt(slot, join, meter.outcome.attempts)
                async with aclosing(self._relayed(call, progress, attempt, exchange, meter)) as bursts:
                    async for burst in bursts:
                        progress.shown = True
                        yield burst
                if last := _last(attempt, progress, meter):
                    yield last
                return
            except GatewayError as error:
                if progress.shown or not await self.recovery.recover(error, progress, slot, model, exchange):
                    raise
            except AskAgain:
                log("empty_answer_retried", request_id=exchange.request_id, model=progress.model_id)
            spent = join.spent  # billed, so the answer's usage tells it
            call.notes[:] = _notes(progress, model)

    async def plain(
        self,
        method: str,
        body: Callable[[str], Mapping[str, Any]],
        model: ResolvedModel,
        exchange: Exchange,
        *,
        meter: Meter | None = None,
        query: tuple[tuple[str, str], ...] = (),
        credential_id: str | None = None,
    ) -> bytes:
        """A method with one small reply, retried like an answer; `body` makes the request for an upstream id."""
        progress = self.recovery.begin({}, model, exchange)
        while True:
            progress.attempts += 1
            slot = None
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, credential_id)
                if meter is not None:
                    meter.outcome.attempts += 1
                    meter.outcome.use(slot)
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
        self, call: RelayCall, model_id: str, exchange: Exchange, credential_id: str | None = None
    ) -> tuple[bytes, RelayReply, str]:
        """A plain call outside of metering: (body, reply, id of the credential used). Refused credentials rest."""
        slot = await self.slot(model_id, set(), credential_id)
        try:
            async with self.client.relay(call, slot.key, deadline_s=exchange.remaining_s) as reply:
                return await whole_body(reply), reply, slot.id
        except GatewayError as error:
            self.pool.rest(slot, model_id, error)
            raise

    async def _relayed(
        self, call: NativeCall, progress: Progress, attempt: Attempt, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Elements]:
        """The objects of one attempt, its hops joined."""
        reader, hop = attempt.reader, attempt.hop
        try:
            while hop.wanted:
                relay = call.relay(progress.model_id, hop.request(progress.request))
                fresh = hop.number > 0
                try:
                    async with aclosing(self._objects(call, relay, attempt.slot, progress, exchange, meter)) as bursts:
                        async for burst in bursts:
                            exchange.mark_first_byte()
                            if fresh:
                                attempt.next_hop()
                                fresh = False
                            shown, failure = attempt.feed(burst)
                            if shown:
                                yield shown
                            if failure is not None:
                                raise failure
                    hop.follow(reader, may_go_on=call.join and self.may_hop(hop, exchange))
                except GatewayError as error:
                    if not call.join or not await self.resume(hop, reader, error, fresh=fresh, exchange=exchange):
                        raise
                if shown := attempt.end_hop():
                    yield shown
        finally:  # also where the client has left
            if reader.started:
                note(meter, reader, attempt.number)
        if shown := attempt.whole():
            yield shown

    async def _objects(
        self,
        call: NativeCall,
        relay: RelayCall,
        slot: Credential,
        progress: Progress,
        exchange: Exchange,
        meter: Meter,
    ) -> AsyncGenerator[Elements]:
        """The objects of one upstream call, each with its bytes; those that came together as one burst."""
        remaining_s, thinking = exchange.remaining_s, progress.thinking
        async with self.client.relay(relay, slot.key, deadline_s=remaining_s, thinking=thinking) as reply:
            tier = reply.headers.get("x-gemini-service-tier", "").lower()
            meter.outcome.service_tier = tier or meter.outcome.service_tier
            if not call.stream:
                raw = await whole_body(reply)
                yield [Element(parsed(raw), raw)]
                return
            splitter, seen = call.splitter(), False
            async for piece in reply.pieces:
                raws = splitter.feed(piece)
                # the very first object leaves while those that came with it are read
                for together in [raws] if seen else [raws[:1], raws[1:]]:
                    burst, failure = read(together)
                    if burst:
                        seen = True
                        yield burst
                    if failure is not None:
                        raise failure
            burst, failure = read(splitter.close())
            if burst:
                yield burst
            if failure is not None:
                raise failure
            if not (seen or burst):
                raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")


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


def _last(attempt: Attempt, progress: Progress, meter: Meter) -> Elements:
    """What was held back to the end of an answer. One that says nothing, or that the model failed at, is asked for
    once more; the second time it is the answer, with the upstream's own word for it."""
    end = attempt.end()
    meter.outcome.finish_reason = end.reason if end else ""
    if end is not None and not attempt.visible:
        _judge(end, progress)
    return attempt.rest(void=end is not None and end.finish == "fault")


def _judge(end: End, progress: Progress) -> None:
    """An answer that showed nothing: once more, where another try may say more."""
    if end.finish == "account":
        raise GatewayError("upstream_auth", "The upstream has disabled this project.", reason=end.reason.lower())
    if end.finish in ("stop", "no_output", "fault") and not progress.refilled:
        progress.refill(end.reason)
        raise AskAgain


def _notes(progress: Progress, model: ResolvedModel) -> list[str]:
    """Items for `x-gateway-warnings`: another model than the one sent first, and what was repaired."""
    notes = [f"model:{progress.model_id}"] if progress.model_id != model.id else []
    return notes + [f"repaired:{reason}" for reason in sorted(progress.repaired)]
