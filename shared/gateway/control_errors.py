"""Errors of the control plane: `{"error": {"code", "message", "param"}}`, whatever went wrong."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from shared.errors import ErrorKind, GatewayError
from shared.gateway.control_bodies import outside_names, path_of
from shared.gateway.responses import json_response
from shared.gateway.telemetry import log
from shared.stores.protocols import StoreConflict, StoreUnavailable

_ANSWERS: Mapping[ErrorKind, tuple[int, str]] = {
    "invalid_request": (400, "invalid_value"),
    "invalid_json": (400, "invalid_json"),
    "request_too_large": (413, "request_too_large"),
    "unsupported_media_type": (415, "unsupported_media_type"),
    "method_not_allowed": (405, "method_not_allowed"),
    "not_found": (404, "not_found"),
    "authentication": (401, "invalid_api_key"),
    "ip_not_allowed": (403, "ip_not_allowed"),
    "endpoint_not_allowed": (403, "endpoint_not_allowed"),
    "rate_limited": (429, "rate_limit_exceeded"),
    "unavailable": (503, "unavailable"),
}
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_UNEXPECTED = (500, "internal_error")
_CONFLICT = (409, "conflict")


def answer(error: GatewayError) -> Response:
    status, code = _CONFLICT if error.reason == "conflict" else _ANSWERS.get(error.kind, _UNEXPECTED)
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.allow:
        headers["allow"] = ", ".join(error.allow)
    message = outside_names(error.message) if status != 500 else "Internal error."
    param = None if error.param is None else outside_names(error.param)
    body = {"error": {"code": code, "message": message, "param": param}}
    return json_response(status, body, headers)


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    if isinstance(error.__cause__, StoreUnavailable):
        log("control_unavailable", level=40, exc=error.__cause__)
    return answer(error)


async def malformed(request: Request, error: Exception) -> Response:
    """A query parameter that FastAPI would not read."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = path_of(tuple(first["loc"])[1:]) or None
    return answer(GatewayError("invalid_request", f"`{param}`: {first['msg']}.", param=param))


async def undecided(request: Request, error: Exception) -> Response:
    """A store that cannot decide now, or that another operator was changing."""
    wait = error.retry_after if isinstance(error, StoreUnavailable) else 1.0
    log("control_unavailable", level=40, exc=error)
    return answer(GatewayError("unavailable", "The stores cannot be reached now.", retry_after=wait))


async def unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = tuple(method for method in _METHODS if _served(request, method))
        return answer(GatewayError("method_not_allowed", f"{request.method} is not allowed here.", allow=allowed))
    return unknown_path(request.url.path)


def unknown_path(path: str) -> Response:
    return answer(GatewayError("not_found", f"Unknown path: {path[:200]}"))


def _served(request: Request, method: str) -> bool:
    """FastAPI has a route for each method of a path, and names in `Allow` the first one's only."""
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)


async def unexpected(request: Request, error: Exception) -> Response:
    log("request_failed", level=40, exc=error)
    return answer(GatewayError("internal", "Internal error."))


HANDLERS: dict[Any, Any] = {
    GatewayError: refused,
    RequestValidationError: malformed,
    StoreUnavailable: undecided,
    StoreConflict: undecided,
    HTTPException: unrouted,
    Exception: unexpected,
}
