"""Error kinds in Anthropic's words: status, type, and the body around them."""

import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.anthropic_messages.ids import request_label
from shared.errors import ErrorKind, GatewayError
from shared.json_codec import encode
from shared.sse import frame


class Wire(Struct, frozen=True):
    status: int
    type: str


_INVALID = "invalid_request_error"

WIRE: Mapping[ErrorKind, Wire] = {
    "invalid_request": Wire(400, _INVALID),
    "invalid_json": Wire(400, _INVALID),
    "unsupported_parameter": Wire(400, _INVALID),
    "context_length_exceeded": Wire(400, _INVALID),
    "content_blocked": Wire(400, _INVALID),
    "url_not_allowed": Wire(400, _INVALID),
    "request_too_large": Wire(413, "request_too_large"),
    "unsupported_media_type": Wire(415, _INVALID),
    "method_not_allowed": Wire(405, _INVALID),
    "not_found": Wire(404, "not_found_error"),
    "model_not_found": Wire(404, "not_found_error"),
    "idempotency_running": Wire(409, "conflict_error"),
    "idempotency_done": Wire(409, "conflict_error"),
    "idempotency_mismatch": Wire(422, _INVALID),
    "authentication": Wire(401, "authentication_error"),
    "ip_not_allowed": Wire(403, "permission_error"),
    "endpoint_not_allowed": Wire(403, "permission_error"),
    "feature_not_allowed": Wire(403, "permission_error"),
    "rate_limited": Wire(429, "rate_limit_error"),
    "concurrency_limited": Wire(429, "rate_limit_error"),
    "budget_exhausted": Wire(402, "billing_error"),
    "upstream_auth": Wire(502, "api_error"),
    "upstream_quota": Wire(429, "rate_limit_error"),
    "upstream_rate_limited": Wire(429, "rate_limit_error"),
    "upstream_overloaded": Wire(529, "overloaded_error"),
    "upstream_internal": Wire(500, "api_error"),
    "upstream_timeout": Wire(504, "timeout_error"),
    "upstream_unreachable": Wire(502, "api_error"),
    "upstream_invalid_response": Wire(502, "api_error"),
    "upstream_truncated": Wire(502, "api_error"),
    "upstream_interrupted": Wire(502, "api_error"),
    "upstream_fault": Wire(500, "api_error"),
    "unavailable": Wire(503, "api_error"),
    "internal": Wire(500, "api_error"),
}

# an answer that the upstream broke: its error says why, which the reader keeps as `reason`
_SPENT = ("per_day", "spent")
_INTERRUPTED: Mapping[str, Wire] = {
    "overloaded": WIRE["upstream_overloaded"],
    "rate_limited": WIRE["upstream_rate_limited"],
    "timeout": WIRE["upstream_timeout"],
    "internal": WIRE["upstream_internal"],
    **dict.fromkeys(_SPENT, WIRE["upstream_quota"]),
}

# the SDKs retry 409, 429 and every 5xx by themselves: say so where that cannot help
_NO_RETRY: frozenset[ErrorKind] = frozenset(
    {
        "budget_exhausted",
        "upstream_quota",
        "upstream_auth",
        "idempotency_running",
        "idempotency_done",
        "idempotency_mismatch",
    }
)

# `details.error_code`: the words that the official SDKs branch on
_ENCODING_CODES = frozenset({"request_body_encoding_unsupported", "request_body_encoding_invalid"})
_ERROR_CODES = _ENCODING_CODES | {"thread_unsupported_request", "request_body_too_large_after_decoding"}

_INDEX = r"\[(\d+)\]"
_UNKNOWN_MODEL = r"The model `(.+)` does not exist"
_NUMBER = r"(?<![\w.-])\d[\d,]{3,}(?![\w-])"


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": _wire(error).type, "message": _message(error)}
    if error.reason in _ERROR_CODES:
        shown["details"] = {"error_code": error.reason}
    return {"type": "error", "error": shown, "request_id": request_label(request_id)}


def render_error(error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """(status, body, headers) of an answer that is an error."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.kind in _NO_RETRY or (error.kind == "upstream_interrupted" and error.reason in _SPENT):
        headers["x-should-retry"] = "false"
    elif error.kind == "upstream_fault":
        headers["x-should-retry"] = "true"
    if error.kind == "authentication":
        headers["www-authenticate"] = "Bearer"
    if error.allow:
        headers["allow"] = ", ".join(error.allow)
    # Anthropic counts an encoding that it cannot read among the bad requests, unlike a media type
    status = 400 if error.reason in _ENCODING_CODES else _wire(error).status
    return status, error_body(error, request_id), headers


def error_frame(error: GatewayError, request_id: str) -> bytes:
    """The last frame of a stream that broke; neither `message_delta` nor `message_stop` follows."""
    return frame(encode(error_body(error, request_id)), "error")


def _wire(error: GatewayError) -> Wire:
    wire = WIRE[error.kind]
    return _INTERRUPTED.get(error.reason or "", wire) if error.kind == "upstream_interrupted" else wire


def _message(error: GatewayError) -> str:
    """Anthropic's form: the path of the field in front, list positions as words between dots."""
    if error.kind == "context_length_exceeded":
        return overflow(error.message)
    if not error.param:
        return error.message
    if error.kind == "model_not_found" and (unknown := re.match(_UNKNOWN_MODEL, error.message)):
        return f"model: {unknown[1]}"
    path = re.sub(_INDEX, r".\1", error.param)
    said = error.message.removeprefix(f"{error.param}: ")
    return said if said.startswith(f"{path}:") else f"{path}: {said}"


def overflow(message: str) -> str:
    """The wording at which coding agents compact their history; any other leaves them stuck. The upstream names the
    tokens sent and the tokens allowed, in some texts only the latter."""
    counts = sorted({int(count.replace(",", "")) for count in re.findall(_NUMBER, message)})
    if not counts:
        return "prompt is too long"
    sent = str(counts[-1]) if len(counts) > 1 else f"more than {counts[0]}"
    return f"prompt is too long: {sent} tokens > {counts[0]} maximum"
