"""The bytes of a request, counted while they arrive."""

from starlette.requests import Request

from shared.errors import GatewayError
from shared.gateway.request_headers import headers_of

_JSON = b"application/json"
_DRAINED = 4  # times the limit: a client that is still sending would see a reset instead of the 413


async def read_body(request: Request, limit: int) -> bytes:
    """The whole JSON body; at most `limit` bytes whatever length was declared."""
    _check_headers(request)
    return await read_bytes(request, limit)


async def read_bytes(request: Request, limit: int) -> bytes:
    """The whole body of any media type."""
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise GatewayError("invalid_request", "The request body ended early.")
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        elif size > _DRAINED * limit:
            break
    if size > limit:
        raise GatewayError("request_too_large", f"The request body is larger than {limit} bytes.")
    return b"".join(pieces)


def _check_headers(request: Request) -> None:
    headers = headers_of(request)
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.decode("latin-1").strip().lower() not in ("", "identity"):
        raise GatewayError(
            "unsupported_media_type",
            "Compressed request bodies are not accepted.",
            reason="request_body_encoding_unsupported",
        )
    content_type = headers.get(b"content-type", _JSON)
    if content_type != _JSON:
        _check_content_type(content_type.decode("latin-1"))


def _check_content_type(text: str) -> None:
    first = text.partition(",")[0]  # Lambda joins the lines of a repeated header
    media_type, _, parameters = first.partition(";")
    media_type = media_type.strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise GatewayError("unsupported_media_type", "The request body must be application/json.")
    name, _, charset = parameters.strip().partition("=")
    if name.lower() == "charset" and charset.strip('" ').lower() not in ("utf-8", "utf8"):
        raise GatewayError("unsupported_media_type", "The request body must be encoded in UTF-8.")
