"""The life that embeddings, images, speech and transcriptions share: who asks, for which model, admitted and settled.

It is the pipeline's life around requests that are no conversation: bodies may be forms, answers may be bytes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from shared.dialects import openai_media
from shared.dialects.contract import ReplyContext, RequestContext
from shared.dialects.openai.fields import string
from shared.dialects.openai_media.members import Form
from shared.errors import GatewayError
from shared.events import Event, Usage
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange
from shared.gateway.idempotency import HEADER, adopt
from shared.gateway.metering import Meter, settled_on_failure, usd
from shared.gateway.multipart import is_form, read_form
from shared.gateway.pipeline import Services
from shared.gateway.request_body import read_body
from shared.gateway.request_media import RequestMedia, answered
from shared.gateway.responses import EventStream
from shared.gemini.catalog import ResolvedModel
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import MAX_NODES, decode_object
from shared.limit_state import LimitState
from shared.stores.protocols import KeyRecord

_HEARTBEAT = b": keep-alive\n\n"


class MediaCall(Struct):
    """One admitted request on its way."""

    exchange: Exchange
    model: ResolvedModel
    meter: Meter
    limits: LimitState
    warnings: list[str]
    asked: "Asked"
    media: RequestMedia | None = None

    @property
    def reply(self) -> ReplyContext:
        exchange = self.exchange
        return ReplyContext(exchange.request_id, exchange.created, self.model.requested, shown_id=exchange.shown_id)

    @property
    def usage(self) -> Usage:
        return self.meter.outcome.usage or Usage(estimated=True)

    def headers(self) -> dict[str, str]:
        headers = dict(openai_media.limit_headers(self.limits, self.exchange.created))
        headers["x-gateway-model"] = self.exchange.served or self.model.id
        if self.warnings:
            headers["x-gateway-warnings"] = ",".join(self.warnings)
        return headers

    def priced_headers(self) -> dict[str, str]:
        """For answers that leave when all is done."""
        return self.headers() | {"x-gateway-cost-usd": usd(self.meter.cost())}


class Asked(Struct, frozen=True):
    """A request of a known key, read: its body and its model."""

    key: KeyRecord
    body: Mapping[str, Any] | Form
    model: ResolvedModel
    context: RequestContext


class MediaLife:
    """The steps that every media endpoint takes; each raises GatewayError."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def ask(
        self,
        request: Request,
        exchange: Exchange,
        endpoint: str,
        *,
        forms: bool = False,
        json: bool = True,
        default_model: str = "",
        max_values: int = MAX_NODES,
    ) -> Asked:
        """Authenticate, read, resolve. The body may be a form, JSON (of at most `max_values` values), or both."""
        services, settings = self.services, self.services.settings
        key = await services.authenticator.principal(request, exchange.source_ip, endpoint)
        body: Mapping[str, Any] | Form
        if not json or (forms and is_form(request)):
            body = await read_form(request, settings.max_body_bytes)
            if HEADER in request.headers:
                adopt(request, key, exchange, body.content())
            name = body.members().get("model")
        else:
            raw = await read_body(request, settings.max_body_bytes)
            adopt(request, key, exchange, raw)
            body = decode_object(raw, max_values)
            name = body.get("model")
        if name in (None, "") and not default_model:
            raise GatewayError("invalid_request", "You must provide a model parameter.", param="model")
        wanted = string(name, "model") if name else default_model
        model = services.model(wanted, key, exchange)
        context = RequestContext(
            model=model,
            signatures={},
            strict=settings.strict_parameters,
            safety_off=settings.safety_off,
            max_output_tokens=key.max_output_tokens,
        )
        return Asked(key, body, model, context)

    async def admit(
        self,
        asked: Asked,
        exchange: Exchange,
        estimate: Estimate,
        *,
        endpoint: str,
        stream: bool,
        warnings: Sequence[str],
    ) -> MediaCall:
        services = self.services
        meter = Meter(
            services.ledger,
            services.queue,
            services.settings,
            asked.key,
            exchange,
            asked.model,
            estimate,
            dialect=openai_media.NAME,
            endpoint=endpoint,
            stream=stream,
        )
        return MediaCall(exchange, asked.model, meter, await meter.admit(), list(warnings), asked)

    def settled(self, call: MediaCall) -> AbstractAsyncContextManager[None]:
        """Whatever ends the block early gives the reservation back and pays what was used."""
        return settled_on_failure(call.meter, openai_media.render_error)

    async def events(
        self, call: MediaCall, request: GenerateContentRequest, *, drafts: bool = False
    ) -> AsyncGenerator[Event]:
        """One upstream answer."""
        services, asked = self.services, call.asked
        if call.media is None:  # of the first of several answers to one request
            body = asked.body if isinstance(asked.body, Mapping) else asked.body.members()
            call.media = services.media(asked.key, body, request, call.exchange)
        answer = answered(services.upstream, request, call.model, call.exchange, call.meter, call.media, drafts=drafts)
        async with aclosing(answer) as bursts:
            async for events in bursts:
                for event in events:
                    yield event

    async def stream(
        self,
        call: MediaCall,
        frames: AsyncGenerator[bytes],
        *,
        fail: Callable[[GatewayError], bytes] | None = None,
        media_type: str = "",
    ) -> Response:
        """A stream whose status waits for its first frame: of events, whose `fail` renders a late failure, or of bare
        bytes of a `media_type`, between which nothing can be said: no heartbeat, and a failure breaks them off."""
        settings = self.services.settings

        def failed(error: GatewayError) -> bytes:
            call.meter.outcome.fail(error)
            if fail is not None:
                return fail(error)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return b""  # the cancellation itself breaks the stream off
            raise BrokenOff(error.kind) from error

        response = EventStream(
            frames,
            headers=call.headers(),
            heartbeat=_HEARTBEAT,
            heartbeat_s=settings.heartbeat_s if fail else settings.request_timeout_s,
            deadline_s=lambda: call.exchange.remaining_s,
            failed=failed,
            after=call.meter.settle,
        )
        if media_type:
            response.headers["content-type"] = media_type
        call.exchange.streamed = True
        await response.first(settings.commit_after_s)
        response.headers.update(call.headers())
        return response


class BrokenOff(Exception):
    """A stream of bare bytes that cannot be finished: its client must not take it for whole."""
