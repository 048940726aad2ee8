"""The ASGI application of the data plane: routes from the registry, every answer with a request id, every error in
the dialect of its path."""

import importlib
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from starlette.convertors import Convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute, compile_path
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send
from starlette.websockets import WebSocket

from shared.dialects.contract import Dialect
from shared.errors import GatewayError
from shared.gateway.client_kind import speaks_anthropic, speaks_google
from shared.gateway.context import Exchange
from shared.gateway.pipeline import Pipeline, Services
from shared.gateway.registry import MEDIA, ROWS, Row, load
from shared.gateway.request_headers import header
from shared.gateway.responses import json_response, raw_headers
from shared.gateway.settings import Settings
from shared.gateway.telemetry import begin, log, redact, refused
from shared.stores.protocols import StoreUnavailable

Action = Callable[[Request, Exchange, Any, str], Awaitable[Response]]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_GOOGLE_PATHS = ("/v1beta/", "/v1alpha/", "/upload/", "/ws/")
# (endpoints, module, function in it): imported only where served, because each costs the cold start of every function
_ACTION_MAKERS: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"models"}), "model_routes", "model_actions"),
    (frozenset({"messages"}), "counting", "count_actions"),
    (MEDIA, "media_routes", "media_actions"),
    (frozenset({"responses"}), "responses_api", "response_actions"),
    (frozenset({"native"}), "native_routes", "native_actions"),
)
_BATCHES = ("/v1/messages/batches", "/v1/v1/messages/batches")
_NO_BATCHES = "Message batches are not served: send each of their requests to /v1/messages."
# asked without a key by Claude Code before its first request
_PROBES = ("/", "/api/hello", "/api/event_logging/batch")


class Way(Route):
    """Starlette's route to an ASGI application, without what it finds out about functions. What it makes of its path is
    made when a path is first compared with it: some functions have dozens, and few of them ever meet a request."""

    methods: set[str]

    def __init__(self, path: str, app: ASGIApp, methods: Collection[str]) -> None:
        self.path = path
        self.endpoint = self.app = app
        self.name = path
        self.include_in_schema = False
        self.methods = {*methods, "HEAD"} if "GET" in methods else set(methods)

    @cached_property
    def path_regex(self) -> re.Pattern[str]:  # type: ignore[override]  # made once, never set
        return compile_path(self.path)[0]

    @cached_property
    def param_convertors(self) -> dict[str, Convertor[Any]]:  # type: ignore[override]
        return compile_path(self.path)[2]


