"""Whose client asks, told by its headers, where one path serves several kinds."""

from starlette.requests import Request

from shared.gateway.request_headers import headers_of


def speaks_anthropic(request: Request) -> bool:
    return b"anthropic-version" in headers_of(request)


def speaks_google(request: Request) -> bool:
    headers = headers_of(request)
    return b"x-goog-api-key" in headers or b"x-goog-api-client" in headers or "key" in request.query_params
