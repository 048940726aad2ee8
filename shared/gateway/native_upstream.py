"""The upstream for native clients: the same credentials, retries and hops, and replies as the bytes they came in."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from msgspec import Struct, field

from shared.dialects.gemini_native import joined
from shared.dialects.gemini_native.elements import Element, Gate
from shared.dialects.gemini_native.framing import ArrayObjects, EventObjects, Splitter
from shared.dialects.gemini_native.query import Options
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.events import End
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_echo import EchoCut
from shared.gateway.recovery import AskAgain, Progress
from shared.gateway.request_media import RequestMedia
from shared.gateway.telemetry import log
from shared.gateway.upstream import Hop, Upstream, note
from shared.gemini.catalog import ResolvedModel
from shared.gemini.client import RelayCall, RelayReply
from shared.gemini.finish import finish_class
from shared.gemini.reader import ReplyReader
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

    def splitter(self) -> Splitter:
        return EventObjects() if self.sse else ArrayObjects()


class _Join(Struct):
    """What earlier hops, and answers that were asked for again, leave behind for the chunks of later ones."""

    usages: list[Mapping[str, Any]] = field(default_factory=list)
    response_id: str = ""
    last_usage: Mapping[str, Any] = field(default_factory=dict)
    held: list[Element] = field(default_factory=list)

    def watch(self, chunk: Mapping[str, Any]) -> None:
        self.response_id = self.response_id or str(chunk.get("responseId", ""))
        if isinstance(usage := chunk.get("usageMetadata"), Mapping):
            self.last_usage = usage

    def next_hop(self) -> None:
        self.usages.append(self.last_usage)
        self.last_usage = {}

    def element(self, element: Element) -> Element:
        if not self.usages:
            return element
        return Element(joined.later(element.chunk, self.response_id, self.usages), None)

    @property
    def spent(self) -> list[Mapping[str, Any]]:
        """What has been used so far, call by call."""
        return [*self.usages, self.last_usage] if self.last_usage else self.usages


class _Attempt(Struct):
    """One try at an answer, over all its hops."""

    slot: Credential
    join: _Join
    number: int  # among the upstream calls of the request
    reader: ReplyReader = field(default_factory=ReplyReader)
    hop: Hop = field(default_factory=Hop)

    @property
    def settled(self) -> bool:
        """Whether the upstream has named a reason for the end that is no fault."""
        reason = self.reader.finish
        return reason not in ("", "FINISH_REASON_UNSPECIFIED") and finish_class(reason) not in ("fault", "account")


class NativeUpstream(Upstream):
    """Stands beside the upstream of the other dialects, on the same client and the same credentials."""

    @classmethod
    def beside(cls, upstream: Upstream) -> "NativeUpstream":
        return cls(upstream.client, upstream.pool, upstream.settings)

    async def relay(
        self, call: NativeCall, model: ResolvedModel, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Element]:
        """The objects of one answer: one for a plain call, a stream's chunks else. Raises GatewayError."""
        progress = self.recovery.begin(call.request, model, exchange)
        call.notes[:] = _notes(progress, model)
        spent: list[Mapping[str, Any]] = []
        while True:
            progress.attempts += 1
            slot, join = None, _Join(spent)
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, call.credential_id)
                meter.outcome.attempts += 1
                meter.outcome.use(slot)
                attempt = _Attempt(slot, join, meter.outcome.attempts)
                async with aclosing(self._judged(call, progress, attempt, exchange, meter)) as elements:
                    async for element in elements:
                        progress.shown = True
                        yield element
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

    async def _judged(
        self, call: NativeCall, progress: Progress, attempt: _Attempt, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Element]:
        """The objects of an answer worth showing. One that says nothing, or that the model failed at, is asked for once
        more; the second time it is the answer, with the upstream's own word for it."""
        gate, echo = Gate(), EchoCut(call.echo_prefix, whole=not call.stream)
        async with aclosing(self._relayed(call, progress, attempt, exchange, meter)) as elements:
            async for element in elements:
                for passed in gate.feed(element, settled=attempt.settled):
                    if shown := echo.feed(passed):
                        yield shown
        end = _end(attempt.reader, complete=not call.stream)
        meter.outcome.finish_reason = end.reason if end else ""
        if end is not None and not gate.visible:
            _judge(end, progress)
        for passed in gate.close(void=end is not None and end.finish == "fault"):
            if shown := echo.feed(passed):
                yield shown

    async def _relayed(
        self, call: NativeCall, progress: Progress, attempt: _Attempt, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Element]:
        """The objects of one attempt, its hops joined. The reader has read what has been yielded, and no more."""
        reader, hop, join = attempt.reader, attempt.hop, attempt.join
        whole: list[Element] = []
        try:
            while hop.wanted:
                relay = call.relay(progress.model_id, hop.request(progress.request))
                fresh = hop.number > 0
                try:
                    async with aclosing(
                        self._objects(call, relay, attempt.slot, progress, exchange, meter)
                    ) as elements:
                        async for element in elements:
                            exchange.mark_first_byte()
                            if fresh:
                                reader.next_hop()
                                join.next_hop()
                                fresh = False
                            reader.feed(element.chunk)  # an error object raises
                            join.watch(element.chunk)
                            if not call.stream:
                                whole.append(element)
                            elif call.join and (join.held or joined.ends_hop(element.chunk)):
                                join.held.append(element)  # what it becomes is known at the end of the hop
                            else:
                                yield join.element(element)
                    hop.follow(reader, may_go_on=call.join and self.may_hop(hop, exchange))
                except GatewayError as error:
                    if not call.join or not await self.resume(hop, reader, error, fresh=fresh, exchange=exchange):
                        raise
                for element in _settled(join, more=hop.wanted):
                    yield element
        finally:  # also where the client has left
            if reader.started:
                note(meter, reader, attempt.number)
        if whole:
            yield _one(whole, join)

    async def _objects(
        self,
        call: NativeCall,
        relay: RelayCall,
        slot: Credential,
        progress: Progress,
        exchange: Exchange,
        meter: Meter,
    ) -> AsyncGenerator[Element]:
        """The objects of one upstream call, each with its bytes."""
        remaining_s, thinking = exchange.remaining_s, progress.thinking
        async with self.client.relay(relay, slot.key, deadline_s=remaining_s, thinking=thinking) as reply:
            tier = reply.headers.get("x-gemini-service-tier", "").lower()
            meter.outcome.service_tier = tier or meter.outcome.service_tier
            if not call.stream:
                yield _element(await whole_body(reply))
                return
            splitter, seen = call.splitter(), False
            async for piece in reply.pieces:
                for raw in splitter.feed(piece):
                    seen = True
                    yield _element(raw)
            for raw in splitter.close():
                seen = True
                yield _element(raw)
            if not seen:
                raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")


