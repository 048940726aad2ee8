"""The bytes of a request, counted while they arrive."""

from starlette.requests import ClientDisconnect, Request

from shared.errors import GatewayError

_DRAINED = 4  # times the limit: a client that is still sending would see a reset instead of the 413


async def read_body(request: Request, limit: int) -> bytes:
    """The whole JSON body; at most `limit` bytes whatever length was declared."""
    _check_headers(request)
    return await read_bytes(request, limit)


async def read_bytes(request: Request, limit: int) -> bytes:
    """The whole body of any media type."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
            elif size > _DRAINED * limit:
                break
    except ClientDisconnect:
        raise GatewayError("invalid_request", "The request body ended early.") from None
    if size > limit:
        raise GatewayError("request_too_large", f"The request body is larger than {limit} bytes.")
    return b"".join(pieces)


def _check_headers(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise GatewayError(
            "unsupported_media_type",
            "Compressed request bodies are not accepted.",
            reason="request_body_encoding_unsupported",
        )
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    media_type = media_type.strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise GatewayError("unsupported_media_type", "The request body must be application/json.")
    name, _, charset = parameters.strip().partition("=")
    if name.lower() == "charset" and charset.strip('" ').lower() not in ("utf-8", "utf8"):
        raise GatewayError("unsupported_media_type", "The request body must be encoded in UTF-8.")
