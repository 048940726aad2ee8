"""The ASGI application of the data plane: routes from the registry, every answer with a request id, every error in
the dialect of its path."""

import importlib
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Lifespan
from starlette.websockets import WebSocket

from shared.dialects.contract import Dialect
from shared.errors import GatewayError
from shared.gateway.client_kind import speaks_anthropic, speaks_google
from shared.gateway.context import Exchange
from shared.gateway.pipeline import Pipeline, Services
from shared.gateway.registry import MEDIA, ROWS, Row, load
from shared.gateway.responses import json_response
from shared.gateway.settings import Settings
from shared.gateway.telemetry import begin, log, redact, refused

Endpoint = Callable[[Request], Awaitable[Response]]
Action = Callable[[Request, Exchange, Any, str], Awaitable[Response]]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_BRACES = re.compile(r"\{[^}]*\}")
_GOOGLE_PATHS = ("/v1beta/models", "/v1alpha/", "/upload/", "/ws/")
# (endpoints, module, function in it): imported only where served, because each costs the cold start of every function
_ACTION_MAKERS: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"models"}), "model_routes", "model_actions"),
    (frozenset({"messages"}), "counting", "count_actions"),
    (MEDIA, "media_routes", "media_actions"),
    (frozenset({"responses"}), "responses_api", "response_actions"),
    (frozenset({"native"}), "native_routes", "native_actions"),
)
# asked without a key by Claude Code before its first request
_PROBES = ("/", "/api/hello", "/api/event_logging/batch")


def build_app(
    services: Services, endpoints: Collection[str] | None = None, lifespan: Lifespan[Starlette] | None = None
) -> Starlette:
    """Routes of the named endpoints (all where None) and `/health`."""
    actions = _actions(services, endpoints)
    methods = _methods_by_pattern()
    routes: list[BaseRoute] = [Route("/health", _open({"status": "ok"}), methods=["GET"])]
    if endpoints is None or "messages" in endpoints:
        routes += [Route(path, _open({}), methods=["GET", "POST"]) for path in _PROBES]
    routes += [
        Route(
            row.path,
            _endpoint(actions[row.action], services.settings, row, methods[_pattern(row)]),
            methods=list(row.methods if row.shared else _METHODS),
        )
        for row in ROWS
        if endpoints is None or row.endpoint in endpoints
    ]
    if endpoints is None or "responses" in endpoints:
        routes.append(WebSocketRoute("/v1/responses", _no_websocket))
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _unrouted, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    return app


def _actions(services: Services, endpoints: Collection[str] | None) -> Mapping[str, Action]:
    """What the rows of these endpoints name."""
    actions: dict[str, Action] = {"generate": Pipeline(services).serve}
    for served, module, maker in _ACTION_MAKERS:
        if endpoints is None or not served.isdisjoint(endpoints):
            actions |= getattr(importlib.import_module(f"shared.gateway.{module}"), maker)(services)
    if endpoints is None or "files" in endpoints:
        actions |= importlib.import_module("shared.gateway.uploads").file_actions(services, actions)
    return actions


async def _no_websocket(websocket: WebSocket) -> None:
    module = importlib.import_module("shared.gateway.responses_api")
    await websocket.send_denial_response(module.upgrade_refused())


def _open(body: Mapping[str, Any]) -> Endpoint:
    """An answer without a key and without any work."""

    async def answer(request: Request) -> Response:
        return json_response(200, body, {"x-request-id": Exchange.begin(request, 0).shown_id})

    return answer


def _pattern(row: Row) -> str:
    return _BRACES.sub("{}", row.path)


def _methods_by_pattern() -> Mapping[str, tuple[str, ...]]:
    """Every method that some row serves under paths of one form, whatever the names of their parts."""
    found: dict[str, set[str]] = {}
    for row in ROWS:
        found.setdefault(_pattern(row), set()).update(row.methods)
    return {pattern: tuple(sorted(methods)) for pattern, methods in found.items()}