async def whole_body(reply: RelayReply) -> bytes:
    gathered = bytearray()
    async for piece in reply.pieces:
        gathered += piece
        if len(gathered) > MAX_EVENT_BYTES:
            raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
    return bytes(gathered)


def parsed(raw: bytes) -> dict[str, Any]:
    """A reply of the upstream as an object; raises `upstream_invalid_response`."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise GatewayError("upstream_invalid_response", "The upstream's reply is not valid JSON.") from error
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # an error may come wrapped in an array
    if not isinstance(value, dict):
        raise GatewayError("upstream_invalid_response", "The upstream's reply is no JSON object.")
    return value


def passed(raw: bytes, options: Options) -> bytes:
    """A plain reply as it came, or the part of it that the client wants to see."""
    return raw if options.mask is None else written(parsed(raw), options)


def _element(raw: bytes) -> Element:
    return Element(parsed(raw), raw)


def _settled(join: _Join, *, more: bool) -> list[Element]:
    """What was held at the end of a hop: without its ending where another hop follows."""
    held, join.held = join.held, []
    if not more:
        return [join.element(element) for element in held]
    open_ended = [Element(joined.unfinished(element.chunk), None) for element in held]
    return [join.element(element) for element in open_ended if joined.shows_something(element.chunk)]


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


def _one(hops: list[Element], join: _Join) -> Element:
    """Plain replies to all hops as one."""
    if len(hops) == 1:
        return join.element(hops[0])
    before = join.usages[: len(join.usages) - len(hops) + 1]  # of answers that were asked for again
    whole = joined.whole([hop.chunk for hop in hops])
    return Element(joined.later(whole, join.response_id, before) if before else whole, None)


def _end(reader: ReplyReader, *, complete: bool) -> End | None:
    """How the answer ended; a stream without a word for it broke off, a whole body without one is what it is."""
    try:
        end = reader.close()[-1]
    except GatewayError:
        if complete:
            return None
        raise
    assert isinstance(end, End)
    return end
