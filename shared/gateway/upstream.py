"""One answer of the upstream as events: credentials, retries before the first byte, repairs, long-decode hops.

Everything here may be repeated only while the client has seen nothing; from the first visible event on a failure ends
the answer.
"""

import asyncio
import dataclasses
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.errors import GatewayError
from shared.events import End, Event, LooseSignature, Start
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.pool import CredentialPool
from shared.gateway.repairs import REPAIRS, with_sentinels
from shared.gateway.settings import Settings
from shared.gateway.telemetry import log
from shared.gemini.catalog import ResolvedModel, capabilities_of
from shared.gemini.client import GeminiClient, UpstreamStream
from shared.gemini.errors import is_retryable
from shared.gemini.reader import ReplyReader
from shared.gemini.types import GenerateContentRequest
from shared.stores.protocols import Credential

MAX_ATTEMPTS = 3
_BACKOFF_S, _BACKOFF_CAP_S = 0.25, 4.0
_MIN_TIME_S = 2.0
_HOP_TIME_S = 60.0
_COUNT_TIME_S = 20.0
_WHOLE_TIME_S = 300.0  # for an answer that cannot be streamed: minutes of speech
_BROKEN = frozenset({"upstream_interrupted", "upstream_truncated", "upstream_timeout"})
_SLOT_TROUBLE = frozenset({"upstream_auth", "upstream_quota", "upstream_rate_limited"})


@dataclass(slots=True)
class Progress:
    """What one answer has used up; shared by its attempts."""

    model_id: str
    request: GenerateContentRequest
    thinking: bool
    drafts: bool = False
    attempts: int = 0
    shown: bool = False
    refilled: bool = False  # an empty or faulty answer was already asked for again
    repaired: set[str] = field(default_factory=set)
    bad_slots: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Hop:
    """Where a long decode stands: the hop that runs, and the token it started from."""

    number: int = 0
    token: str | None = None
    refusals: int = 0
    wanted: bool = True

    def request(self, first: GenerateContentRequest) -> GenerateContentRequest:
        """The same request again with the token on top: never the partial output."""
        return first if self.token is None else {**first, "continuationToken": self.token}

    def follow(self, reader: ReplyReader, *, may_go_on: bool) -> None:
        """After a whole hop: another one only for a new token, and only if this one brought something."""
        token = reader.continuation_token
        fruitful = reader.hop_output_seen and token != self.token
        self.wanted = may_go_on and reader.finish == "CONTINUATION" and fruitful and token is not None
        if self.wanted:
            self.go_on(token)

    def go_on(self, token: str | None) -> None:
        self.number, self.token, self.refusals = self.number + 1, token, 0


