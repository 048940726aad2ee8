"""An HTTP request as a function URL hands it to a function: payload format 2.0. Pure."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

# Lambda's limit for the payload of a synchronous call.
MAX_BODY_BYTES = 6 * 1024 * 1024
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")


@dataclass(frozen=True, slots=True)
class UrlRequest:
    """A request as it came off the wire. ``target`` is path and query, still escaped; names of ``headers`` in any
    case.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer where nothing is there to serve a request."""

    status: int
    message: str


def build_event(request: UrlRequest, *, request_id: str, now: float, domain: str = "") -> dict[str, Any]:
    """The event document. ``now`` is epoch seconds; ``domain`` defaults to the Host header, as the client addressed it.

    Path and query stay as sent in ``rawPath`` and ``rawQueryString``; ``requestContext.http.path`` is unquoted. A
    body is text only if its type says so and it is UTF-8, else base64.
    """
    raw_path, _, raw_query = request.target.partition("?")
    headers, cookies = _fold(request)
    host = domain or headers.get("host", "localhost")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": raw_query,
        "headers": headers,
        "requestContext": _request_context(request, raw_path, headers, host, request_id, now),
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if raw_query:
        event["queryStringParameters"] = _parameters(raw_query)
    if request.body:
        event["body"], event["isBase64Encoded"] = encode_body(request.body, headers.get("content-type", ""))
    return event


def encode_body(body: bytes, content_type: str) -> tuple[str, bool]:
    """The body as the event carries it, and whether that is base64."""
    if content_type.lower().startswith(_TEXT_TYPES):
        try:
            return body.decode("utf-8"), False
        except UnicodeDecodeError:
            pass  # the type promised text, the bytes are none: base64, as for any binary body
    return base64.b64encode(body).decode(), True


def encode_event(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _fold(request: UrlRequest) -> tuple[dict[str, str], list[str]]:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, value in request.headers:
        name = raw_name.lower()
        if name == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";") if cookie.strip()]
        elif name not in ("connection", "transfer-encoding", "expect"):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {request.source_ip}" if forwarded else request.source_ip
    headers["x-forwarded-proto"] = "https"
    headers["x-forwarded-port"] = "443"
    return headers, cookies


def _request_context(
    request: UrlRequest, raw_path: str, headers: dict[str, str], host: str, request_id: str, now: float
) -> dict[str, Any]:
    return {
        "accountId": "anonymous",
        "apiId": host.partition(".")[0],
        "domainName": host,
        "domainPrefix": host.partition(".")[0],
        "http": {
            "method": request.method,
            "path": unquote(raw_path),
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now * 1000),
    }


def _parameters(raw_query: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in parse_qsl(raw_query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
