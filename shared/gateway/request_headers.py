"""The headers of a request for all who ask for one of them."""

from collections.abc import Mapping

from starlette.requests import Request

_READ = "gateway.headers"


def headers_of(request: Request) -> Mapping[bytes, bytes]:
    """By lower-case name; of a header that is repeated, the first. Read in one pass for the whole request, where
    `request.headers` looks through all of them for each one asked for."""
    scope = request.scope
    headers: Mapping[bytes, bytes] | None = scope.get(_READ)
    if headers is None:
        headers = scope[_READ] = dict(reversed(scope["headers"]))
    return headers


def header(request: Request, name: bytes) -> str:
    """The first of this name, or nothing."""
    value = headers_of(request).get(name)
    return "" if value is None else value.decode("latin-1")
