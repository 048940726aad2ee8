"""What chat completions and responses say alike of an answer."""

from typing import Any

from shared.events import Logprobs, Usage


def served_tier(usage: Usage) -> str:
    """OpenAI's word for the tier that served an answer."""
    tier = usage.service_tier.lower()
    return tier if tier not in ("", "standard") else "default"


def token_logprobs(event: Logprobs) -> list[dict[str, Any]]:
    """One entry for each token, with those that might have stood in its place."""
    content = []
    for position, chosen in enumerate(event.chosen):
        top = event.top[position] if position < len(event.top) else ()
        content.append({**_token(chosen), "top_logprobs": [_token(candidate) for candidate in top]})
    return content


def _token(candidate: Any) -> dict[str, Any]:
    token = str(candidate.get("token", ""))
    return {"token": token, "logprob": candidate.get("logProbability", 0.0), "bytes": list(token.encode())}
