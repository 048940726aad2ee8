"""How much a model is to think, in the words of its generation.

Gemini 2.5 takes a token budget, 3 and later a level; the two never stand together, and a level on 2.x is a 400. What a
client asks for is clamped to what the model has, never refused. Source: Google's thinking page and its table for
OpenAI's `reasoning_effort`.
"""

from typing import Final

from shared.errors import GatewayError
from shared.gemini.catalog import Capabilities
from shared.gemini.types import ThinkingConfig

DYNAMIC: Final = -1  # the model decides
_LEVELS: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH")

# Effort word -> (level, budget). `none` is 0 where thinking can be off; xhigh and max are all the model has.
_EFFORT: Final[dict[str, tuple[str, int | None]]] = {
    "none": ("MINIMAL", 0),
    "minimal": ("MINIMAL", 1_024),
    "low": ("LOW", 1_024),
    "medium": ("MEDIUM", 8_192),
    "high": ("HIGH", 24_576),
    "xhigh": ("HIGH", None),
    "max": ("HIGH", None),
}
EFFORTS: Final = frozenset(_EFFORT)

# Anthropic's budgets as levels: below 4,096 low, below 16,384 medium.
_LOW_BELOW: Final = 4_096
_MEDIUM_BELOW: Final = 16_384

# Thinking counts inside maxOutputTokens: below this an unasked-for thought can eat the whole answer.
_TIGHT_OUTPUT: Final = 2_048


def thinking_config(
    caps: Capabilities,
    *,
    effort: str | None,
    budget: int | None = None,
    level: str | None = None,
    include_thoughts: bool | None = None,
    max_output_tokens: int | None = None,
) -> ThinkingConfig | None:
    """The `thinkingConfig` to send, None to leave the model's default.

    An explicit `level` (any case) or `budget` (tokens, -1 = dynamic) wins over `effort`, the model's own kind over the
    other one. Thoughts are asked for only if `include_thoughts` is true and thinking is not off. Raises GatewayError
    `invalid_request` for words outside `EFFORTS` and Gemini's levels, and for budgets below -1.
    """
    level = _known_level(level)
    if effort is None and budget is None and level is None and not include_thoughts:
        if not _tight(max_output_tokens):
            return None
        effort = "none"
    if effort is not None and effort not in EFFORTS:
        raise GatewayError("invalid_request", f"Unknown effort; use one of: {', '.join(_EFFORT)}.")
    if budget is not None and budget < DYNAMIC:
        raise GatewayError("invalid_request", "A thinking budget is -1 or a number of tokens.")
    config: ThinkingConfig = {}
    if caps.thinking == "level":
        chosen = _level_for(caps, effort, budget, level)
        if chosen is not None:
            config["thinkingLevel"] = chosen
    elif caps.thinking == "budget":
        tokens = _budget_for(caps, effort, budget, level)
        if tokens is not None:
            config["thinkingBudget"] = _below(caps, tokens, max_output_tokens)
    # With budget 0 the field is a 400 on Vertex.
    if include_thoughts and caps.include_thoughts and config.get("thinkingBudget") != 0:
        config["includeThoughts"] = True
    return config or None


def supported_level(caps: Capabilities, level: str) -> str:
    """The level of this model nearest to `level`: the next higher one, else its highest. On models with only
    MINIMAL and HIGH, LOW goes down: who asks for little thinking wants to save."""
    if level in caps.levels:
        return level
    if level == "LOW" and "MINIMAL" in caps.levels:
        return "MINIMAL"
    rank = _LEVELS.index(level)
    return next((have for have in caps.levels if _LEVELS.index(have) > rank), caps.levels[-1])


def _known_level(level: str | None) -> str | None:
    if level is None:
        return None
    word = level.upper()
    if word == "XHIGH":  # an enum value of google-genai that no model is known to take
        return "HIGH"
    if word == "THINKING_LEVEL_UNSPECIFIED":
        return None
    if word not in _LEVELS:
        raise GatewayError("invalid_request", f"Unknown thinking level; use one of: {', '.join(_LEVELS)}.")
    return word


def _tight(max_output_tokens: int | None) -> bool:
    return max_output_tokens is not None and max_output_tokens < _TIGHT_OUTPUT


def _level_for(caps: Capabilities, effort: str | None, budget: int | None, level: str | None) -> str | None:
    if level is not None:
        return supported_level(caps, level)
    if budget is not None:
        return None if budget == DYNAMIC else supported_level(caps, _level_of_budget(budget))
    return None if effort is None else supported_level(caps, _EFFORT[effort][0])


def _level_of_budget(budget: int) -> str:
    if budget == 0:
        return "MINIMAL"
    if budget < _LOW_BELOW:
        return "LOW"
    return "MEDIUM" if budget < _MEDIUM_BELOW else "HIGH"


def _budget_for(caps: Capabilities, effort: str | None, budget: int | None, level: str | None) -> int | None:
    if budget is None:
        word = level.lower() if level is not None else effort
        if word is None:
            return None
        asked = _EFFORT[word][1]
        budget = caps.budget_max if asked is None else asked
    return budget if budget == DYNAMIC else _clamped(caps, budget)


def _clamped(caps: Capabilities, budget: int) -> int:
    if budget == 0 and caps.budget_off:
        return 0
    return max(caps.budget_min, min(budget, caps.budget_max))


def _below(caps: Capabilities, budget: int, max_output_tokens: int | None) -> int:
    """A budget below the limit of the whole output, as far as the model's smallest budget allows."""
    if max_output_tokens is None or budget < max_output_tokens:
        return budget
    smaller = _clamped(caps, max_output_tokens - 1)
    return 0 if smaller >= max_output_tokens and caps.budget_off else smaller
