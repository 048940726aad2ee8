"""The one error of the gateway and its closed list of kinds.

A kind says what went wrong without naming a dialect; each dialect's `errors.py` maps every kind to its own status,
type and code. Nothing else in the project decides what a failure means.
"""

from typing import Literal, get_args

from shared.limit_state import LimitState

ErrorKind = Literal[
    # the request itself
    "invalid_request",  # the shape or a value is wrong, `param` names where
    "invalid_json",
    "unsupported_parameter",
    "context_length_exceeded",
    "content_blocked",  # only where a dialect has no other way to say that an answer was blocked
    "url_not_allowed",
    "request_too_large",
    "unsupported_media_type",
    "method_not_allowed",
    "not_found",
    "model_not_found",
    "idempotency_running",
    "idempotency_done",
    "idempotency_mismatch",
    # who asks
    "authentication",
    "ip_not_allowed",
    "endpoint_not_allowed",
    "feature_not_allowed",
    # how much they ask
    "rate_limited",
    "concurrency_limited",
    "budget_exhausted",
    # the upstream
    "upstream_auth",  # Google refused our credential: never the client's 401
    "upstream_quota",  # a quota of the day: waiting does not help
    "upstream_rate_limited",
    "upstream_overloaded",
    "upstream_internal",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_invalid_response",
    "upstream_truncated",  # the stream ended without a finish reason
    "upstream_interrupted",  # the stream broke or carried an error after it began
    "upstream_fault",  # a finish reason that is the model's failure; `reason` names it
    # ourselves
    "unavailable",  # a store or the configuration cannot decide
    "internal",
]

ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)


class GatewayError(Exception):
    """A failure with everything a dialect needs to render it.

    `message` is shown to the client and never holds a secret or prompt text. `param` is the JSON path in the client's
    own body (`messages[2].content[0].type`). `retry_after` is in seconds; None where waiting does not help. `reason`
    is a finer word for the kind in lower case, such as `malformed_function_call`. `allow` lists the methods of a 405,
    `limits` is what a limit that refused looks like. `retried`: the upstream was asked again already, in vain.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        reason: str | None = None,
        allow: tuple[str, ...] = (),
        limits: LimitState | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.reason = reason
        self.allow = allow
        self.limits = limits
        self.retried = False

    def __repr__(self) -> str:
        return f"GatewayError({self.kind!r}, {self.message!r}, param={self.param!r}, reason={self.reason!r})"
