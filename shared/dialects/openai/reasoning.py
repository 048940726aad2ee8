"""How much the client wants the model to think, in every vocabulary that chat clients use for it."""

from msgspec import Struct
from msgspec.structs import replace

from shared.dialects.openai.fields import boolean, either_case, integer, invalid, mapping, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Given, Parameters
from shared.gemini.catalog import Capabilities, ResolvedModel
from shared.gemini.thinking import EFFORTS, thinking_config
from shared.gemini.types import ThinkingConfig

# The last two are enum values of Google's SDK that no model takes; the thinking table knows what to make of them.
_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", "THINKING_LEVEL_UNSPECIFIED")


class Wish(Struct, frozen=True):
    """None = not said. `hidden`: think, but do not show it."""

    effort: str | None = None
    budget: int | None = None
    level: str | None = None
    include: bool | None = None


_SILENT = Wish()
_SAID = frozenset(["thinking_config", "reasoning_effort", "reasoning", "thinking", "include_reasoning"])


def thinking(params: Parameters, model: ResolvedModel, max_tokens: int | None, notes: Notes) -> ThinkingConfig | None:
    """`thinkingConfig` of the request. Google's explicit config wins over reasoning_effort, that over OpenRouter's
    `reasoning` and Anthropic's `thinking`, and all over the model name's suffix."""
    caps = model.capabilities
    wish = _SILENT if params.lacks(_SAID) else _wish(params, caps, notes)
    effort, budget, level, include = wish.effort, wish.budget, wish.level, wish.include
    if include is None:
        include = True if effort not in (None, "none") else model.include_thoughts
    if effort is None and budget is None and level is None:
        effort, budget = model.effort, -1 if model.dynamic_budget else None
    if caps.thinking == "none" and (effort not in (None, "none") or budget is not None or level):
        given = params.get("thinking_config") or params.get("reasoning_effort")
        notes.ignored(given.path if given else "reasoning")
    return thinking_config(
        caps, effort=effort, budget=budget, level=level, include_thoughts=include, max_output_tokens=max_tokens
    )


def _wish(params: Parameters, caps: Capabilities, notes: Notes) -> Wish:
    wish = _explicit(params.get("thinking_config"), caps, notes)
    if wish.budget is None and wish.level is None:
        said = _effort(params.get("reasoning_effort")) or _reasoning(params) or _anthropic(params.get("thinking"))
        if said is not None:
            include = wish.include if wish.include is not None else said.include
            wish = replace(said, include=include)
    shown = params.get("include_reasoning")
    if shown and wish.include is None:
        wish = replace(wish, include=boolean(shown.value, shown.path))
    return wish


def _explicit(given: Given | None, caps: Capabilities, notes: Notes) -> Wish:
    if given is None:
        return Wish()
    members = either_case(mapping(given.value, given.path))
    budget = members.get("thinking_budget")
    level = members.get("thinking_level")
    include = members.get("include_thoughts")
    word = string(level, f"{given.path}.thinking_level").upper() if level is not None else None
    if word is not None and word not in _LEVELS:
        raise invalid("Expected minimal, low, medium or high.", f"{given.path}.thinking_level")
    tokens = integer(budget, f"{given.path}.thinking_budget", -1, 2**31 - 1) if budget is not None else None
    if word is not None and tokens is not None:  # the upstream refuses both together: the model's own kind stays
        notes.ignored(f"{given.path}.{'thinking_budget' if caps.thinking == 'level' else 'thinking_level'}")
    shown = boolean(include, f"{given.path}.include_thoughts") if include is not None else None
    return Wish(budget=tokens, level=word, include=shown)


def _effort(given: Given | None) -> Wish | None:
    if given is None:
        return None
    effort = string(given.value, given.path)
    if effort not in EFFORTS:
        raise invalid(f"Expected one of {', '.join(sorted(EFFORTS))}.", given.path)
    return Wish(effort=effort)


def _reasoning(params: Parameters) -> Wish | None:
    """OpenRouter's `reasoning: {effort, max_tokens, enabled, exclude}`."""
    given = params.get("reasoning")
    if given is None:
        return None
    members = either_case(mapping(given.value, given.path))
    excluded = members.get("exclude")
    include = not boolean(excluded, "reasoning.exclude") if excluded is not None else None
    if "enabled" in members and not boolean(members["enabled"], "reasoning.enabled"):
        return Wish(effort="none")
    if "effort" in members:
        wish = _effort(Given(members["effort"], "reasoning.effort")) or Wish()
        return replace(wish, include=include if wish.effort != "none" else None)
    shown = include if include is not None else True
    if "max_tokens" in members:
        return Wish(budget=integer(members["max_tokens"], "reasoning.max_tokens", 0, 2**31 - 1), include=shown)
    return Wish(include=shown) if members else None


def _anthropic(given: Given | None) -> Wish | None:
    """`thinking: {type: enabled | adaptive | disabled, budget_tokens}`, as DeepSeek and LiteLLM take it too."""
    if given is None:
        return None
    members = either_case(mapping(given.value, given.path))
    kind = members.get("type")
    if kind == "disabled":
        return Wish(effort="none")
    if kind not in ("enabled", "adaptive", "auto"):
        raise invalid("Expected enabled, adaptive or disabled.", f"{given.path}.type")
    budget = members.get("budget_tokens")
    if budget is None:
        return Wish(include=True)
    return Wish(budget=integer(budget, f"{given.path}.budget_tokens", 0, 2**31 - 1), include=True)
