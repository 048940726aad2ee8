"""`thinking` and `effort`, of the body and of system turns, as Gemini's `thinkingConfig`."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.anthropic_messages.fields import REQUIRED, integer, invalid, mapping, string
from shared.dialects.anthropic_messages.notes import Notes
from shared.gemini.catalog import ResolvedModel
from shared.gemini.thinking import DYNAMIC, thinking_config
from shared.gemini.types import ThinkingConfig

EFFORTS = ("low", "medium", "high", "xhigh", "max")
_KINDS = ("enabled", "adaptive", "disabled", "between_tools")
_SMALLEST_BUDGET = 1_024

# Thinking counts inside Gemini's output limit: below this it could leave nothing for the answer.
TIGHT_OUTPUT = 2_048


class Thinking(Struct, frozen=True):
    """`asked`: signatures travel in thinking blocks. `shown`: the text of thoughts too."""

    config: ThinkingConfig | None
    asked: bool
    shown: bool


class _Wish(Struct, frozen=True):
    kind: str = ""  # empty where the body has no `thinking`
    budget: int | None = None
    omitted: bool = False


def read_thinking(body: Mapping[str, Any], model: ResolvedModel, max_tokens: int | None, notes: Notes) -> Thinking:
    """What the request says about thinking; a level or budget that the model lacks is clamped, never refused.

    `max_tokens` is the client's own number, None where the request has none (count_tokens).
    """
    wish = _read(body.get("thinking"), None if body.get("tools") else max_tokens)
    effort = _effort(body, notes) or model.effort
    if not wish.kind and model.include_thoughts:  # the model's name asks for it
        wish = _Wish("adaptive")
    asked = wish.kind in ("enabled", "adaptive")
    shown = asked and not wish.omitted
    budget = None
    if wish.kind in ("disabled", "between_tools") or (max_tokens is not None and max_tokens < TIGHT_OUTPUT):
        effort = "none"
    elif wish.kind == "enabled":
        effort, budget = None, wish.budget
    elif asked and effort is None:
        budget = DYNAMIC  # the model decides, which is what a model with levels does when none is sent
    config = thinking_config(
        model.capabilities, effort=effort, budget=budget, include_thoughts=shown, max_output_tokens=max_tokens
    )
    return Thinking(config, asked, shown)


def _read(value: Any, max_tokens: int | None) -> _Wish:
    """`max_tokens` is None where a budget may be larger: with tools it is for all thoughts between them (interleaved
    thinking)."""
    if value is None:
        return _Wish()
    thinking = mapping(value, "thinking")
    kind = thinking.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise invalid("Input should be 'enabled', 'adaptive' or 'disabled'", "thinking.type")
    budget = thinking.get("budget_tokens")
    if kind == "enabled":
        if budget is None:
            raise invalid(REQUIRED, "thinking.budget_tokens")
        budget = integer(budget, "thinking.budget_tokens", _SMALLEST_BUDGET)
        if max_tokens is not None and budget >= max_tokens:
            raise invalid("Input should be less than `max_tokens`", "thinking.budget_tokens")
    return _Wish(kind, budget if kind == "enabled" else None, thinking.get("display") == "omitted")


def _effort(body: Mapping[str, Any], notes: Notes) -> str | None:
    """The effort of the latest system turn that has one, else the body's. Words that are not Anthropic's are passed
    over: they can only be newer than this table."""
    found = _effort_of(body.get("output_config"), "output_config", notes)
    messages = body.get("messages")
    listed = messages if isinstance(messages, list) else []
    for behind, message in enumerate(reversed(listed), 1):
        if isinstance(message, dict) and message.get("role") == "system":
            where = f"messages[{len(listed) - behind}].output_config"
            turn = _effort_of(message.get("output_config"), where, notes)
            if turn is not None:
                return turn
    return found


def _effort_of(config: Any, where: str, notes: Notes) -> str | None:
    effort = mapping(config, where).get("effort") if config is not None else None
    if effort is None:
        return None
    word = string(effort, f"{where}.effort")
    if word in EFFORTS:
        return word
    notes.add("ignored", f"{where}.effort")
    return None
