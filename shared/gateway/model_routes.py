"""GET /v1/models and /v1/models/{id}: what a key may use, for OpenAI's, Anthropic's and Google's clients."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.gemini_native.model_list import page as google_page
from shared.dialects.gemini_native.model_list import resource
from shared.dialects.model_list import DISCOVERY_PREFIX, discovery_rows, page, row
from shared.gateway import auth
from shared.gateway.client_kind import speaks_anthropic
from shared.gateway.context import Exchange
from shared.gateway.google_principal import google_principal
from shared.gateway.pipeline import Services
from shared.gateway.responses import json_response
from shared.gemini.catalog import listed_models, model_info, resolve
from shared.gemini.pricing import price_of
from shared.stores.protocols import KeyRecord


class ModelRoutes:
    """Lists are filtered to the key's scope; a model outside it is 404 like an unknown one."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        key = await self._principal(request, exchange, dialect, endpoint)
        models = [model for model in listed_models(exchange.today) if auth.model_allowed(key, [model.id])]
        if dialect.NAME == "gemini_native":
            return json_response(200, google_page([resource(model) for model in models], dict(request.query_params)))
        rows = [row(model) for model in models]
        if speaks_anthropic(request):
            rows += discovery_rows(models)
        return json_response(200, page(rows, dict(request.query_params)))

    async def one(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        key = await self._principal(request, exchange, dialect, endpoint)
        name = request.path_params["model"]
        resolved = resolve(name, exchange.today, overrides=self._services.settings.model_aliases)
        auth.scoped(key, resolved)
        price_of(resolved.id, exchange.today, resolved.effective)  # what has none is not served either
        shown = name if name.startswith(DISCOVERY_PREFIX) or resolved.aliased else resolved.id
        if dialect.NAME == "gemini_native":
            return json_response(200, resource(model_info(resolved.id), shown.removeprefix("models/")))
        return json_response(200, row(model_info(resolved.id), shown))

    async def _principal(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> KeyRecord:
        if dialect.NAME == "gemini_native":
            return await google_principal(self._services, request, exchange, endpoint)
        return await self._services.authenticator.principal(request, exchange.source_ip, endpoint)


def model_actions(services: Services) -> Mapping[str, Callable[..., Awaitable[Response]]]:
    routes = ModelRoutes(services)
    return {"list_models": routes.list, "get_model": routes.one}
