"""cachedContents: prompts that the upstream keeps for an account, billed once as input when they are made."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.gemini_native.canonical import canonical
from shared.dialects.gemini_native.query import read_options
from shared.dialects.gemini_native.reading import parsed
from shared.dialects.gemini_native.request import owned
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.gateway.budgets import estimate
from shared.gateway.context import Exchange
from shared.gateway.idempotency import adopt
from shared.gateway.input_bounds import check_tools, refuse_routing
from shared.gateway.native_life import Asked, NativeLife, json_bytes
from shared.gateway.native_links import media_of
from shared.gateway.native_objects import OwnedResources, Owners, unknown
from shared.gateway.native_upstream import NativeUpstream, passed
from shared.gateway.request_body import read_body
from shared.gemini.client import RelayCall
from shared.gemini.usage import read_usage
from shared.json_codec import decode_object, encode
from shared.stores.protocols import OwnedObject

_KEPT_S = 30 * 24 * 3600  # the record; the upstream decides when the content itself expires


class NativeCaches:
    def __init__(self, life: NativeLife, owners: Owners, upstream: NativeUpstream) -> None:
        self._life = life
        self._owners = owners
        self._upstream = upstream
        self._resources = OwnedResources("cachedContents", owners, upstream)

    async def collection(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        if request.method == "POST":
            return await self._create(request, exchange, endpoint)
        key = await self._life.principal(request, exchange, endpoint)
        options = read_options(request.query_params)
        return json_bytes(written(await self._resources.page(key.acct, request.query_params, exchange), options))

    async def one(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """GET, DELETE, and PATCH of `ttl` or `expireTime`."""
        key = await self._life.principal(request, exchange, endpoint)
        options = read_options(request.query_params)
        name = request.path_params["cache"]
        if not name.replace("-", "").replace("_", "").isalnum():
            raise unknown("cachedContents/")
        body: bytes | None = None
        query: tuple[tuple[str, str], ...] = ()
        if request.method == "PATCH":
            body = encode(_read(await self._body(request)))
            query = tuple((n, v) for n, v in request.query_params.items() if n == "updateMask")
        content = await self._resources.call(key.acct, name, exchange, method=request.method, body=body, query=query)
        return json_bytes(passed(content, options))

    async def _create(self, request: Request, exchange: Exchange, endpoint: str) -> Response:
        key = await self._life.principal(request, exchange, endpoint)
        raw = await self._body(request)
        adopt(request, key, exchange, raw)
        body = _read(raw)
        if not isinstance(body.get("model"), str):
            raise GatewayError(
                "invalid_request", "* CreateCachedContentRequest.model: model is required", param="model"
            )
        model = self._life.model(body["model"], key, exchange)
        asked = Asked(key, model, "cachedContents", body, read_options(request.query_params), exchange)
        credential_id = await self._owners.credential(key.acct, owned(body))
        request_like: Any = {name: body[name] for name in ("contents", "systemInstruction", "tools") if name in body}
        check_tools(request_like, key, schemas=True)  # what is kept here is used by later requests that do not show it
        media = media_of(self._life.services, key, body, request_like, exchange)
        reserve = estimate(request_like, model, exchange.today, choices=1, default_output=0)
        answer = await self._life.admit(asked, reserve, endpoint)
        if model.aliased:
            answer.warnings.append(f"model:{model.id}")
        async with self._life.settled(answer):
            answer.meter.before_upstream()
            outcome = answer.meter.outcome
            outcome.model_version = model.effective  # which the upstream bills; the reply names none
            if media is not None:
                body |= await media.ready(request_like, model.id, self._upstream)
                credential_id = media.credential_id or credential_id
            call = RelayCall("cachedContents", encode({**body, "model": f"models/{model.id}"}))
            content, _, maker = await self._upstream.fetch(call, model.id, exchange, credential_id, answer.meter)
            made = parsed(content)
            outcome.calls[1] = read_usage(_usage(made))
            item = OwnedObject(str(made.get("name")), maker, exchange.created + _KEPT_S)
            await self._resources.own(key.acct, item, exchange)
            outcome.finish_reason = "STOP"
            return answer.respond(passed(content, asked.options))

    async def _body(self, request: Request) -> bytes:
        return await read_body(request, self._life.services.settings.max_body_bytes)


def _read(raw: bytes) -> dict[str, Any]:
    body = decode_object(raw)
    refuse_routing(body)
    return canonical("CachedContent", body)


def _usage(made: Mapping[str, Any]) -> Mapping[str, Any]:
    usage = made.get("usageMetadata")
    total = usage.get("totalTokenCount", 0) if isinstance(usage, Mapping) else 0
    return {"promptTokenCount": total}
