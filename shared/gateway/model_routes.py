"""GET /v1/models and /v1/models/{id}: what a key may use, for OpenAI's and Anthropic's clients."""

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.model_list import DISCOVERY_PREFIX, discovery_rows, page, row
from shared.gateway import auth
from shared.gateway.context import Exchange
from shared.gateway.pipeline import Services
from shared.gateway.responses import json_response
from shared.gemini.catalog import listed_models, model_info, resolve


class ModelRoutes:
    """Lists are filtered to the key's scope; a model outside it is 404 like an unknown one."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        models = [model for model in listed_models(exchange.today) if auth.model_allowed(key, [model.id])]
        rows = [row(model) for model in models]
        if speaks_anthropic(request):
            rows += discovery_rows(models)
        return json_response(200, page(rows, dict(request.query_params)))

    async def one(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        name = request.path_params["model"]
        resolved = resolve(name, exchange.today, overrides=self._services.settings.model_aliases)
        auth.scoped(key, resolved)
        shown = name if name.startswith(DISCOVERY_PREFIX) or resolved.aliased else resolved.id
        return json_response(200, row(model_info(resolved.id), shown))


def speaks_anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers
