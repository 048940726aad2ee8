"""The ASGI application of the control plane: keys, usage, and the page that documents the whole API."""

from collections.abc import Sequence
from typing import Any

from fastapi import Depends, FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.gateway.context import Exchange
from shared.gateway.control_access import ControlPlane, admin
from shared.gateway.control_docs import POLICY, complete, page
from shared.gateway.control_errors import HANDLERS, unknown_path
from shared.gateway.control_keys import key_routes
from shared.gateway.control_usage import admin_usage_routes, own_usage_routes
from shared.gateway.responses import json_response

OPEN_PATHS = frozenset({"/docs", "/openapi.json", "/health"})  # without a key: nothing in them is of a deployment


def build_control_app(plane: ControlPlane, pages: Sequence[Route] = (), lifespan: Any = None) -> FastAPI:
    """`pages` are routes of their own, such as the console's, which check their keys themselves."""
    app = FastAPI(
        title="Gemini gateway",
        version="1",
        # FastAPI's own pages load their script from a CDN: ours is one page without any
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
    )
    app.state.plane = plane
    app.include_router(key_routes(plane), dependencies=[Depends(admin)])
    app.include_router(admin_usage_routes(plane), dependencies=[Depends(admin)])
    app.include_router(own_usage_routes(plane))
    app.router.routes.extend(pages)
    _document(app)

    @app.get("/health", include_in_schema=False)
    async def health() -> Response:
        return json_response(200, {"status": "ok"})

    # around everything, the answer to what escaped every handler included
    inner = app.build_middleware_stack
    app.build_middleware_stack = lambda: Identified(inner())  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> None:
    made: dict[str, Any] = {}

    def described() -> dict[str, Any]:
        if not made:
            made.update(complete(app))
        return made

    app.openapi = described  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    async def schema() -> Response:
        return json_response(200, described())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page(described()), headers={"content-security-policy": POLICY})


class Identified:
    """Gives every request its identity, every answer its id, and keeps answers out of caches."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange.begin(Request(scope), 0)
        scope["state"] = {**scope.get("state", {}), "exchange": exchange}

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = exchange.shown_id
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if b"%" in (scope.get("raw_path") or b""):  # a path has one spelling, and none of these needs an escape
            await unknown_path(scope["path"])(scope, receive, identified)
        else:
            await self._app(scope, receive, identified)
