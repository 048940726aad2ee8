"""What every request of the native dialect goes through: who asks, for which model, admitted and settled."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec import Struct, field
from starlette.requests import Request
from starlette.responses import Response

from shared.dialects import gemini_native
from shared.dialects.gemini_native.framing import JSON_TYPE
from shared.dialects.gemini_native.query import Options, read_options
from shared.errors import GatewayError
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange
from shared.gateway.google_principal import google_principal
from shared.gateway.idempotency import adopt
from shared.gateway.input_bounds import refuse_routing
from shared.gateway.metering import Meter, settled_on_failure, usd
from shared.gateway.pipeline import Services
from shared.gateway.request_body import read_body
from shared.gateway.responses import Settle, Whole, raw_headers
from shared.gemini.catalog import ResolvedModel
from shared.json_codec import decode_object
from shared.stores.protocols import KeyRecord


class Asked(Struct, frozen=True):
    """A request of a known key, read. `method` is the part of the path behind the model."""

    key: KeyRecord
    model: ResolvedModel
    method: str
    body: Mapping[str, Any]
    options: Options
    exchange: Exchange


class NativeAnswer(Struct):
    """One admitted request on its way."""

    asked: Asked
    meter: Meter
    warnings: list[str] = field(default_factory=list)

    def headers(self, notes: Sequence[str] = ()) -> dict[str, str]:
        headers = {"x-gateway-model": self.asked.exchange.served or self.asked.model.id}
        if self.warnings or notes:
            headers["x-gateway-warnings"] = ",".join(dict.fromkeys([*self.warnings, *notes]))
        return headers

    def respond(self, content: bytes, notes: Sequence[str] = ()) -> Response:
        """A whole answer; the row follows its last byte."""
        headers = self.headers(notes) | {"x-gateway-cost-usd": usd(self.meter.cost())}
        return json_bytes(content, headers, self.meter.settle)


class NativeLife:
    """The steps; each raises GatewayError."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def principal(self, request: Request, exchange: Exchange, endpoint: str) -> KeyRecord:
        return await google_principal(self.services, request, exchange, endpoint)

    async def ask(self, request: Request, exchange: Exchange, endpoint: str) -> Asked:
        key = await self.principal(request, exchange, endpoint)
        name, _, method = request.path_params["name"].rpartition(":")
        if not name:
            raise GatewayError("not_found", "The path has to end in a model and a method, such as `:generateContent`.")
        options = read_options(request.query_params) if request.scope["query_string"] else Options()
        raw = await read_body(request, self.services.settings.max_body_bytes)
        adopt(request, key, exchange, raw)
        body = decode_object(raw)
        refuse_routing(body)
        return Asked(key, self.model(name, key, exchange), method, body, options, exchange)

    def model(self, name: str, key: KeyRecord, exchange: Exchange) -> ResolvedModel:
        return self.services.model(name.removeprefix("models/"), key, exchange)

    async def admit(self, asked: Asked, reserve: Estimate, endpoint: str, *, stream: bool = False) -> NativeAnswer:
        services = self.services
        meter = Meter(
            services.ledger,
            services.queue,
            services.settings,
            asked.key,
            asked.exchange,
            asked.model,
            reserve,
            dialect=gemini_native.NAME,
            endpoint=endpoint,
            stream=stream,
        )
        await meter.admit()
        return NativeAnswer(asked, meter)

    def settled(self, answer: NativeAnswer) -> AbstractAsyncContextManager[None]:
        """Whatever ends the block early gives the reservation back and pays what was used."""
        return settled_on_failure(answer.meter, gemini_native.render_error)


def json_bytes(
    content: bytes, headers: Mapping[str, str] | None = None, after: Settle | None = None, status: int = 200
) -> Response:
    sent = raw_headers(headers or {})
    sent += ((b"content-type", JSON_TYPE.encode()), (b"content-length", b"%d" % len(content)))
    return Whole(status, content, sent, after)
