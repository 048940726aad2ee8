"""POST /v1/images/*: one upstream call a picture, all at once; what succeeds is answered."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.openai_media import images
from shared.dialects.openai_media.image_reply import ImageRenderer, Picture, images_body
from shared.dialects.openai_media.images import ImageJob
from shared.dialects.openai_media.members import Form
from shared.errors import GatewayError
from shared.events import Event
from shared.gateway.budgets import estimate
from shared.gateway.context import Exchange, in_time
from shared.gateway.fan_out import merged
from shared.gateway.media import Asked, MediaCall, MediaLife
from shared.gateway.responses import json_response
from shared.gateway.telemetry import log

# the largest picture takes about 2,500 tokens; the rest is room for thoughts
_IMAGE_TOKENS: Final = 4_096


class Painter:
    def __init__(self, life: MediaLife) -> None:
        self._life = life

    async def generate(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        asked = await self._ask(request, exchange, endpoint, forms=False)
        assert isinstance(asked.body, Mapping)
        return await self._serve(asked, images.generation(asked.body, asked.context), exchange, endpoint)

    async def edit(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        asked = await self._ask(request, exchange, endpoint)
        return await self._serve(asked, images.edit(asked.body, asked.context), exchange, endpoint)

    async def vary(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        asked = await self._ask(request, exchange, endpoint, json=False)
        assert isinstance(asked.body, Form)
        return await self._serve(asked, images.variation(asked.body, asked.context), exchange, endpoint)

    async def _ask(
        self, request: Request, exchange: Exchange, endpoint: str, *, forms: bool = True, json: bool = True
    ) -> Asked:
        model = images.DEFAULT_MODEL
        return await self._life.ask(request, exchange, endpoint, forms=forms, json=json, default_model=model)

    async def _serve(self, asked: Asked, job: ImageJob, exchange: Exchange, endpoint: str) -> Response:
        bound = estimate(job.request, asked.model, exchange.today, choices=job.count, default_output=_IMAGE_TOKENS)
        call = await self._life.admit(
            asked, exchange, bound, endpoint=endpoint, stream=job.stream, warnings=job.warnings
        )
        async with self._life.settled(call):
            return await (self._stream(job, call) if job.stream else self._buffered(job, call))

    async def _buffered(self, job: ImageJob, call: MediaCall) -> Response:
        pictures = [Picture() for _ in range(job.count)]
        failures: list[GatewayError] = []
        async with in_time(call.exchange), aclosing(self._events(job, call, failures.append)) as events:
            async for choice, event in events:
                pictures[choice].feed(event)
        if failures and not any(picture.image for picture in pictures):
            raise failures[0]
        if lost := sum(picture.image is None for picture in pictures):
            call.warnings.append(f"incomplete:{job.count - lost}/{job.count}")
        body = images_body(pictures, job, call.reply, call.usage)
        return json_response(200, body, call.priced_headers(), after=call.meter.settle)

    async def _stream(self, job: ImageJob, call: MediaCall) -> Response:
        renderer = ImageRenderer(job, call.reply)
        failures: list[GatewayError] = []

        async def frames() -> AsyncGenerator[bytes]:
            async with aclosing(self._events(job, call, failures.append)) as events:
                async for choice, event in events:
                    if frame := renderer.feed(event, choice):
                        yield frame
            if not renderer.complete:
                raise failures[0] if failures else renderer.missing()

        return await self._life.stream(call, frames(), fail=renderer.fail)

    async def _events(
        self, job: ImageJob, call: MediaCall, failed: Callable[[GatewayError], None]
    ) -> AsyncGenerator[tuple[int, Event]]:
        call.meter.before_upstream()
        async with aclosing(merged([self._one(job, call, failed) for _ in range(job.count)])) as events:
            async for item in events:
                yield item

    async def _one(
        self, job: ImageJob, call: MediaCall, failed: Callable[[GatewayError], None]
    ) -> AsyncGenerator[Event]:
        """One picture's events; its failure is its own and leaves the others alone."""
        try:
            async with aclosing(self._life.events(call, job.request, drafts=job.partial_images > 0)) as events:
                async for event in events:
                    yield event
        except GatewayError as error:
            log("image_failed", level=30, request_id=call.exchange.request_id, kind=error.kind)
            failed(error)
