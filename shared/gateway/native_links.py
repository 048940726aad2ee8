"""Links and files of a native request: judged like everybody's, and inlined where the upstream cannot fetch them."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from shared.dialects.gemini_native.elements import Elements
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_call import NativeCall
from shared.gateway.native_upstream import NativeUpstream
from shared.gateway.pipeline import Services
from shared.gateway.request_media import RequestMedia
from shared.gemini.catalog import ResolvedModel
from shared.gemini.file_links import KEPT_FILE, file_links, is_public_link, path_of, upstream_file
from shared.gemini.public_urls import is_youtube, refuse_unless_public
from shared.gemini.types import GenerateContentRequest
from shared.stores.protocols import KeyRecord

_KNOWN_SCHEMES = ("https", "http", "gs", "s3")


def media_of(
    services: Services, key: KeyRecord, body: Mapping[str, Any], request: GenerateContentRequest, exchange: Exchange
) -> RequestMedia | None:
    """What the gateway has to look after; None where everything is the upstream's own. Raises `url_not_allowed` for a
    link that must not be handed on."""
    ours = False
    for file in file_links(request):
        uri = file["fileUri"]
        scheme, separator, _ = uri.partition(":")
        if upstream_file(uri) or is_youtube(uri):
            continue
        if separator and scheme.lower() not in _KNOWN_SCHEMES:
            message = "Only links by https, and files that are kept here or at Google, are allowed."
            raise GatewayError("url_not_allowed", message, param=path_of(body, uri))
        if is_public_link(uri):
            refuse_unless_public(uri, path_of(body, uri))
        ours = ours or is_public_link(uri) or scheme == "s3" or KEPT_FILE.fullmatch(uri) is not None
    return services.media(key, body, request, exchange) if ours else None


def relayed(
    upstream: NativeUpstream, call: NativeCall, model: ResolvedModel, exchange: Exchange, meter: Meter
) -> AsyncGenerator[Elements]:
    """`NativeUpstream.relay` with what the request refers to made ready."""
    if call.media is None:
        return upstream.relay(call, model, exchange, meter)
    return _with_media(upstream, call, call.media, model, exchange, meter)


async def _with_media(
    upstream: NativeUpstream,
    call: NativeCall,
    media: RequestMedia,
    model: ResolvedModel,
    exchange: Exchange,
    meter: Meter,
) -> AsyncGenerator[Elements]:
    """Once more with its links inlined where the upstream could not fetch them and has said nothing else yet."""
    begun = False
    call.request = await media.ready(call.request, model.id, upstream)
    call.credential_id = media.credential_id or call.credential_id
    try:
        async with aclosing(upstream.relay(call, model, exchange, meter)) as bursts:
            async for burst in bursts:
                begun = True
                yield burst
        return
    except GatewayError as error:
        inlined = await media.inlined(call.request) if not begun and error.reason == "url_fetch" else None
        if inlined is None:
            raise
    call.request = inlined
    async with aclosing(upstream.relay(call, model, exchange, meter)) as bursts:
        async for burst in bursts:
            yield burst
