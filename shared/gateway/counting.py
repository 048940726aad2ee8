"""Token counts without an answer: neither billed nor counted against a key's rates."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping

from cachetools import LRUCache
from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import CountingDialect, RequestContext
from shared.errors import GatewayError
from shared.gateway.budgets import input_bound
from shared.gateway.context import Exchange
from shared.gateway.input_bounds import refuse_routing
from shared.gateway.pipeline import Services
from shared.gateway.request_body import read_body
from shared.gateway.request_media import RequestMedia, counted
from shared.gateway.responses import json_response
from shared.gateway.signature_keeper import SignatureKeeper
from shared.gateway.telemetry import log
from shared.gemini.catalog import ResolvedModel
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import decode_object, encode

_REMEMBERED = 2_000
_ESTIMATED = frozenset({"upstream_rate_limited", "upstream_quota", "upstream_timeout", "upstream_overloaded"})


class Counter:
    """Counts with the same translator as the answers; agents ask in bursts, so equal requests are asked once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: LRUCache[bytes, int] = LRUCache(_REMEMBERED)
        self._asked: dict[bytes, asyncio.Task[int]] = {}  # what the upstream is counting right now

    async def serve(self, request: Request, exchange: Exchange, dialect: CountingDialect, endpoint: str) -> Response:
        services, settings = self._services, self._services.settings
        key = await services.authenticator.principal(request, exchange.source_ip, endpoint)
        body = decode_object(await read_body(request, settings.max_body_bytes))
        refuse_routing(body)
        model = services.model(dialect.requested_model(body), key, exchange)
        keeper = SignatureKeeper(services.signatures, key.acct, model, exchange.created)
        signatures = await keeper.recall(dialect.signature_keys(body))
        context = RequestContext(model=model, signatures=signatures, strict=settings.strict_parameters)
        asked = dialect.count_request(body, context)
        media = services.media(key, body, asked, exchange)
        tokens = await self.count(asked, model, exchange, media)
        return json_response(200, dialect.count_body(tokens))

    async def count(
        self, body: GenerateContentRequest, model: ResolvedModel, exchange: Exchange, media: RequestMedia | None = None
    ) -> int:
        """An estimate where the upstream is too busy to count. What refers to an account's files is asked by itself."""
        if media is not None:
            return await counted(self._services.upstream, body, model, exchange, media)
        place = hashlib.sha256(model.id.encode() + encode(body)).digest()
        known = self._known.get(place)
        if known is not None:
            return known
        try:
            return await self._shared(place, body, model, exchange)
        except GatewayError as error:
            if error.kind not in _ESTIMATED:
                raise
            log("count_estimated", request_id=exchange.request_id, kind=error.kind)
            return max(1, input_bound(body) // 2)

    async def _shared(
        self, place: bytes, body: GenerateContentRequest, model: ResolvedModel, exchange: Exchange
    ) -> int:
        """One call of the upstream for all that ask the same at the same time; a client that leaves does not end it."""
        task = self._asked.get(place)
        if task is None:
            task = asyncio.ensure_future(self._ask(place, body, model, exchange))
            self._asked[place] = task
            task.add_done_callback(lambda _: self._asked.pop(place, None))
        return await asyncio.shield(task)

    async def _ask(self, place: bytes, body: GenerateContentRequest, model: ResolvedModel, exchange: Exchange) -> int:
        """Known before the call is over: who asks in between finds the one or the other."""
        tokens = self._known[place] = await counted(self._services.upstream, body, model, exchange, None)
        return tokens


def count_actions(services: Services) -> Mapping[str, Callable[..., Awaitable[Response]]]:
    return {"count": Counter(services).serve}
