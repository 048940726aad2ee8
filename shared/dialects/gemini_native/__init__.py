"""Google's own dialect: `/v1beta/models/{model}:{method}` and what belongs to it.

It passes through instead of translating; `gateway.native` lives it."""

from collections.abc import Mapping

from shared.dialects.gemini_native.errors import render_error
from shared.limit_state import LimitState

NAME = "gemini_native"
TOOL_CALL_PREFIX = ""  # calls keep the upstream's ids


def reply_headers(request_id: str, elapsed_ms: int) -> Mapping[str, str]:
    return {
        "server-timing": f"gateway; dur={elapsed_ms}",
        "vary": "Origin, X-Origin, Referer",
        "x-content-type-options": "nosniff",
    }


def limit_headers(limits: LimitState, now: int) -> Mapping[str, str]:
    """Google sends none."""
    return {}


__all__ = ["NAME", "TOOL_CALL_PREFIX", "limit_headers", "render_error", "reply_headers"]