def _endpoint(action: Action, settings: Settings, row: Row, allowed: tuple[str, ...]) -> Endpoint:
    """`allowed` are the methods that a refusal names."""
    load(row.dialect)

    async def serve(request: Request) -> Response:
        exchange = Exchange.begin(request, settings.request_timeout_s)
        invocation = getattr(request.scope.get("aws.context"), "aws_request_id", None) or ""
        begin(exchange.request_id, request.headers.get("traceparent", "")[:60], invocation)
        dialect = load(_spoken(request, row))
        try:
            if _respelled(request, row):
                raise GatewayError("not_found", "Unknown path.")
            if ("GET" if request.method == "HEAD" else request.method) not in row.methods:
                raise GatewayError("method_not_allowed", f"{request.method} is not allowed here.", allow=allowed)
            response = await action(request, exchange, dialect, row.endpoint)
            if "project" in request.path_params:  # free text that authorises nothing, of use to the operator only
                log("addressed", request_id=exchange.request_id, **request.path_params)
        except GatewayError as error:
            response = _refusal(dialect, error, exchange)
            if not exchange.booked:
                refused(error.kind, response.status_code, endpoint=row.endpoint, dialect=row.dialect)
        except Exception as error:
            log("request_failed", level=40, exc=error, request_id=exchange.request_id)
            response = _refusal(dialect, GatewayError("internal", "Internal error."), exchange)
        _identify(response, exchange, dialect)
        if row.endpoint in ("native", "models") and "key" in request.query_params:
            response.headers["cache-control"] = "no-store"  # the address holds a key
        return response

    return serve


def _respelled(request: Request, row: Row) -> bool:
    """A path has one spelling. What stands between its slashes may be encoded where it is the client's own word, a
    slash only in a model's name."""
    raw = request.scope.get("raw_path") or b""
    if "{" not in row.path:
        return b"%" in raw
    return ":path}" not in row.path and b"%2f" in raw.lower()


def _spoken(request: Request, row: Row) -> str:
    """The dialect of an answer: `/v1/models` is one path for three kinds of clients, `/v1/files` for two."""
    if row.action in ("files", "file") and request.method != "POST" and speaks_google(request):
        return "gemini_native"
    if row.endpoint != "models" or row.dialect == "gemini_native":
        return row.dialect
    if speaks_anthropic(request):
        return "anthropic_messages"
    return "gemini_native" if row.dialect == "openai_chat" and speaks_google(request) else row.dialect


def _refusal(dialect: Dialect, error: GatewayError, exchange: Exchange) -> Response:
    error.message = redact(error.message)
    status, body, headers = dialect.render_error(error, exchange.shown_id)
    if error.limits is not None:
        headers = {**dialect.limit_headers(error.limits, exchange.created), **headers}
    if error.retried and error.retry_after is None:  # at one layer only; a wait that is named is the client's
        headers = {**headers, "x-should-retry": "false"}
    return json_response(status, body, headers)


def _identify(response: Response, exchange: Exchange, dialect: Dialect) -> None:
    response.headers["x-request-id"] = exchange.shown_id
    if exchange.shown_id != exchange.request_id:
        response.headers["x-gateway-request-id"] = exchange.request_id
    response.headers.update(dialect.reply_headers(exchange.shown_id, exchange.elapsed_ms))


async def _unrouted(request: Request, error: Exception) -> Response:
    return outside(request, GatewayError("not_found", f"Unknown path: {request.url.path[:200]}"))


async def _unexpected(request: Request, error: Exception) -> Response:
    """What escaped everything else. Starlette logs and re-raises after this answer."""
    return outside(request, GatewayError("internal", "Internal error."))


def outside(request: Request, error: GatewayError) -> Response:
    """An error where no row decides the dialect; OpenAI's shape is what most clients read, and holds the control
    plane's."""
    exchange = Exchange.begin(request, 0)
    anthropic = speaks_anthropic(request) or "/messages" in request.scope["path"]
    google = request.scope["path"].startswith(_GOOGLE_PATHS) or (not anthropic and speaks_google(request))
    dialect = load("gemini_native" if google else "anthropic_messages" if anthropic else "openai_chat")
    response = _refusal(dialect, error, exchange)
    _identify(response, exchange, dialect)
    return response
