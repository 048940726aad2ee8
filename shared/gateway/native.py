"""Native generateContent and its neighbours: the bytes pass through, the gateway reads along.

What the client gets is what the upstream wrote, object by object. Re-encoded are only chunks that the gateway has to
change: a partial response asked for by `fields`, the hops of a long decode, the vectors of a model that is gone.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.gemini_native.elements import Element, Elements, chunk_of
from shared.dialects.gemini_native.errors import error_body, render_error, unimplemented
from shared.dialects.gemini_native.framing import ArrayWriter, EventWriter, Writer, compact, pretty
from shared.dialects.gemini_native.masks import apply_mask
from shared.dialects.gemini_native.query import Options
from shared.dialects.gemini_native.request import read_count, read_generate
from shared.errors import GatewayError
from shared.gateway.budgets import estimate
from shared.gateway.context import Exchange, in_time
from shared.gateway.input_bounds import check_tools
from shared.gateway.native_call import NativeCall
from shared.gateway.native_candidates import candidates
from shared.gateway.native_life import Asked, NativeAnswer, NativeLife, json_bytes
from shared.gateway.native_links import media_of
from shared.gateway.native_media import NativeMedia
from shared.gateway.native_objects import Owners
from shared.gateway.native_upstream import NativeUpstream, passed
from shared.gateway.pipeline import Services
from shared.gateway.responses import EventStream
from shared.gemini.catalog import not_found

# what exists at Google and cannot exist here, or not yet
_ELSEWHERE = frozenset(
    {"predictLongRunning", "batchGenerateContent", "asyncBatchEmbedContent", "bidiGenerateContent", "generateAnswer"}
)
# Google's Python SDK follows long decodes itself from this version on
_PYTHON_SDK = re.compile(r"google-genai-sdk/(\d{1,4})\.(\d{1,4})\.(\d{1,4})\S* gl-python/")
_CONTINUING_SINCE = (2, 30, 1)

Answer = Callable[[Asked, str], Awaitable[Response]]


class Native:
    """Serves `/{version}/models/{model}:{method}`."""

    def __init__(self, services: Services, owners: Owners) -> None:
        self._life = NativeLife(services)
        self._settings = services.settings
        self._upstream = NativeUpstream.beside(services.upstream)
        self._owners = owners
        media = NativeMedia(self._life, self._upstream, owners)
        self._methods: Mapping[str, Answer] = {
            "generateContent": self._generate,
            "countTokens": self._count,
            "embedContent": media.embed,
            "batchEmbedContents": media.batch_embed,
            "predict": media.predict,
        }

    async def serve(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """A failure of a streaming method without `alt=sse` is an array with one error, as its answer would be."""
        method = request.path_params["name"].rpartition(":")[2]
        try:
            response = await self._serve(request, exchange, endpoint, method)
        except GatewayError as error:
            if method != "streamGenerateContent" or request.query_params.get("alt") == "sse":
                raise
            status, body, headers = render_error(error, exchange.shown_id)
            response = json_bytes(b"[" + pretty(body) + b"\n]", headers, status=status)
        return response

    async def _serve(self, request: Request, exchange: Exchange, endpoint: str, method: str) -> Response:
        asked = await self._life.ask(request, exchange, endpoint)
        if method == "streamGenerateContent":
            return await self._stream(asked, endpoint, continues=_continues(request))
        if method in self._methods:
            return await self._methods[method](asked, endpoint)
        if method in _ELSEWHERE:
            raise unimplemented(f"The method {method}")
        raise not_found(f"{asked.model.requested}:{method}")

    async def _generate(self, asked: Asked, endpoint: str) -> Response:
        answer, call, choices = await self._admitted(asked, endpoint, stream=False)
        async with self._life.settled(answer), in_time(asked.exchange):
            bursts = candidates(self._upstream, call, choices, asked.model, asked.exchange, answer.meter)
            async with aclosing(bursts):
                ((element,),) = [burst async for burst in bursts]  # to the end: its reason stands in the row
            content = _content(element, asked.options, compactly=False, line_end=b"\n")
            return answer.respond(content, call.notes)

    async def _stream(self, asked: Asked, endpoint: str, *, continues: bool) -> Response:
        answer, call, choices = await self._admitted(asked, endpoint, stream=True)
        call.join = call.join and (choices > 1 or not continues)  # nobody can follow several by one token
        exchange, options = asked.exchange, asked.options
        exchange.streamed = True
        writer: Writer = EventWriter() if options.sse else ArrayWriter()

        async def frames() -> AsyncGenerator[bytes]:
            bursts = candidates(self._upstream, call, choices, asked.model, exchange, answer.meter)
            async with aclosing(bursts):
                async for burst in bursts:
                    yield writer.elements(_contents(burst, options))
            if tail := writer.close():
                yield tail

        def failed(error: GatewayError) -> bytes:
            answer.meter.outcome.fail(error)
            return writer.fail(error_body(error, exchange.shown_id))

        async with self._life.settled(answer):
            stream = EventStream(
                frames(),
                headers={"content-type": writer.content_type},
                heartbeat=writer.heartbeat,
                heartbeat_s=self._settings.heartbeat_s,
                deadline_s=lambda: exchange.remaining_s,
                failed=failed,
                after=answer.meter.settle,
                opening=writer.heartbeat,
            )
            await stream.first(self._settings.commit_after_s)
            stream.headers.update(answer.headers(call.notes))
            return stream

    async def _admitted(self, asked: Asked, endpoint: str, *, stream: bool) -> tuple[NativeAnswer, NativeCall, int]:
        """The last is the number of candidates."""
        settings = self._settings
        native = read_generate(
            asked.body,
            asked.model,
            max_output_tokens=asked.key.max_output_tokens,
            safety_off=settings.safety_off,
        )
        check_tools(native.request, asked.key, schemas=True)
        media = media_of(self._life.services, asked.key, asked.body, native.request, asked.exchange)
        credential_id = await self._owners.credential(asked.key.acct, native.owned)
        reserve = estimate(
            native.request,
            asked.model,
            asked.exchange.today,
            choices=native.choices,
            default_output=settings.default_output_reservation,
        )
        answer = await self._life.admit(asked, reserve, endpoint, stream=stream)
        answer.warnings += native.warnings
        answer.meter.before_upstream()
        join = settings.max_hops > 0 and not native.continues
        call = NativeCall(
            native.request, stream, asked.options.sse, asked.options.upstream, join, credential_id, native.echo_prefix
        )
        call.media = media
        return answer, call, native.choices

    async def _count(self, asked: Asked, endpoint: str) -> Response:
        """Neither billed nor counted against a key's rates. Links are left to the upstream: counting is free, and
        fetching is not."""
        body, owned = read_count(asked.body, asked.model)
        credential_id = await self._owners.credential(asked.key.acct, owned)
        asked_for: Any = body.get("generateContentRequest") or {"contents": body.get("contents", [])}
        media = media_of(self._life.services, asked.key, asked.body, asked_for, asked.exchange)
        if media is not None:
            ready = await media.ready(asked_for, asked.model.id, self._upstream, fetch=False)
            body |= {"generateContentRequest": ready} if "generateContentRequest" in body else ready
            credential_id = media.credential_id or credential_id

        def for_model(model_id: str) -> Mapping[str, object]:
            inner = body.get("generateContentRequest")
            return {**body, "generateContentRequest": {**inner, "model": f"models/{model_id}"}} if inner else body

        content = await self._upstream.plain(
            "countTokens",
            for_model,
            asked.model,
            asked.exchange,
            query=asked.options.upstream,
            credential_id=credential_id,
        )
        content = passed(content, asked.options)
        return json_bytes(content, {"x-gateway-model": asked.exchange.served or asked.model.id})


def _contents(burst: Elements, options: Options) -> list[bytes]:
    whole, sse = options.mask is None, options.sse
    return [one if whole and isinstance(one, bytes) else _content(one, options, compactly=sse) for one in burst]


def _content(element: Element, options: Options, *, compactly: bool, line_end: bytes = b"") -> bytes:
    if options.mask is None and isinstance(element, bytes):
        return element
    chunk = chunk_of(element)
    if options.mask is not None:
        chunk = apply_mask(options.mask, chunk)
    return compact(chunk) if compactly or not options.pretty else pretty(chunk) + line_end


def _continues(request: Request) -> bool:
    """Whether the client is one that follows long decodes itself: it then gets a fresh function for every hop."""
    found = _PYTHON_SDK.match(request.headers.get("x-goog-api-client", ""))
    return found is not None and tuple(int(number) for number in found.groups()) >= _CONTINUING_SINCE
