"""The ASGI application of the data plane: routes from the registry, every answer with a request id, every error in
the dialect of its path."""

from collections.abc import Awaitable, Callable, Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from shared.dialects.contract import Dialect
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.pipeline import Pipeline, Services
from shared.gateway.registry import ROWS, Row, load
from shared.gateway.responses import json_response
from shared.gateway.settings import Settings
from shared.gateway.telemetry import log

Endpoint = Callable[[Request], Awaitable[Response]]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def build_app(
    services: Services, endpoints: Collection[str] | None = None, lifespan: Lifespan[Starlette] | None = None
) -> Starlette:
    """Routes of the named endpoints (all where None) and `/health`."""
    pipeline = Pipeline(services)
    routes = [Route("/health", _health, methods=["GET"])]
    routes += [
        Route(row.path, _endpoint(pipeline, services.settings, row), methods=list(_METHODS))
        for row in ROWS
        if endpoints is None or row.endpoint in endpoints
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _unrouted, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    return app


async def _health(request: Request) -> Response:
    exchange = Exchange.begin(request, 0)
    return json_response(200, {"status": "ok"}, {"x-request-id": exchange.shown_id})


def _endpoint(pipeline: Pipeline, settings: Settings, row: Row) -> Endpoint:
    dialect = load(row.dialect)

    async def serve(request: Request) -> Response:
        exchange = Exchange.begin(request, settings.request_timeout_s)
        try:
            if request.method not in row.methods:
                raise GatewayError("method_not_allowed", f"{request.method} is not allowed here.", allow=row.methods)
            response = await pipeline.serve(request, exchange, dialect, row.endpoint)
        except GatewayError as error:
            response = _refusal(dialect, error, exchange)
        except Exception as error:
            log("request_failed", level=40, exc=error, request_id=exchange.request_id)
            response = _refusal(dialect, GatewayError("internal", "Internal error."), exchange)
        _identify(response, exchange, dialect)
        return response

    return serve


def _refusal(dialect: Dialect, error: GatewayError, exchange: Exchange) -> Response:
    status, body, headers = dialect.render_error(error, exchange.shown_id)
    return json_response(status, body, headers)


def _identify(response: Response, exchange: Exchange, dialect: Dialect) -> None:
    response.headers["x-request-id"] = exchange.shown_id
    if exchange.shown_id != exchange.request_id:
        response.headers["x-gateway-request-id"] = exchange.request_id
    response.headers.update(dialect.reply_headers(exchange.shown_id, exchange.elapsed_ms))


async def _unrouted(request: Request, error: Exception) -> Response:
    """A path that no row serves; OpenAI's shape is what most clients read."""
    exchange = Exchange.begin(request, 0)
    dialect = load("openai_chat")
    response = _refusal(dialect, GatewayError("not_found", f"Unknown path: {request.url.path[:200]}"), exchange)
    _identify(response, exchange, dialect)
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    """What escaped everything else. Starlette logs and re-raises after this answer."""
    exchange = Exchange.begin(request, 0)
    dialect = load("openai_chat")
    response = _refusal(dialect, GatewayError("internal", "Internal error."), exchange)
    _identify(response, exchange, dialect)
    return response
