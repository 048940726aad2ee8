"""The upstream for native clients: the same credentials, retries and hops, and replies as the bytes they came in."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct, field

from shared.dialects.gemini_native.elements import Elements
from shared.dialects.gemini_native.framing import ArrayObjects, EventObjects, Splitter, WholeObject
from shared.dialects.gemini_native.query import Options
from shared.dialects.gemini_native.reading import parsed
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.events import Finish
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_attempt import Attempt
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

    def attempt(self, exchange: Exchange, earlier: Sequence[Mapping[str, Any]]) -> Attempt:
        echo = EchoCut(self.echo_prefix, whole=not self.stream)
        return Attempt(exchange, echo, earlier, stream=self.stream, joins=self.join)

    def splitter(self) -> Splitter:
        if not self.stream:
            return WholeObject()
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
        spent: list[Mapping[str, Any]] = []
        while True:
            call.notes[:] = _notes(progress, model)
            progress.attempts += 1
            slot, attempt = None, call.attempt(exchange, spent)
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, call.credential_id)
                meter.outcome.attempts += 1
                meter.outcome.use(slot)
                async with aclosing(self._relayed(call, progress, attempt, slot, exchange, meter)) as bursts:
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
            spent = attempt.spent

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
        self, call: NativeCall, progress: Progress, attempt: Attempt, slot: Credential, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Elements]:
        """What may be shown of one attempt, its hops joined."""
        tap, hop, number = attempt.tap, attempt.hop, meter.outcome.attempts
        thinking = progress.thinking
        try:
            while hop.wanted:
                relay = call.relay(progress.model_id, hop.request(progress.request))
                splitter = call.splitter()
                attempt.begin_hop()
                try:
                    remaining_s = exchange.remaining_s
                    async with self.client.relay(relay, slot.key, deadline_s=remaining_s, thinking=thinking) as reply:
                        tier = reply.headers.get("x-gemini-service-tier", "").lower()
                        meter.outcome.service_tier = tier or meter.outcome.service_tier
                        more = True
                        while more:
                            piece = await anext(reply.pieces, b"")
                            for shown in attempt.feed(splitter, piece):
                                yield shown
                            more = piece != b""
                    hop.follow(tap, may_go_on=call.join and self.may_hop(hop, exchange))
                except GatewayError as error:
                    fresh = attempt.fresh
                    if not call.join or not await self.resume(hop, tap, error, fresh=fresh, exchange=exchange):
                        raise
                if shown := attempt.end_hop():
                    yield shown
        finally:  # also where the client has left
            if tap.started:
                note(meter, tap, number)
        if shown := attempt.whole():
            yield shown


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
    finish, reason = attempt.end() or (None, "")
    meter.outcome.finish_reason = reason
    if finish is not None and not attempt.visible:
        _judge(finish, reason, progress)
    return attempt.rest(void=finish == "fault")


def _judge(finish: Finish, reason: str, progress: Progress) -> None:
    """An answer that showed nothing: once more, where another try may say more."""
    if finish == "account":
        raise GatewayError("upstream_auth", "The upstream has disabled this project.", reason=reason.lower())
    if finish in ("stop", "no_output", "fault") and not progress.refilled:
        progress.refill(reason)
        raise AskAgain


def _notes(progress: Progress, model: ResolvedModel) -> list[str]:
    """Items for `x-gateway-warnings`: another model than the one sent first, and what was repaired."""
    notes = [f"model:{progress.model_id}"] if progress.model_id != model.id else []
    return notes + [f"repaired:{reason}" for reason in sorted(progress.repaired)]
