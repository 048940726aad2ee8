"""The life of a request: authenticate, resolve the model, admit, translate, call, render, settle."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import (
    Body,
    Dialect,
    Renderer,
    ReplyContext,
    RequestContext,
    StatefulDialect,
    StatefulRenderer,
    TellingDialect,
    Translation,
)
from shared.errors import GatewayError
from shared.events import End, Event, Usage
from shared.gateway import auth
from shared.gateway.budgets import estimate
from shared.gateway.choice import Choice
from shared.gateway.context import Exchange, call_id, out_of_time
from shared.gateway.fan_out import Answer, interleaved
from shared.gateway.idempotency import adopt
from shared.gateway.input_bounds import check_tools, refuse_routing
from shared.gateway.kept_files import KeptFiles
from shared.gateway.metering import Meter, settled_on_failure, usd
from shared.gateway.request_body import read_body
from shared.gateway.request_headers import headers_of
from shared.gateway.request_media import Fetcher, RequestMedia, answered, counted
from shared.gateway.responses import EventStream, json_response
from shared.gateway.settings import Settings
from shared.gateway.shaping import Shaper
from shared.gateway.signature_keeper import SignatureKeeper
from shared.gateway.upstream import Upstream
from shared.gemini.catalog import ResolvedModel, resolve
from shared.gemini.file_links import file_links
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import decode_object
from shared.limit_state import LimitState
from shared.stores.protocols import (
    Invoker,
    KeyRecord,
    Ledger,
    OwnedObjectStore,
    ResponseStore,
    SecretStore,
    SettlementQueue,
    SignatureStore,
    UploadSigner,
)

if TYPE_CHECKING:
    from shared.gateway.memory import Memory


class Services(Struct, frozen=True):
    """What a data-plane function is made of."""

    settings: Settings
    authenticator: auth.Authenticator
    ledger: Ledger
    queue: SettlementQueue
    signatures: SignatureStore
    upstream: Upstream
    secrets: SecretStore | None = None  # with `kept`: what dialects with state need
    kept: ResponseStore | None = None
    invoker: Invoker | None = None  # None: background work runs in this process
    owned: OwnedObjectStore | None = None  # None: no files and no cached contents
    files: KeptFiles | None = None  # None: clients leave no files here
    signer: UploadSigner | None = None
    fetcher: Fetcher | None = None  # None: links are for the upstream alone

    def model(self, name: str, key: KeyRecord, exchange: Exchange) -> ResolvedModel:
        """What a client's name for a model means today and for this key, with the rules of what serves it now. Raises
        GatewayError, alike for a name that is unknown and one that is not in the key's scope."""
        named = resolve(name, exchange.today, overrides=self.settings.model_aliases)
        return self.upstream.recovery.as_served(auth.scoped(key, named))

    def media(
        self, key: KeyRecord, body: Body, request: GenerateContentRequest, exchange: Exchange
    ) -> RequestMedia | None:
        """What the request refers to; None for the many that refer to nothing."""
        if "cachedContent" not in request and next(file_links(request), None) is None:
            return None
        return RequestMedia(key, body, exchange, owned=self.owned, kept=self.files, fetcher=self.fetcher)


class Call(Struct):
    """One admitted request on its way."""

    exchange: Exchange
    dialect: Dialect
    model: ResolvedModel
    translation: Translation
    meter: Meter
    keeper: SignatureKeeper
    limits: LimitState
    memory: "Memory | None" = None
    counted: Usage | None = None  # of a prompt that was only counted, which costs nothing
    media: RequestMedia | None = None

    @property
    def reply(self) -> ReplyContext:
        return ReplyContext(
            self.exchange.request_id,
            self.exchange.created,
            self.model.requested,
            seal=self.memory.sealer.seal if self.memory else None,
            shown_id=self.exchange.shown_id,
            clock=lambda: (self.exchange.started_ms + self.exchange.elapsed_ms) // 1000,
        )

    def headers(self) -> dict[str, str]:
        headers = dict(self.dialect.limit_headers(self.limits, self.exchange.created))
        headers["x-gateway-model"] = self.exchange.served or self.model.id
        if self.translation.warnings:
            headers["x-gateway-warnings"] = ",".join(self.translation.warnings)
        return headers


