"""How an answer ended, in Anthropic's words."""

from collections.abc import Mapping
from typing import Any

from shared.errors import GatewayError
from shared.events import End, Finish

_REASONS: Mapping[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "continuation": "max_tokens",  # a long decode that went as far as the gateway lets it
    "blocked": "refusal",
}
# ended without an answer, by the upstream's own word; a word that nobody knows counts as a cut answer
_EMPTY_WORDS = frozenset({"OTHER", "NO_IMAGE", "IMAGE_OTHER"})


def ending(end: End, *, calls: int) -> dict[str, Any]:
    """The `delta` of `message_delta`. `calls` are the client's tools that the answer calls: the upstream says STOP for
    them too. Raises GatewayError for an end that must not look like one: clients loop on an empty `end_turn`."""
    if end.stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": end.stop_sequence}
    reason = "refusal" if end.reason == "LANGUAGE" else _REASONS.get(end.finish)
    if reason is None:
        raise _failure(end)
    if calls and reason == "end_turn":
        reason = "tool_use"
    delta: dict[str, Any] = {"stop_reason": reason, "stop_sequence": None}
    if reason == "refusal":
        delta["stop_details"] = {"type": "refusal", "category": None, "explanation": f"Gemini: {end.reason}"}
    return delta


def _failure(end: End) -> GatewayError:
    word = end.reason.lower()
    if end.finish == "account":
        return GatewayError("upstream_auth", "The upstream has disabled this project.", reason=word)
    if end.finish == "fault" or end.reason in _EMPTY_WORDS:
        return GatewayError("upstream_fault", f"The model's answer was unusable ({end.reason}).", reason=word)
    return GatewayError("upstream_truncated", f"The upstream closed the answer early ({end.reason}).", reason=word)
