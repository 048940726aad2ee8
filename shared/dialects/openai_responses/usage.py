"""Token counts in the words of the Responses API; every member is required by its clients."""

from typing import Any

from shared.events import Usage


def response_usage(usage: Usage) -> dict[str, Any]:
    given, made = usage.input_total, usage.output_total
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": given + made,
    }
