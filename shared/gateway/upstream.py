"""One answer of the upstream as events: credentials, attempts, long-decode hops, what each attempt used.

An attempt may be repeated only while the client has seen nothing; from the first visible event on a failure ends the
answer.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from msgspec import Struct, field, structs

from shared.errors import GatewayError
from shared.events import End, Event, LooseSignature, Start, Usage
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.pool import CredentialPool
from shared.gateway.recovery import MAX_ATTEMPTS, AskAgain, Progress, Recovery
from shared.gateway.settings import Settings
from shared.gateway.telemetry import log
from shared.gemini.catalog import ResolvedModel, capabilities_of
from shared.gemini.client import GeminiClient
from shared.gemini.errors import is_retryable
from shared.gemini.reader import ReplyReader
from shared.gemini.told import Told
from shared.gemini.types import GenerateContentRequest
from shared.gemini.upstream_stream import Burst, UpstreamStream
from shared.stores.protocols import Credential

_HOP_TIME_S = 60.0
_COUNT_TIME_S = 20.0
_SHOWS_NOTHING = frozenset({Start, LooseSignature, End})
_BROKEN = frozenset({"upstream_interrupted", "upstream_truncated", "upstream_timeout"})
_UNSAID = _BROKEN | {"upstream_invalid_response"}  # the last is a reply without an object that can be read


class Hop(Struct):
    """Where a long decode stands: the hop that runs, the token it started from, and what the answer has told so far."""

    told: Told
    meter: Meter
    exchange: Exchange
    number: int = 0
    token: str | None = None
    refusals: int = 0
    wanted: bool = True
    tiers: dict[int, str] = field(default_factory=dict)  # that served the hops which spoke, and the one that begins
    fresh: bool = False  # it goes on from another hop and has said nothing yet, so `told` is still about that one

    def request(self, first: GenerateContentRequest) -> GenerateContentRequest:
        """For the call that begins: the same request again with the token on top, never the partial output."""
        self.fresh = self.number > 0
        return first if self.token is None else {**first, "continuationToken": self.token}

    def served_as(self, tier: str) -> None:
        """The upstream's word for the hop that begins; "" where it says none."""
        self.tiers[len(self.told.earlier_usages) + self.fresh] = tier

    def go_on(self, token: str | None) -> None:
        self.number, self.token, self.refusals = self.number + 1, token, 0


class Attempt:
    """One try at an answer with one credential, over all its hops: what was read of it, and what of it may be shown.
    Leaving it, however, notes what it used. After `failure` there is nothing to feed but another hop."""

    def __init__(self, progress: Progress, slot: Credential, meter: Meter, exchange: Exchange) -> None:
        meter.outcome.attempts += 1
        meter.outcome.use(slot)
        self._number = meter.outcome.attempts  # stands beside other candidates and discarded attempts
        self._reader = ReplyReader(drafts=progress.drafts)
        self.hop = Hop(self._reader, meter, exchange)
        self.failure: GatewayError | None = None
        self._progress = progress
        self._meter = meter
        self._held: list[Event] = []

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, *exc: object) -> None:  # also where the client has left, or a stop sequence was found
        if self._reader.started:
            note(self.hop, self._number)

    def next_request(self) -> GenerateContentRequest:
        self.failure = None  # one that broke a hop is over where another resumes it
        return self.hop.request(self._progress.request)

    def feed(self, chunks: Burst) -> list[Event]:
        """What may be shown now. Where a `failure` cuts a burst short, what was said before it counts."""
        events: list[Event] = []
        if self.hop.fresh:
            events = self._reader.next_hop()
            self.hop.fresh = False
        try:
            self._reader.feed_all(chunks, events)
        except GatewayError as failure:
            self.failure = failure
        return events if self._progress.shown else self._released(events)

    def close(self) -> list[Event]:
        """The last events, `End` last. Raises AskAgain, or GatewayError, where they are no answer."""
        events = self._reader.close()
        if not self._progress.shown:
            events = self._released(events)
        self._judge(events[-1])
        return events

    def _released(self, events: list[Event]) -> list[Event]:
        """Hold what shows nothing, so that an empty answer can still be asked for again."""
        self._held += events
        for event in events:
            if type(event) not in _SHOWS_NOTHING:
                self._progress.shown = True
                break
        else:
            if not events or type(events[-1]) is not End:
                return []
        held, self._held = self._held, []
        return held

    def _judge(self, end: Event) -> None:
        """An answer without anything to show, or a fault of the model: once more, then an error."""
        assert isinstance(end, End)
        progress = self._progress
        self._meter.outcome.finish_reason = end.reason
        empty = not progress.shown and end.finish in ("stop", "no_output")
        faulty = end.finish == "fault" and not progress.shown
        if (empty or faulty) and not progress.refilled:
            progress.refill(end.reason)
            raise AskAgain
        if end.finish == "account":
            raise GatewayError("upstream_auth", "The upstream has disabled this project.", reason=end.reason.lower())
        if faulty:
            raise GatewayError(
                "upstream_fault", f"The model's answer was unusable ({end.reason}).", reason=end.reason.lower()
            )


