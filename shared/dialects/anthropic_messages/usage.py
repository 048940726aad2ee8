"""Token counts in Anthropic's words. Its fields are disjoint: cached tokens are not counted among the input again."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.events import Usage


def start_usage(options: MessagesOptions, counted: Usage | None) -> dict[str, Any]:
    """What `message_start` says: the first chunk's counts, or an estimate where it had none; the final counts replace
    it."""
    if counted is not None and counted.input_total:
        fresh, cached = max(0, counted.input_total - counted.cached_tokens), counted.cached_tokens
    else:
        fresh, cached = options.input_estimate, 0
    usage: dict[str, Any] = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
    }
    if options.speed is not None:
        usage["speed"] = options.speed
    return usage


def final_usage(usage: Usage, *, searches: int = 0, fetches: int = 0) -> dict[str, Any]:
    """The usage of `message_delta`: always the full object, because clients take their totals from it.

    `searches` and `fetches` are the server tool uses that the answer shows.
    """
    final: dict[str, Any] = {
        "input_tokens": max(0, usage.input_total - usage.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_total,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
    if searches or fetches:
        final["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": fetches}
    if usage.service_tier.lower() == "priority":
        final["service_tier"] = "priority"
    return final


def count_body(tokens: int) -> Mapping[str, Any]:
    """The answer of `count_tokens`."""
    return {"input_tokens": tokens}
