"""The upstream for native clients: the same credentials, retries and hops, and replies as the bytes they came in."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from shared.dialects.gemini_native import joined
from shared.dialects.gemini_native.framing import ArrayObjects, EventObjects, Splitter
from shared.errors import GatewayError
from shared.events import End
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.upstream import Hop, Progress, Upstream, note
from shared.gemini.catalog import ResolvedModel
from shared.gemini.client import RelayCall, RelayReply
from shared.gemini.reader import ReplyReader
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import encode
from shared.sse import MAX_EVENT_BYTES
from shared.stores.protocols import Credential


@dataclass(frozen=True, slots=True)
class Element:
    """One JSON object of a reply. `raw` are its bytes as they came, None where the gateway changed `chunk`."""

    chunk: Mapping[str, Any]
    raw: bytes | None


@dataclass(slots=True)
class NativeCall:
    """One generateContent on its way. `join` hides the hops of a long decode; `credential_id` names the credential
    whose stored objects the request uses."""

    request: GenerateContentRequest
    stream: bool
    sse: bool
    query: tuple[tuple[str, str], ...] = ()
    join: bool = True
    credential_id: str | None = None
    notes: list[str] = field(default_factory=list)  # filled in: what was changed after a refusal

    def relay(self, model_id: str, request: GenerateContentRequest) -> RelayCall:
        method = "streamGenerateContent" if self.stream else "generateContent"
        query = (*self.query, ("alt", "sse")) if self.stream and self.sse else self.query
        return RelayCall(f"models/{model_id}:{method}", encode(request), query=query, patient=not self.stream)

    def splitter(self) -> Splitter:
        return EventObjects() if self.sse else ArrayObjects()


@dataclass(slots=True)
class _Join:
    """What earlier hops leave behind for the chunks of later ones."""

    response_id: str = ""
    usages: list[Mapping[str, Any]] = field(default_factory=list)
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


class NativeUpstream(Upstream):
    """Stands beside the upstream of the other dialects, on the same client and the same credentials."""

    @classmethod
    def beside(cls, upstream: Upstream) -> "NativeUpstream":
        return cls(upstream.client, upstream.pool, upstream.settings)

    async def relay(
        self, call: NativeCall, model: ResolvedModel, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Element]:
        """The objects of one answer: one for a plain call, a stream's chunks else. Raises GatewayError."""
        thinking = model.capabilities.thinking != "none"
        progress = Progress(self.gone.get(model.id, model.id), call.request, thinking)
        call.notes[:] = _notes(progress, model)
        while True:
            progress.attempts += 1
            slot = await self.slot(progress.model_id, progress.bad_slots, call.credential_id)
            try:
                async with aclosing(self._relayed(call, progress, slot, exchange, meter)) as elements:
                    async for element in elements:
                        progress.shown = True
                        yield element
                return
            except GatewayError as error:
                if progress.shown or not await self.recover(error, progress, slot, model, exchange):
                    raise
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
        progress = Progress(self.gone.get(model.id, model.id), {}, thinking=False)
        while True:
            progress.attempts += 1
            slot = await self.slot(progress.model_id, progress.bad_slots, credential_id)
            if meter is not None:
                meter.outcome.attempts += 1
                meter.outcome.credential_id = slot.id
            call = RelayCall(f"models/{progress.model_id}:{method}", encode(body(progress.model_id)), query=query)
            try:
                async with self.client.relay(call, slot.key, deadline_s=exchange.remaining_s) as reply:
                    answer = await whole_body(reply)
            except GatewayError as error:
                if not await self.recover(error, progress, slot, model, exchange):
                    raise
                continue
            exchange.mark_first_byte()
            if meter is not None:
                meter.outcome.model_version = progress.model_id  # these replies name none
            return answer

    async def slot(self, model_id: str, bad: set[str], wanted: str | None) -> Credential:
        """A healthy credential, or the one that owns what the request refers to."""
        passed = set(bad)
        while True:
            slot = await self.pool.choose(model_id, passed)
            if wanted is None or slot.id == wanted:
                return slot
            passed.add(slot.id)

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
        self, call: NativeCall, progress: Progress, slot: Credential, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Element]:
        outcome = meter.outcome
        outcome.attempts += 1
        outcome.credential_id = slot.id
        number, reader, hop, join = outcome.attempts, ReplyReader(), Hop(), _Join()
        whole: list[Element] = []
        while hop.wanted:
            relay = call.relay(progress.model_id, hop.request(progress.request))
            fresh = hop.number > 0
            try:
                async with aclosing(self._objects(call, relay, slot, progress, exchange, meter)) as elements:
                    async for element in elements:
                        exchange.mark_first_byte()
                        if fresh:
                            reader.next_hop()
                            join.next_hop()
                            fresh = False
                        reader.feed(element.chunk)  # an error object raises
                        note(meter, reader, number)
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
        meter.outcome.finish_reason = _finish(reader, complete=not call.stream)
        if whole:
            yield whole[0] if len(whole) == 1 else Element(joined.whole([item.chunk for item in whole]), None)

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


def _element(raw: bytes) -> Element:
    return Element(parsed(raw), raw)


def _settled(join: _Join, *, more: bool) -> list[Element]:
    """What was held at the end of a hop: without its ending where another hop follows."""
    held, join.held = join.held, []
    if not more:
        return [join.element(element) for element in held]
    open_ended = [Element(joined.unfinished(element.chunk), None) for element in held]
    return [join.element(element) for element in open_ended if joined.shows_something(element.chunk)]


def _notes(progress: Progress, model: ResolvedModel) -> list[str]:
    """Items for `x-gateway-warnings`: another model than the one sent first, and what was repaired."""
    notes = [f"model:{progress.model_id}"] if progress.model_id != model.id else []
    return notes + [f"repaired:{reason}" for reason in sorted(progress.repaired)]


def _finish(reader: ReplyReader, *, complete: bool) -> str:
    """The upstream's word for the end; a stream without one broke off, a whole body without one is what it is."""
    try:
        end = reader.close()[-1]
    except GatewayError:
        if complete:
            return ""
        raise
    assert isinstance(end, End)
    if end.finish == "account" and complete:
        raise GatewayError("upstream_auth", "The upstream has disabled this project.", reason=end.reason.lower())
    return end.reason
