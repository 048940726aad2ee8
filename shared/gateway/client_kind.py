"""Whose client asks, told by its headers, where one path serves several kinds."""

from starlette.requests import Request


def speaks_anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers


def speaks_google(request: Request) -> bool:
    headers = request.headers
    return "x-goog-api-key" in headers or "x-goog-api-client" in headers or "key" in request.query_params
