"""The headers that OpenAI's answers carry and its SDKs read."""

from collections.abc import Mapping

from shared.limit_state import LimitState


def reply_headers(request_id: str, elapsed_ms: int) -> Mapping[str, str]:
    return {
        "openai-version": "2020-10-01",
        "openai-organization": "gateway",
        "openai-processing-ms": str(elapsed_ms),
    }


def limit_headers(limits: LimitState, now: int) -> Mapping[str, str]:
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