class DataPlane(Router):
    """Starlette's router, but for how a request comes to its endpoint: a path without parameters is looked up and not
    searched. Between server and endpoint stands no middleware that every piece of an answer would pass and every cold
    start import. Endpoints answer their own errors.
    """

    def __init__(self, routes: Sequence[BaseRoute], lifespan: Lifespan[Any] | None) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        served = [route for route in routes if isinstance(route, Way)]
        self._exact = {route.path: route for route in reversed(served) if "{" not in route.path}
        self._patterns = [(route.path.partition("{")[0], route) for route in served if "{" in route.path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app_of(scope)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _app_of(self, scope: Scope) -> ASGIApp:
        path, method = scope["path"], scope["method"]
        route = self._exact.get(path)
        if route is not None:
            return route.app if method in route.methods else _unrouted
        for start, route in self._patterns:
            found = route.path_regex.match(path) if path.startswith(start) and method in route.methods else None
            if found is not None:
                scope["path_params"] = found.groupdict()  # texts all, which no convertor changes
                return route.app
        return _unrouted


def build_app(
    services: Services, endpoints: Collection[str] | None = None, lifespan: Lifespan[Any] | None = None
) -> DataPlane:
    """Routes of the named endpoints (all where None) and `/health`."""
    actions = _actions(services, endpoints)
    routes: list[BaseRoute] = [Way("/health", Open({"status": "ok"}), ["GET"])]
    if endpoints is None or "messages" in endpoints:
        routes += [Way(path, Open({}), ["GET", "POST"]) for path in _PROBES]
    routes += [
        Way(
            row.path,
            Endpoint(actions[row.action], services.settings, row),
            row.methods if row.shared else _METHODS,
        )
        for row in ROWS
        if endpoints is None or row.endpoint in endpoints
    ]
    if endpoints is None or "responses" in endpoints:
        routes.append(WebSocketRoute("/v1/responses", _no_websocket))
    return DataPlane(routes, lifespan)


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


class Open:
    """An answer without a key and without any work."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = Exchange.begin(Request(scope), 0).shown_id
        await json_response(200, self._body, {"x-request-id": request_id})(scope, receive, send)


def _pattern(row: Row) -> str:
    return re.sub(r"\{[^}]*\}", "{}", row.path)


def _allowed(row: Row) -> tuple[str, ...]:
    """Every method that some row serves under paths of this one's form, whatever the names of their parts."""
    pattern = _pattern(row)
    return tuple(sorted({method for other in ROWS if _pattern(other) == pattern for method in other.methods}))


class Endpoint:
    """The ASGI application of one row."""

    def __init__(self, action: Action, settings: Settings, row: Row) -> None:
        self._action = action
        self._timeout_s = settings.request_timeout_s
        self._row = row
        self._methods = frozenset(row.methods) | ({"HEAD"} if "GET" in row.methods else frozenset())
        self._dialect = load(row.dialect)
        # kinds of clients share the path
        self._of_several = row.action in ("files", "file", "native_elsewhere") or row.endpoint == "models"
        self._query_key = row.endpoint in ("native", "models")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request)
        except Exception:  # not even an error could be rendered
            await outside(request, GatewayError("internal", "Internal error."))(scope, receive, send)
            raise
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        row = self._row
        exchange = Exchange.begin(request, self._timeout_s)
        invocation = getattr(request.scope.get("aws.context"), "aws_request_id", None) or ""
        begin(exchange.request_id, header(request, b"traceparent")[:60], invocation)
        dialect = load(_spoken(request, row)) if self._of_several else self._dialect
        try:
            if _respelled(request, row):
                raise GatewayError("not_found", "Unknown path.")
            if request.method not in self._methods:
                raise GatewayError("method_not_allowed", f"{request.method} is not allowed here.", allow=_allowed(row))
            response = await self._action(request, exchange, dialect, row.endpoint)
            if "project" in request.path_params:  # free text that authorises nothing, of use to the operator only
                log("addressed", request_id=exchange.request_id, **request.path_params)
        except GatewayError as error:
            response = _refusal(dialect, error, exchange)
            if isinstance(error.__cause__, StoreUnavailable):  # the client is told nothing that would help an operator
                log("store_unavailable", level=40, error=str(error.__cause__), request_id=exchange.request_id)
            if not exchange.booked:
                refused(error.kind, response.status_code, endpoint=row.endpoint, dialect=row.dialect)
        except Exception as error:
            log("request_failed", level=40, exc=error, request_id=exchange.request_id)
            response = _refusal(dialect, GatewayError("internal", "Internal error."), exchange)
        _identify(response, exchange, dialect)
        if self._query_key and request.scope["query_string"] and "key" in request.query_params:
            response.headers["cache-control"] = "no-store"  # the address holds a key
        return response


def _respelled(request: Request, row: Row) -> bool:
    """A path has one spelling. What stands between its slashes may be encoded where it is the client's own word, a
    slash only in and before a model's name."""
    raw = request.scope.get("raw_path") or b""
    if b"%" not in raw:
        return False
    if ":path}" in row.path:
        return not raw.startswith(row.path.partition("/{")[0].encode())
    words = zip(row.path.encode().split(b"/"), raw.split(b"/"), strict=False)
    return b"%2f" in raw.lower() or any(own != given for own, given in words if not own.startswith(b"{"))


def _spoken(request: Request, row: Row) -> str:
    """The dialect of an answer: `/v1/models` and `/v1/files` are each one path for three kinds of clients. What Google
    keeps elsewhere stands under v1 beside what OpenAI does, such as `/v1/batches`."""
    if row.action in ("files", "file"):
        if speaks_anthropic(request):
            return "anthropic_messages"
        if request.method != "POST" and speaks_google(request):
            return "gemini_native"
    if row.action == "native_elsewhere" and row.path.startswith("/v1/") and not speaks_google(request):
        return "anthropic_messages" if speaks_anthropic(request) else "openai_chat"
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
    """Adds what no action has said."""
    headers = {"x-request-id": exchange.shown_id}
    if exchange.shown_id != exchange.request_id:
        headers["x-gateway-request-id"] = exchange.request_id
    headers |= dialect.reply_headers(exchange.shown_id, exchange.elapsed_ms)
    response.raw_headers += raw_headers(headers)


async def _unrouted(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    path = request.url.path
    said = _NO_BATCHES if path.startswith(_BATCHES) else f"Unknown path: {path[:200]}"
    await outside(request, GatewayError("not_found", said))(scope, receive, send)


def outside(request: Request, error: GatewayError) -> Response:
    """An error where no row decides the dialect; OpenAI's shape is what most clients read, and holds the control
    plane's."""
    exchange = Exchange.begin(request, 0)
    path = request.scope["path"]
    anthropic = speaks_anthropic(request) or "/messages" in path
    google = path.startswith(_GOOGLE_PATHS) or (not anthropic and speaks_google(request))
    google = google and not path.startswith("/v1beta/openai/")
    dialect = load("gemini_native" if google else "anthropic_messages" if anthropic else "openai_chat")
    response = _refusal(dialect, error, exchange)
    _identify(response, exchange, dialect)
    return response
