"""Limits in words: the ledger's refusals as errors, a budget's periods by name."""

from shared.errors import ErrorKind, GatewayError
from shared.limit_state import LimitState
from shared.stores.protocols import Admitted, KeyRecord, Refused

_MESSAGES = {
    "budget": "You exceeded the budget of this API key.",
    "rate": "Rate limit reached for requests of this API key.",
    "tokens": "Rate limit reached for tokens of this API key.",
    "concurrency": "Too many requests of this API key are running.",
}


def refusal(refused: Refused, request_id: str = "") -> GatewayError:
    """The error a refused admission becomes. A contended or half-issued key is our trouble, not the client's.
    `request_id` is that of the earlier request where this one is its repeat."""
    match refused.kind:
        case "budget":
            return GatewayError("budget_exhausted", _MESSAGES["budget"], limits=refused.limits)
        case "rate" | "tokens" | "concurrency":
            kind: ErrorKind = "concurrency_limited" if refused.kind == "concurrency" else "rate_limited"
            wait = refused.retry_after
            message = f"{_MESSAGES[refused.kind]} {_advice(wait)}"
            return GatewayError(kind, message, retry_after=wait, limits=refused.limits)
        case "key_inactive":
            return GatewayError("authentication", "Incorrect API key provided.")
        case "duplicate_running":
            return GatewayError(
                "idempotency_running", f"A request with this Idempotency-Key is still running: {request_id}."
            )
        case "duplicate_done":
            return GatewayError(
                "idempotency_done", f"A request with this Idempotency-Key has already finished: {request_id}."
            )
        case "duplicate_mismatch":
            return GatewayError("idempotency_mismatch", "This Idempotency-Key was used with another request body.")
        case "half_issued" | "contended":
            return GatewayError(
                "unavailable", "The request could not be admitted now.", retry_after=refused.retry_after or 1.0
            )


def _advice(wait: float | None) -> str:
    """A limit of 0 is one that no waiting opens."""
    return "Its limit is 0." if wait is None else f"Please try again in {max(1, -int(-wait // 1))}s."


def period_of(record: KeyRecord, day: str) -> str:
    """The ledger's name of the budget period that `day` (yyyymmdd) falls into."""
    return {"none": "all", "day": day, "month": day[:6]}[record.budget_period]


def unlimited() -> Admitted:
    return Admitted(LimitState())
