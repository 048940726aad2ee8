"""Error kinds in Google's words: the `google.rpc.Status` body with its details, rebuilt and never passed on.

The upstream's own bodies can carry keys, project numbers and prompt text; clients get the same shape made from a
`GatewayError` alone.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.errors import ErrorKind, GatewayError

_RPC = "type.googleapis.com/google.rpc."


class Wire(Struct, frozen=True):
    status: int
    word: str


_BAD = Wire(400, "INVALID_ARGUMENT")
_MISSING = Wire(404, "NOT_FOUND")
_DENIED = Wire(403, "PERMISSION_DENIED")
_EXHAUSTED = Wire(429, "RESOURCE_EXHAUSTED")
_GATEWAY = Wire(502, "UNAVAILABLE")
_UNAVAILABLE = Wire(503, "UNAVAILABLE")

WIRE: Mapping[ErrorKind, Wire] = {
    "invalid_request": _BAD,
    "invalid_json": _BAD,
    "unsupported_parameter": _BAD,
    "context_length_exceeded": _BAD,
    "content_blocked": _BAD,
    "url_not_allowed": _BAD,
    "request_too_large": Wire(413, "INVALID_ARGUMENT"),
    "unsupported_media_type": Wire(415, "INVALID_ARGUMENT"),
    "method_not_allowed": Wire(405, "UNIMPLEMENTED"),
    "not_found": _MISSING,
    "model_not_found": _MISSING,
    "idempotency_running": Wire(409, "ABORTED"),
    "idempotency_done": Wire(409, "ALREADY_EXISTS"),
    "idempotency_mismatch": Wire(422, "INVALID_ARGUMENT"),
    "authentication": Wire(401, "UNAUTHENTICATED"),
    "ip_not_allowed": _DENIED,
    "endpoint_not_allowed": _DENIED,
    "feature_not_allowed": _DENIED,
    "rate_limited": _EXHAUSTED,
    "concurrency_limited": _EXHAUSTED,
    "budget_exhausted": _EXHAUSTED,
    "upstream_auth": _GATEWAY,
    "upstream_quota": _EXHAUSTED,
    "upstream_rate_limited": _EXHAUSTED,
    "upstream_overloaded": _UNAVAILABLE,
    "upstream_internal": Wire(500, "INTERNAL"),
    "upstream_timeout": Wire(504, "DEADLINE_EXCEEDED"),
    "upstream_unreachable": _GATEWAY,
    "upstream_invalid_response": _GATEWAY,
    "upstream_truncated": _GATEWAY,
    "upstream_interrupted": _GATEWAY,
    "upstream_fault": _GATEWAY,
    "unavailable": _UNAVAILABLE,
    "internal": Wire(500, "INTERNAL"),
}
_NO_RETRY: frozenset[ErrorKind] = frozenset({"idempotency_running", "idempotency_done", "idempotency_mismatch"})
UNIMPLEMENTED = "unimplemented"  # the reason of what cannot exist here
_NOT_HERE = Wire(501, "UNIMPLEMENTED")

# `authentication` as Google itself words it (GEMINI_AUTH_ERRORS=google): a bad key is a 400, no key at all a 403
GOOGLES_KEY_INVALID = "google_key_invalid"
GOOGLES_KEY_MISSING = "google_key_missing"
_GOOGLES_OWN: Mapping[str, tuple[Wire, str]] = {
    GOOGLES_KEY_INVALID: (_BAD, "API key not valid. Please pass a valid API key."),
    GOOGLES_KEY_MISSING: (
        _DENIED,
        "Method doesn't allow unregistered callers (callers without established identity)."
        " Please use API Key or other form of API consumer identity to call this API.",
    ),
}

# Google says which quota: ours are named after its own so that SDKs and agents read the period out of them
_QUOTAS: Mapping[ErrorKind, str] = {
    "rate_limited": "GenerateRequestsPerMinutePerKey",
    "concurrency_limited": "GenerateConcurrentRequestsPerKey",
    "budget_exhausted": "GenerateBudgetPerKey",
    "upstream_rate_limited": "GenerateRequestsPerMinutePerProjectPerModel",
    "upstream_quota": "GenerateRequestsPerDayPerProjectPerModel",
}


def unimplemented(what: str) -> GatewayError:
    return GatewayError("not_found", f"{what} is not served by this gateway.", reason=UNIMPLEMENTED)


def render_error(error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """(status, body, headers) of an answer that is an error."""
    wire = wire_of(error)
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, -int(-error.retry_after // 1)))
    if error.kind in _NO_RETRY:
        headers["x-should-retry"] = "false"
    if wire.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.allow:
        headers["allow"] = ", ".join(error.allow)
    return wire.status, error_body(error, request_id), headers


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    wire = wire_of(error)
    message = _googles_own(error)[1] or error.message
    if wire.status >= 500 and request_id:
        message = f"{message} (request id: {request_id})"
    body: dict[str, Any] = {"code": wire.status, "message": message, "status": wire.word}
    if details := _details(error):
        body["details"] = details
    return {"error": body}


def wire_of(error: GatewayError) -> Wire:
    if error.reason == UNIMPLEMENTED:
        return _NOT_HERE
    if own := _googles_own(error)[0]:
        return own
    if error.kind == "upstream_interrupted" and error.reason:
        # an error object in mid-stream keeps the upstream's own meaning
        finer = f"upstream_{error.reason}"
        return next((wire for kind, wire in WIRE.items() if kind == finer), WIRE[error.kind])
    return WIRE[error.kind]


def _googles_own(error: GatewayError) -> tuple[Wire, str] | tuple[None, str]:
    return _GOOGLES_OWN.get(error.reason or "", (None, ""))


def _details(error: GatewayError) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    if error.reason == GOOGLES_KEY_INVALID:
        details.append(
            {
                "@type": f"{_RPC}ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        )
        message = _GOOGLES_OWN[GOOGLES_KEY_INVALID][1]
        details.append({"@type": f"{_RPC}LocalizedMessage", "locale": "en-US", "message": message})
    if quota := _QUOTAS.get(error.kind):
        violation = {"quotaMetric": "gateway.googleapis.com/requests", "quotaId": quota, "description": error.message}
        details.append({"@type": f"{_RPC}QuotaFailure", "violations": [violation]})
        if error.retry_after is not None:
            details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": _delay(error.retry_after)})
    if error.param and WIRE[error.kind].status == 400:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]})
    return details


def _delay(seconds: float) -> str:
    """`47s` or `34.4s`, as protobuf writes a duration."""
    return f"{max(seconds, 0.001):.3f}".rstrip("0").rstrip(".") + "s"
