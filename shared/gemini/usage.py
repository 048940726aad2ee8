"""`usageMetadata` as `Usage`: counters that may be absent, wrong or counted twice.

Identity in all recorded bodies: total = prompt + candidates + thoughts + toolUsePrompt; cached is a part of prompt.
"""

import math
from collections.abc import Mapping
from typing import Any

from shared.events import Usage
from shared.gemini.finish import MODALITY_NUMBERS, enum_word

# No model takes or gives more; a larger count is a fault of the upstream, not a bill.
ABSURD_TOKENS = 100_000_000
_CHARACTERS_PER_TOKEN = 4

COUNTERS = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "totalTokenCount",
)


def has_counters(metadata: Any) -> bool:
    """Whether an object counts anything: Vertex AI sends `usageMetadata` with a traffic type only in early chunks."""
    if not isinstance(metadata, dict):
        return False
    # the first is there in almost every chunk of a stream
    return metadata.get(COUNTERS[0]) is not None or any(metadata.get(name) is not None for name in COUNTERS)


def read_usage(metadata: Mapping[str, Any], *, text_characters: int = 0, thought_characters: int = 0) -> Usage:
    """The usage that one `usageMetadata` object states. A counter that is negative, not whole or absurd is replaced by
    an estimate from the characters seen or from the other counters, and marks the whole as estimated."""
    counts = [_count(metadata[name]) if name in metadata else 0 for name in COUNTERS]
    estimated = None in counts
    prompt, cached, candidates, thoughts, tool_use, total = counts
    total, tool_use = total or 0, tool_use or 0
    if candidates is None:
        candidates = estimate_tokens(text_characters)
    if thoughts is None:
        thoughts = estimate_tokens(thought_characters)
    if prompt is None:
        prompt = max(0, total - candidates - thoughts - tool_use)
    if thoughts and total and prompt + candidates + tool_use == total:
        candidates = max(0, candidates - thoughts)  # some models count the thoughts among the candidates
    cached = cached or 0
    if cached > prompt:
        cached, estimated = prompt, True
    tier = metadata.get("serviceTier")
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=cached,
        tool_use_tokens=tool_use,
        output_tokens=candidates,
        reasoning_tokens=thoughts,
        prompt_modalities=_modalities(metadata.get("promptTokensDetails")),
        cached_modalities=_modalities(metadata.get("cacheTokensDetails")),
        output_modalities=_modalities(metadata.get("candidatesTokensDetails")),
        service_tier=tier.lower() if isinstance(tier, str) else "",
        estimated=estimated,
    )


def estimate_tokens(characters: int) -> int:
    return math.ceil(characters / _CHARACTERS_PER_TOKEN)


def _count(value: Any) -> int | None:
    """A counter, 0 where there is none, None where it cannot be one. Protobuf's JSON also spells numbers as strings."""
    if type(value) is int:
        return value if 0 <= value <= ABSURD_TOKENS else None
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= ABSURD_TOKENS:
        return None
    return value


def _modalities(details: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    if not isinstance(details, list):
        return found
    for item in details:
        if isinstance(item, dict):
            name, count = enum_word(item.get("modality"), MODALITY_NUMBERS), _count(item.get("tokenCount"))
            if name and count:
                found[name] = found.get(name, 0) + count
    return found
