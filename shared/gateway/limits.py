"""Limits in words: refusals of the ledger as errors, and the state of the limits as numbers for headers."""

from collections.abc import Mapping

from shared.errors import GatewayError
from shared.stores.protocols import Admitted, KeyRecord, LimitState, Refused

_MESSAGES = {
    "budget": "You exceeded the budget of this API key.",
    "rate": "Rate limit reached for requests of this API key.",
    "tokens": "Rate limit reached for tokens of this API key.",
    "concurrency": "Too many requests of this API key are running.",
}


def refusal(refused: Refused) -> GatewayError:
    """The error a refused admission becomes. A contended or half-issued key is our trouble, not the client's."""
    match refused.kind:
        case "budget":
            return GatewayError("budget_exhausted", _MESSAGES["budget"])
        case "rate" | "tokens":
            return GatewayError("rate_limited", _MESSAGES[refused.kind], retry_after=refused.retry_after or 1.0)
        case "concurrency":
            return GatewayError("concurrency_limited", _MESSAGES["concurrency"], retry_after=refused.retry_after or 1.0)
        case "key_inactive":
            return GatewayError("authentication", "Incorrect API key provided.")
        case "duplicate_running":
            return GatewayError("idempotency_running", "A request with this Idempotency-Key is still running.")
        case "duplicate_done":
            return GatewayError("idempotency_done", "A request with this Idempotency-Key has already finished.")
        case "duplicate_mismatch":
            return GatewayError("idempotency_mismatch", "This Idempotency-Key was used with another request body.")
        case "half_issued" | "contended":
            return GatewayError(
                "unavailable", "The request could not be admitted now.", retry_after=refused.retry_after or 1.0
            )


def limit_headers(limits: LimitState) -> Mapping[str, str]:
    """OpenAI's `x-ratelimit-*` headers for what is limited; nothing for what is not."""
    headers: dict[str, str] = {}
    for name, limit, remaining, reset in (
        ("requests", limits.requests_limit, limits.requests_remaining, limits.requests_reset),
        ("tokens", limits.tokens_limit, limits.tokens_remaining, limits.tokens_reset),
    ):
        if limit is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, remaining or 0))
            headers[f"x-ratelimit-reset-{name}"] = duration(reset)
    return headers


def duration(seconds: float) -> str:
    """OpenAI's form: `12ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{round(max(0.0, seconds) * 1000)}ms"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def period_of(record: KeyRecord, day: str) -> str:
    """The ledger's name of the budget period that `day` (yyyymmdd) falls into."""
    return {"none": "all", "day": day, "month": day[:6]}[record.budget_period]


def unlimited() -> Admitted:
    return Admitted(LimitState())