class Upstream:
    """The upstream for the life of a process.

    What has a public name is used by the native dialect's upstream too.
    """

    def __init__(self, client: GeminiClient, pool: CredentialPool, settings: Settings) -> None:
        self.client = client
        self.pool = pool
        self.settings = settings
        self.recovery = Recovery(pool, settings)

    async def answer(
        self,
        request: GenerateContentRequest,
        model: ResolvedModel,
        exchange: Exchange,
        meter: Meter,
        *,
        drafts: bool = False,
        credential_id: str | None = None,
    ) -> AsyncGenerator[list[Event]]:
        """Events of one candidate, those together that came together, `End` last; its usage covers discarded attempts
        too. `drafts` asks for the pictures among the thoughts. Raises GatewayError."""
        progress = self.recovery.begin(request, model, exchange)
        progress.drafts = drafts
        while True:
            progress.attempts += 1
            slot = None
            try:
                slot = await self.slot(progress.model_id, progress.bad_slots, credential_id)
                with Attempt(progress, slot, meter, exchange) as attempt:
                    while attempt.hop.wanted:
                        try:
                            async with self._open(progress, attempt.next_request(), slot, exchange) as bursts:
                                attempt.hop.served_as(bursts.service_tier)
                                async for chunks in bursts:
                                    exchange.mark_first_byte()
                                    if events := attempt.feed(chunks):
                                        yield events
                                    if attempt.failure is not None:
                                        raise attempt.failure
                            attempt.hop.wanted = await self.goes_on(attempt.hop)
                        except GatewayError as error:
                            if not await self.resume(attempt.hop, error):
                                raise
                    events = attempt.close()
                yield events
                return
            except GatewayError as error:
                if progress.shown or not await self.recovery.recover(error, progress, slot, model, exchange):
                    raise
            except AskAgain:
                log("empty_answer_retried", request_id=exchange.request_id, model=progress.model_id)

    async def slot(self, model_id: str, bad: set[str], wanted: str | None) -> Credential:
        """A healthy credential, or the one that owns what the request refers to."""
        slot = await self.pool.choose(model_id, bad)
        if wanted is not None and slot.id != wanted:
            if not await self.pool.has(wanted):
                message = "What the request refers to is kept by an upstream credential that is no longer in use."
                raise GatewayError("unavailable", message)
            passed = {*bad}
            while slot.id != wanted:
                passed.add(slot.id)
                slot = await self.pool.choose(model_id, passed)
        return slot

    async def count(
        self,
        request: GenerateContentRequest,
        model_id: str,
        exchange: Exchange,
        credential_id: str | None = None,
        *,
        fallback: str | None = None,
    ) -> int:
        """Prompt tokens by the upstream's own count, system instruction and tools included; retried like an answer,
        `fallback` being what counts where the model is gone."""
        progress = Progress(self.recovery.serving(model_id, fallback), {}, thinking=False)
        while True:
            progress.attempts += 1
            slot = await self.slot(progress.model_id, progress.bad_slots, credential_id)
            deadline = min(exchange.remaining_s, _COUNT_TIME_S)
            # the plain form without `generateContentRequest` leaves system and tools out
            body = {"generateContentRequest": {"model": f"models/{progress.model_id}", **request}}
            try:
                answer = await self.client.call("countTokens", progress.model_id, body, slot.key, deadline_s=deadline)
                break
            except GatewayError as error:
                await self.recovery.rest(error, progress, slot)
                if self.recovery.moved(error, progress, model_id, fallback):
                    continue
                if not await self.recovery.again(error, progress, exchange):
                    error.retried = progress.retries > 0
                    raise
        total = answer.get("totalTokens")
        if not isinstance(total, int) or total < 0:
            raise GatewayError("upstream_invalid_response", "The upstream's count is unusable.")
        return total

    async def embed(
        self, requests: Sequence[Mapping[str, Any]], model: ResolvedModel, exchange: Exchange, meter: Meter, number: int
    ) -> Mapping[str, Any]:
        """One `batchEmbedContents`, retried like an answer; `requests` are EmbedContentRequests without a model, and
        `number` is the call's among those that the request pays."""
        progress = self.recovery.begin({}, model, exchange)
        while True:
            progress.attempts += 1
            slot = await self.pool.choose(progress.model_id, progress.bad_slots)
            meter.outcome.attempts += 1
            meter.outcome.use(slot, number)
            name = f"models/{progress.model_id}"
            body = {"requests": [{"model": name, **item} for item in requests]}
            try:
                answer = await self.client.call(
                    "batchEmbedContents", progress.model_id, body, slot.key, deadline_s=exchange.remaining_s
                )
            except GatewayError as error:
                if not await self.recovery.recover(error, progress, slot, model, exchange):
                    raise
                continue
            exchange.mark_first_byte()
            meter.outcome.model_version = progress.model_id  # the reply names none
            return answer

    def _open(
        self, progress: Progress, request: GenerateContentRequest, slot: Credential, exchange: Exchange
    ) -> AbstractAsyncContextManager["UpstreamStream | _Whole"]:
        """The chunks of one call; those of a model that cannot stream are its whole answer as one."""
        if capabilities_of(progress.model_id).streams:
            return self.client.stream(
                progress.model_id, request, slot.key, deadline_s=exchange.remaining_s, thinking=progress.thinking
            )
        return self._open_whole(progress, request, slot, exchange)

    @asynccontextmanager
    async def _open_whole(
        self, progress: Progress, request: GenerateContentRequest, slot: Credential, exchange: Exchange
    ) -> AsyncGenerator["_Whole"]:
        deadline_s = exchange.remaining_s
        yield _Whole(
            await self.client.call(
                "generateContent", progress.model_id, request, slot.key, deadline_s=deadline_s, patient=True
            )
        )

    async def goes_on(self, hop: Hop) -> bool:
        """Whether another call follows one whose bytes have ended. Without a word for its end it broke off as one whose
        connection did."""
        if hop.told.hop_ended and not hop.fresh:
            return self._follow(hop)
        error = GatewayError("upstream_truncated", "The upstream's reply ended before it was complete.")
        return await self.resume(hop, error) and hop.wanted

    def _follow(self, hop: Hop) -> bool:
        """Whether another hop follows a whole one, which `hop` then is: only for a new token, and only if this one
        brought something."""
        told = hop.told
        if told.finish != "CONTINUATION" or not told.hop_output_seen:
            return False
        token = told.continuation_token
        if token is None or token == hop.token or not self._may_hop(hop):
            return False
        hop.go_on(token)
        return True

    def _may_hop(self, hop: Hop) -> bool:
        if hop.number >= self.settings.max_hops or hop.exchange.remaining_s < _HOP_TIME_S:
            return False
        told = hop.told
        return hop.meter.covers_another([*told.earlier_usages, told.hop_usage], told.model_version)

    async def resume(self, hop: Hop, error: GatewayError) -> bool:
        """A long decode that broke: from its last checkpoint, if that covers all that was sent; a hop that was refused
        or said nothing is tried again, and where it never spoke the answer then ends where it is. False where the
        failure is final."""
        broken, told = error.kind in _BROKEN, hop.told
        if broken and not hop.fresh and told.token_covers_output and self._may_hop(hop):
            hop.go_on(told.continuation_token)
            return True
        if not hop.fresh and (not broken or not hop.number or told.hop_output_seen):
            return False
        hop.refusals += 1
        again = (error.kind in _UNSAID or is_retryable(error)) and hop.refusals < MAX_ATTEMPTS
        hop.wanted = again and await self.recovery.pause(hop.refusals, hop.exchange)
        return hop.wanted or hop.fresh