class Upstream:
    """The upstream for the life of a process.

    What has a public name is used by the native dialect's upstream too.
    """

    def __init__(self, client: GeminiClient, pool: CredentialPool, settings: Settings) -> None:
        self.client = client
        self.pool = pool
        self.settings = settings
        self._chance = random.SystemRandom()
        self.gone: dict[str, str] = {}  # ids that answered 404, and what serves them now

    async def answer(
        self,
        request: GenerateContentRequest,
        model: ResolvedModel,
        exchange: Exchange,
        meter: Meter,
        *,
        drafts: bool = False,
    ) -> AsyncGenerator[Event]:
        """Events of one candidate, `End` last; its usage covers discarded attempts too. `drafts` asks for the pictures
        among the thoughts. Raises GatewayError."""
        thinking = model.capabilities.thinking != "none"
        progress = Progress(self.gone.get(model.id, model.id), request, thinking, drafts)
        while True:
            progress.attempts += 1
            slot = await self.pool.choose(progress.model_id, progress.bad_slots)
            try:
                async with aclosing(self._attempt(progress, slot, exchange, meter)) as events:
                    async for event in events:
                        yield event
                return
            except GatewayError as error:
                if progress.shown or not await self.recover(error, progress, slot, model, exchange):
                    raise
            except _AskAgain:
                log("empty_answer_retried", request_id=exchange.request_id, model=progress.model_id)

    async def count(self, request: GenerateContentRequest, model_id: str, exchange: Exchange) -> int:
        """Prompt tokens by the upstream's own count, system instruction and tools included."""
        slot = await self.pool.choose(model_id)
        # the plain form without `generateContentRequest` leaves system and tools out
        body = {"generateContentRequest": {"model": f"models/{model_id}", **request}}
        deadline = min(exchange.remaining_s, _COUNT_TIME_S)
        try:
            answer = await self.client.call("countTokens", model_id, body, slot.key, deadline_s=deadline)
        except GatewayError as error:
            self.pool.rest(slot, model_id, error)
            raise
        total = answer.get("totalTokens")
        if not isinstance(total, int) or total < 0:
            raise GatewayError("upstream_invalid_response", "The upstream's count is unusable.")
        return total

    async def embed(
        self, requests: Sequence[Mapping[str, Any]], model: ResolvedModel, exchange: Exchange, meter: Meter
    ) -> Mapping[str, Any]:
        """One `batchEmbedContents`, retried like an answer; `requests` are EmbedContentRequests without a model."""
        progress = Progress(self.gone.get(model.id, model.id), {}, thinking=False)
        while True:
            progress.attempts += 1
            slot = await self.pool.choose(progress.model_id, progress.bad_slots)
            meter.outcome.attempts += 1
            meter.outcome.credential_id = slot.id
            name = f"models/{progress.model_id}"
            body = {"requests": [{"model": name, **item} for item in requests]}
            try:
                answer = await self.client.call(
                    "batchEmbedContents", progress.model_id, body, slot.key, deadline_s=exchange.remaining_s
                )
            except GatewayError as error:
                if not await self.recover(error, progress, slot, model, exchange):
                    raise
                continue
            exchange.mark_first_byte()
            meter.outcome.model_version = progress.model_id  # the reply names none
            return answer

    @asynccontextmanager
    async def _open(
        self, progress: Progress, request: GenerateContentRequest, slot: Credential, exchange: Exchange
    ) -> AsyncGenerator[UpstreamStream]:
        """The chunks of one call; those of a model that cannot stream are its whole answer as one."""
        model_id, remaining_s = progress.model_id, exchange.remaining_s
        if capabilities_of(model_id).streams:
            stream = self.client.stream(model_id, request, slot.key, deadline_s=remaining_s, thinking=progress.thinking)
            async with stream as chunks:
                yield chunks
        else:
            whole = await self.client.call(
                "generateContent", model_id, request, slot.key, deadline_s=remaining_s, wait_s=_WHOLE_TIME_S
            )
            yield UpstreamStream(whole, _nothing(), "")

    async def _attempt(
        self, progress: Progress, slot: Credential, exchange: Exchange, meter: Meter
    ) -> AsyncGenerator[Event]:
        outcome = meter.outcome
        outcome.attempts += 1
        outcome.credential_id = slot.id
        call = outcome.attempts  # its usage stands beside those of other candidates and of discarded attempts
        reader = ReplyReader(drafts=progress.drafts)
        held: list[Event] = []
        hop = Hop()
        while hop.wanted:
            request = hop.request(progress.request)
            fresh = hop.number > 0  # the reader stays in the finished hop until the next one speaks
            try:
                async with self._open(progress, request, slot, exchange) as chunks:
                    outcome.service_tier = chunks.service_tier or outcome.service_tier
                    async for chunk in chunks:
                        exchange.mark_first_byte()
                        if fresh:
                            reader.next_hop()
                            fresh = False
                        events = reader.feed(chunk)
                        note(meter, reader, call)
                        for event in self._release(events, held, progress):
                            yield event
                hop.follow(reader, may_go_on=self.may_hop(hop, exchange))
            except GatewayError as error:
                if not await self.resume(hop, reader, error, fresh=fresh, exchange=exchange):
                    raise
        events = self._release(reader.close(), held, progress)
        note(meter, reader, call)
        self._judge(events[-1], progress, meter)
        for event in events:
            yield event

    def may_hop(self, hop: Hop, exchange: Exchange) -> bool:
        return hop.number < self.settings.max_hops and exchange.remaining_s >= _HOP_TIME_S

    async def resume(
        self, hop: Hop, reader: ReplyReader, error: GatewayError, *, fresh: bool, exchange: Exchange
    ) -> bool:
        """A long decode that broke: from its last checkpoint, if that covers all that was sent; a hop that was refused
        is tried again, and then the answer ends where it is. False where the failure is final."""
        if fresh:
            hop.refusals += 1
            again = is_retryable(error) and hop.refusals < MAX_ATTEMPTS
            hop.wanted = again and await self._sleep(self._backoff(hop.refusals), exchange)
            return True
        if error.kind not in _BROKEN or not reader.token_covers_output or not self.may_hop(hop, exchange):
            return False
        hop.go_on(reader.continuation_token)
        return True

    def _release(self, events: list[Event], held: list[Event], progress: Progress) -> list[Event]:
        """Hold what shows nothing, so that an empty answer can still be asked for again."""
        if progress.shown:
            return events
        held += events
        if not events or all(isinstance(event, Start | LooseSignature) for event in held):
            return []
        if not all(isinstance(event, Start | LooseSignature | End) for event in held):
            progress.shown = True
        out, held[:] = held[:], []
        return out

    def _judge(self, end: Event, progress: Progress, meter: Meter) -> None:
        """An answer without anything to show, or a fault of the model: once more, then an error."""
        assert isinstance(end, End)
        meter.outcome.finish_reason = end.reason
        empty = not progress.shown and end.finish in ("stop", "no_output")
        faulty = end.finish == "fault" and not progress.shown
        if (empty or faulty) and not progress.refilled:
            progress.refilled = True
            if end.reason == "MISSING_THOUGHT_SIGNATURE":
                progress.request = with_sentinels(progress.request)
            raise _AskAgain
        if end.finish == "account":
            raise GatewayError("upstream_auth", "The upstream has disabled this project.", reason=end.reason.lower())
        if faulty:
            raise GatewayError(
                "upstream_fault", f"The model's answer was unusable ({end.reason}).", reason=end.reason.lower()
            )

    async def recover(
        self, error: GatewayError, progress: Progress, slot: Credential, model: ResolvedModel, exchange: Exchange
    ) -> bool:
        """Prepare the next attempt; False where the error is final."""
        if error.kind in _SLOT_TROUBLE:
            self.pool.rest(slot, progress.model_id, error)
            progress.bad_slots.add(slot.id)
            if error.kind == "upstream_auth":
                await self.pool.refresh()
            return progress.attempts < MAX_ATTEMPTS and await self._wait_for_slot(error, progress, exchange)
        if error.kind == "model_not_found":
            target = model.fallback_on_404
            if target is None or progress.model_id == target:
                return False
            self.gone[model.id] = progress.model_id = target
            return True
        if self._repair(error, progress):
            return True
        if is_retryable(error) and progress.attempts < MAX_ATTEMPTS:
            return await self._sleep(self._backoff(progress.attempts), exchange)
        return False

    def _repair(self, error: GatewayError, progress: Progress) -> bool:
        """Each repair at most once."""
        reason = error.reason or ""
        if reason not in REPAIRS or reason in progress.repaired:
            return False
        progress.repaired.add(reason)
        changed = REPAIRS[reason](progress.request)
        progress.request = changed or progress.request
        return changed is not None

    async def _wait_for_slot(self, error: GatewayError, progress: Progress, exchange: Exchange) -> bool:
        """Another credential at once; else the same again after the wait that the upstream named, if there is time."""
        try:
            await self.pool.choose(progress.model_id, progress.bad_slots)
        except GatewayError:
            if error.kind != "upstream_rate_limited" or progress.attempts >= MAX_ATTEMPTS:
                return False
            progress.bad_slots.clear()
            return await self._sleep(error.retry_after or self._backoff(progress.attempts), exchange)
        return True

    def _backoff(self, attempt: int) -> float:
        return self._chance.uniform(0, min(_BACKOFF_CAP_S, _BACKOFF_S * 2**attempt))

    async def _sleep(self, seconds: float, exchange: Exchange) -> bool:
        # longer than the status line can be held: the client gets the wait instead, as `retry-after`
        if seconds > self.settings.commit_after_s or exchange.remaining_s < _MIN_TIME_S + seconds:
            return False
        await asyncio.sleep(seconds)
        return True


async def _nothing() -> AsyncIterator[Mapping[str, Any]]:
    nothing: tuple[Mapping[str, Any], ...] = ()
    for chunk in nothing:
        yield chunk


class _AskAgain(Exception):
    """The answer held nothing and the client has seen nothing."""


def note(meter: Meter, reader: ReplyReader, call: int) -> None:
    outcome = meter.outcome
    outcome.model_version = reader.model_version or outcome.model_version
    outcome.upstream_response_id = reader.response_id or outcome.upstream_response_id
    usage = reader.usage
    if usage.estimated and not usage.prompt_tokens:
        usage = dataclasses.replace(usage, prompt_tokens=meter.input_bound)
    # the header tells what was served; the body may not, or tell what was asked for
    outcome.calls[call] = dataclasses.replace(usage, service_tier=outcome.service_tier or usage.service_tier)