class Pipeline:
    """Serves every data-plane endpoint; what differs between them is the dialect."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._grounding: Any = None  # imported only where its links are to be resolved
        if services.settings.resolve_grounding_urls:
            self._grounding = import_module("shared.gateway.grounding_links")

    async def serve(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """The whole way of one request. Raises GatewayError for everything that fails before an answer began."""
        services, settings = self._services, self._services.settings
        key = await services.authenticator.principal(request, exchange.source_ip, endpoint)
        raw = await read_body(request, settings.max_body_bytes)
        adopt(request, key, exchange, raw)
        body = decode_object(raw)
        if endpoint == "messages":
            exchange.client = cast(TellingDialect, dialect).client_traits(headers_of(request), body)
        return await self.run(body, key, exchange, dialect, endpoint)

    async def run(
        self,
        body: Body,
        key: KeyRecord,
        exchange: Exchange,
        dialect: Dialect,
        endpoint: str,
        memory: "Memory | None" = None,
    ) -> Response:
        """The way of a body whose sender is known; `memory` only with a `StatefulDialect`."""
        refuse_routing(body)
        model = self._services.model(dialect.requested_model(body), key, exchange)
        call = await self._admit(body, key, model, exchange, dialect, endpoint, memory)
        async with settled_on_failure(call.meter, dialect.render_error):
            return await (self._stream(call) if call.translation.stream else self._buffered(call))

    async def context(
        self,
        body: Body,
        key: KeyRecord,
        model: ResolvedModel,
        dialect: Dialect,
        keeper: SignatureKeeper,
        memory: "Memory | None" = None,
        api_version: str = "",
    ) -> RequestContext:
        """What the translator of this body may know."""
        settings = self._services.settings
        keys = list(dialect.signature_keys(body))
        if memory is not None:
            keys += dialect.signature_keys({"input": memory.items})
        context = RequestContext(
            model=model,
            signatures=await keeper.recall(keys),
            strict=settings.strict_parameters,
            safety_off=settings.safety_off,
            max_output_tokens=key.max_output_tokens,
            api_version=api_version,
            strict_version=settings.strict_version,
            fast_as_priority=settings.fast_as_priority,
        )
        return memory.known_to(context) if memory is not None else context

    async def _admit(
        self,
        body: Body,
        key: KeyRecord,
        model: ResolvedModel,
        exchange: Exchange,
        dialect: Dialect,
        endpoint: str,
        memory: "Memory | None",
    ) -> Call:
        services, settings = self._services, self._services.settings
        keeper = SignatureKeeper(services.signatures, key.acct, model, exchange.created)
        context = await self.context(body, key, model, dialect, keeper, memory, exchange.api_version)
        translation = dialect.to_gemini(body, context)
        check_tools(translation.request, key)
        reserve = estimate(
            translation.request,
            model,
            exchange.today,
            choices=translation.choices,
            default_output=settings.default_output_reservation,
        )
        meter = Meter(
            services.ledger,
            services.queue,
            settings,
            key,
            exchange,
            model,
            reserve,
            dialect=dialect.NAME,
            endpoint=endpoint,
            stream=translation.stream,
        )
        media = services.media(key, body, translation.request, exchange)
        return Call(exchange, dialect, model, translation, meter, keeper, await meter.admit(), memory, media=media)

    def _events(self, call: Call) -> Answer[tuple[int, list[Event]]]:
        """(choice, events) as the client should see them, those together that came together."""
        call.meter.before_upstream()
        if call.translation.prompt_only:
            return self._counted(call)
        return interleaved([self._choice(call, number) for number in range(call.translation.choices)])

    async def _counted(self, call: Call) -> AsyncGenerator[tuple[int, list[Event]]]:
        upstream, request = self._services.upstream, call.translation.request
        tokens = await counted(upstream, request, call.model, call.exchange, call.media)
        call.counted = Usage(prompt_tokens=tokens)
        for number in range(call.translation.choices):
            yield number, [End("length", "MAX_TOKENS", call.counted)]

    def _choice(self, call: Call, number: int) -> Choice:
        services, translation = self._services, call.translation
        shaper = Shaper(translation, lambda: call_id(call.dialect.TOOL_CALL_PREFIX))
        answer = answered(services.upstream, translation.request, call.model, call.exchange, call.meter, call.media)
        if self._grounding is not None:
            answer = self._grounding.with_targets(answer, services.upstream.client.location, call.exchange)
        return Choice(number, answer, shaper, call.keeper, call.meter.outcome)

    async def _buffered(self, call: Call) -> Response:
        choices: list[list[Event]] = [[] for _ in range(call.translation.choices)]
        try:  # `in_time` without a context manager of its own, a hundredth of a small answer
            async with asyncio.timeout(call.exchange.remaining_s), aclosing(self._events(call)) as events:
                async for choice, burst in events:
                    choices[choice] += burst
        except TimeoutError:
            raise out_of_time() from None
        body = await self._folded(choices, call)
        headers = call.headers() | {"x-gateway-cost-usd": usd(call.meter.cost())}
        return json_response(200, body, headers, after=call.meter.settle)

    async def _folded(self, choices: list[list[Event]], call: Call) -> Mapping[str, Any]:
        if call.memory is None:
            return call.dialect.fold(choices, call.translation, call.reply, _usage(call))
        dialect = cast(StatefulDialect, call.dialect)
        whole = dialect.fold_whole(choices, call.translation, call.reply, _usage(call))
        await call.memory.keep(whole)
        return dialect.shown(whole, call.translation)

    async def _stream(self, call: Call) -> Response:
        """The status line waits for the first event, so that an early failure keeps its own status."""
        renderer = call.dialect.renderer(call.translation, call.reply)
        closing: list[bytes] = []  # made, and not yet taken

        async def frames() -> AsyncGenerator[bytes]:
            async with aclosing(self._events(call)) as events:
                async for choice, burst in events:
                    rendered, failure = _rendered(renderer, choice, burst)
                    if rendered:
                        yield rendered
                    if failure is not None:
                        raise failure
            closing.append(renderer.close(_usage(call)))
            await _remember(call, renderer)  # before the client can build upon what it is told
            yield closing.pop()

        def failed(error: GatewayError) -> bytes:
            if closing:  # a store that takes too long costs the memory and not the answer's end
                return closing.pop()
            call.meter.outcome.fail(error)
            return renderer.fail(error)

        async def after() -> None:
            try:
                await _remember(call, renderer)
            finally:
                await call.meter.settle()

        stream = EventStream(
            frames(),
            headers=call.headers(),
            heartbeat=renderer.heartbeat,
            heartbeat_s=self._services.settings.heartbeat_s,
            deadline_s=lambda: call.exchange.remaining_s,
            failed=failed,
            after=after,
            ending=lambda: _remember(call, renderer),
        )
        call.exchange.streamed = True
        await stream.first(self._services.settings.commit_after_s)
        stream.headers["x-gateway-model"] = call.exchange.served or call.model.id
        return stream


def _rendered(renderer: Renderer, choice: int, burst: list[Event]) -> tuple[bytes, GatewayError | None]:
    """The frames of a burst as one write, and the failure that one of its events turned out to be."""
    frames: list[bytes] = []
    try:
        for event in burst:
            frames.append(renderer.feed(event, choice))  # noqa: PERF401 - those before a failure count
    except GatewayError as failure:
        return b"".join(frames), failure
    return b"".join(frames), None


def _usage(call: Call) -> Usage:
    return call.meter.outcome.usage or call.counted or Usage(estimated=True)


async def _remember(call: Call, renderer: Renderer) -> None:
    """An answer that came to its end, good or bad, is kept once."""
    if call.memory is not None:
        whole = cast(StatefulRenderer, renderer).final
        if whole is not None:
            await call.memory.keep(whole)
