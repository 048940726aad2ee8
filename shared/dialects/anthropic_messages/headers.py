"""The headers that Anthropic's answers carry and its SDKs read."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from shared.dialects.anthropic_messages.ids import request_label
from shared.limit_state import LimitState


def reply_headers(request_id: str, elapsed_ms: int) -> Mapping[str, str]:
    return {
        "request-id": request_label(request_id),
        "anthropic-organization-id": "gateway",
        "server-timing": f"gateway;dur={elapsed_ms}",
    }


def limit_headers(limits: LimitState, now: int) -> Mapping[str, str]:
    """`anthropic-ratelimit-*` for what is limited, nothing for what is not; a reset is the time at which all of it is
    available again."""
    headers: dict[str, str] = {}
    for name, limit, remaining, reset in (
        ("requests", limits.requests_limit, limits.requests_remaining, limits.requests_reset),
        ("tokens", limits.tokens_limit, limits.tokens_remaining, limits.tokens_reset),
    ):
        if limit is not None:
            headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(max(0, remaining or 0))
            headers[f"anthropic-ratelimit-{name}-reset"] = rfc3339(now + max(0, math.ceil(reset)))
    return headers


def rfc3339(seconds: int) -> str:
    """Epoch seconds as `2026-11-21T12:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
