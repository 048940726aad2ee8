"""Error kinds in OpenAI's words: status, type, code, and the body around them."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.errors import ErrorKind, GatewayError
from shared.json_codec import encode
from shared.sse import frame


class Wire(Struct, frozen=True):
    status: int
    type: str
    code: str | None


_IRE = "invalid_request_error"

WIRE: Mapping[ErrorKind, Wire] = {
    "invalid_request": Wire(400, _IRE, "invalid_value"),
    "invalid_json": Wire(400, _IRE, "invalid_json"),
    "unsupported_parameter": Wire(400, _IRE, "unsupported_parameter"),
    "context_length_exceeded": Wire(400, _IRE, "context_length_exceeded"),
    "content_blocked": Wire(400, _IRE, "content_filter"),
    "url_not_allowed": Wire(400, _IRE, "url_not_allowed"),
    "request_too_large": Wire(413, _IRE, "request_too_large"),
    "unsupported_media_type": Wire(415, _IRE, "unsupported_media_type"),
    "method_not_allowed": Wire(405, _IRE, "method_not_allowed"),
    "not_found": Wire(404, _IRE, "not_found"),
    "model_not_found": Wire(404, _IRE, "model_not_found"),
    "idempotency_running": Wire(409, _IRE, "idempotency_conflict"),
    "idempotency_done": Wire(409, _IRE, "idempotency_conflict"),
    "idempotency_mismatch": Wire(422, _IRE, "idempotency_mismatch"),
    "authentication": Wire(401, _IRE, "invalid_api_key"),
    "ip_not_allowed": Wire(403, "permission_error", "ip_not_allowed"),
    "endpoint_not_allowed": Wire(403, "permission_error", "endpoint_not_allowed"),
    "feature_not_allowed": Wire(403, "permission_error", "feature_not_allowed"),
    "rate_limited": Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    "concurrency_limited": Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    "budget_exhausted": Wire(429, "insufficient_quota", "insufficient_quota"),
    "upstream_auth": Wire(502, "server_error", "upstream_auth"),
    "upstream_quota": Wire(429, "insufficient_quota", "insufficient_quota"),
    "upstream_rate_limited": Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    "upstream_overloaded": Wire(503, "server_error", "overloaded"),
    "upstream_internal": Wire(500, "server_error", "upstream_error"),
    "upstream_timeout": Wire(504, "server_error", "upstream_timeout"),
    "upstream_unreachable": Wire(502, "server_error", "upstream_error"),
    "upstream_invalid_response": Wire(502, "server_error", "upstream_invalid_response"),
    "upstream_truncated": Wire(502, "server_error", "upstream_truncated"),
    "upstream_interrupted": Wire(502, "upstream_error", "stream_interrupted"),
    "upstream_fault": Wire(502, "server_error", "upstream_error"),
    "unavailable": Wire(503, "server_error", "service_unavailable"),
    "internal": Wire(500, "server_error", None),
}

# the SDKs retry 409, 429 and every 5xx by themselves: say so where that is wrong (or, for a fault of the model, right)
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


_PLACED: frozenset[ErrorKind] = frozenset({"invalid_request", "unsupported_parameter", "url_not_allowed"})
_QUOTES = str.maketrans("`'\",", "    ")


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    wire = WIRE[error.kind]
    code = error.reason if error.kind == "upstream_fault" and error.reason else wire.code
    message = f"{_message(error)} (request id: {request_id})"
    return {"error": {"message": message, "type": wire.type, "param": error.param, "code": code}}


def _message(error: GatewayError) -> str:
    """With its place in front, unless it names that: OpenAI's Node SDK, and what shows its errors, drop `param`."""
    param, said = error.param, error.message
    if not param or error.kind not in _PLACED or error.reason or param in said.translate(_QUOTES).rstrip(".").split():
        return said
    return f"{param}: {said}"


def render_error(error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """(status, body, headers) of an answer that is an error."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        milliseconds = max(1, round(error.retry_after * 1000))
        headers["retry-after"] = str(-(-milliseconds // 1000))
        headers["retry-after-ms"] = str(milliseconds)
    if error.kind in _NO_RETRY:
        headers["x-should-retry"] = "false"
    elif error.kind == "upstream_fault":
        headers["x-should-retry"] = "true"
    if error.kind == "authentication":
        headers["www-authenticate"] = "Bearer"
    if error.allow:
        headers["allow"] = ", ".join(error.allow)
    return WIRE[error.kind].status, error_body(error, request_id), headers


def error_frame(error: GatewayError, request_id: str) -> bytes:
    """The last frame of a stream that broke; no `[DONE]` follows."""
    return frame(encode(error_body(error, request_id)))