class _Whole:
    """The answer of a model that cannot stream, as a stream of one chunk."""

    service_tier = ""

    def __init__(self, chunk: Mapping[str, Any]) -> None:
        self._chunk = chunk

    async def __aiter__(self) -> AsyncIterator[Burst]:
        yield [self._chunk]


def note(hop: Hop, call: int) -> None:
    """What an attempt used, up to this hop; `call` is its number among those that the request pays."""
    told, meter, tiers = hop.told, hop.meter, hop.tiers
    outcome = meter.outcome
    if told.model_version:
        outcome.model_version = outcome.versions[call] = told.model_version
    outcome.upstream_response_id = told.response_id or outcome.upstream_response_id
    usage, earlier = told.usage, told.earlier_usages
    if earlier:
        outcome.hops[call] = [_completed(each, meter, tiers.get(at)) for at, each in enumerate(earlier)]
        usage = told.hop_usage
    outcome.calls[call] = _completed(usage, meter, tiers.get(len(earlier)))


def _completed(usage: Usage, meter: Meter, tier: str | None) -> Usage:
    if usage.estimated and not usage.prompt_tokens:
        usage = structs.replace(usage, prompt_tokens=meter.input_bound)
    # the header tells what was served; the body may not, or tell what was asked for
    return structs.replace(usage, service_tier=tier) if tier and tier != usage.service_tier else usage
