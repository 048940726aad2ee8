"""A function-URL event (payload format 2.0) as an ASGI scope and a body. Pure."""

import base64
from typing import Any
from urllib.parse import unquote

from shared.lambda_runtime.invocation import Context, Event

Scope = dict[str, Any]


def is_payload_v2(event: object) -> bool:
    """Whether this is what a function URL sends. Other HTTP shapes (REST proxy) are Mangum's to read."""
    if not isinstance(event, dict) or event.get("version") != "2.0":
        return False
    context = event.get("requestContext")
    return isinstance(context, dict) and "http" in context


def scope_of(event: Event, context: Context) -> Scope:
    """The scope Mangum would build, so that an application sees one shape however it is invoked.

    Two points are better here: ``raw_path`` is set (Mangum leaves None), and the path is unquoted once (Mangum
    unquotes the already decoded ``requestContext.http.path`` again, so ``%2520`` would become a space). Absent or
    null ``headers``, ``cookies`` and ``rawPath`` are legal.
    """
    http = event["requestContext"]["http"]
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if event.get("cookies"):
        headers["cookie"] = "; ".join(event["cookies"])
    raw_path = event.get("rawPath")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "http_version": "1.1",
        "method": http["method"],
        "scheme": headers.get("x-forwarded-proto", "https"),
        "path": unquote(raw_path or http["path"]) or "/",
        "raw_path": raw_path.encode() if raw_path else None,
        "root_path": "",
        "query_string": (event.get("rawQueryString") or "").encode(),
        "headers": [[name.encode(), value.encode()] for name, value in headers.items()],
        "server": _server(headers),
        "client": (http.get("sourceIp"), 0),
        "aws.event": event,
        "aws.context": context,
    }


def body_of(event: Event) -> bytes:
    """The request body; ``null``, absent and empty are the same. Raises ``binascii.Error`` for base64 that is none."""
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _server(headers: dict[str, str]) -> tuple[str, int]:
    """Whatever a client writes into Host decides nothing and breaks nothing."""
    host = headers.get("host", "mangum")
    name, _, port = host.rpartition(":")
    if name and port.isdecimal():
        return name, int(port)
    forwarded = headers.get("x-forwarded-port", "")
    return host, int(forwarded) if forwarded.isdecimal() else 80
