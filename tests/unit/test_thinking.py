"""Effort words, budgets and levels become what each generation takes, and nothing it refuses."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.gemini.catalog import Capabilities, capabilities_of
from shared.gemini.catalog_data.models import MODELS
from shared.gemini.thinking import EFFORTS, thinking_config

WORDS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

# Google's table of reasoning_effort, by model; numbers are budgets, words levels.
TABLE: dict[str, tuple[int | str, ...]] = {
    "gemini-2.5-flash": (0, 1024, 1024, 8192, 24576, 24576, 24576),
    "gemini-2.5-flash-lite": (0, 1024, 1024, 8192, 24576, 24576, 24576),
    "gemini-2.5-pro": (128, 1024, 1024, 8192, 24576, 32768, 32768),
    "gemini-3-flash-preview": ("MINIMAL", "MINIMAL", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.1-flash-lite": ("MINIMAL", "MINIMAL", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.5-flash-lite": ("MINIMAL", "MINIMAL", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.6-flash": ("MINIMAL", "MINIMAL", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.1-pro-preview": ("LOW", "LOW", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.7-flash": ("LOW", "LOW", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.8-flash": ("LOW", "LOW", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-4-argon": ("LOW", "LOW", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-9-neon": ("LOW", "LOW", "LOW", "MEDIUM", "HIGH", "HIGH", "HIGH"),
    "gemini-3.1-flash-lite-image": ("MINIMAL", "MINIMAL", "MINIMAL", "HIGH", "HIGH", "HIGH", "HIGH"),
    "gemma-4-31b-it": ("MINIMAL", "MINIMAL", "MINIMAL", "HIGH", "HIGH", "HIGH", "HIGH"),
}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [(model, word, value) for model, row in TABLE.items() for word, value in zip(WORDS, row, strict=True)],
)
def test_effort_words(model: str, effort: str, expected: int | str) -> None:
    field = "thinkingLevel" if isinstance(expected, str) else "thinkingBudget"
    assert thinking_config(capabilities_of(model), effort=effort) == {field: expected}


def test_the_closed_list_of_effort_words() -> None:
    assert set(WORDS) == EFFORTS


@pytest.mark.parametrize("model", TABLE)
def test_nothing_asked_leaves_the_default(model: str) -> None:
    assert thinking_config(capabilities_of(model), effort=None) is None
    assert thinking_config(capabilities_of(model), effort=None, max_output_tokens=2048) is None


@pytest.mark.parametrize(
    ("model", "budget", "sent"),
    [
        ("gemini-2.5-pro", 0, 128),
        ("gemini-2.5-pro", 1, 128),
        ("gemini-2.5-pro", 100_000, 32768),
        ("gemini-2.5-pro", -1, -1),
        ("gemini-2.5-flash", 0, 0),
        ("gemini-2.5-flash", 1, 1),
        ("gemini-2.5-flash", 30_000, 24576),
        ("gemini-2.5-flash-lite", 0, 0),
        ("gemini-2.5-flash-lite", 100, 512),
    ],
)
def test_budgets_are_clamped(model: str, budget: int, sent: int) -> None:
    assert thinking_config(capabilities_of(model), effort=None, budget=budget) == {"thinkingBudget": sent}


@pytest.mark.parametrize(
    ("model", "budget", "level"),
    [
        ("gemini-3.6-flash", 0, "MINIMAL"),
        ("gemini-3.6-flash", 1024, "LOW"),
        ("gemini-3.6-flash", 4095, "LOW"),
        ("gemini-3.6-flash", 4096, "MEDIUM"),
        ("gemini-3.6-flash", 16383, "MEDIUM"),
        ("gemini-3.6-flash", 16384, "HIGH"),
        ("gemini-3.8-flash", 0, "LOW"),
        ("gemma-4-31b-it", 1024, "MINIMAL"),
    ],
)
def test_a_budget_becomes_a_level_where_there_are_only_levels(model: str, budget: int, level: str) -> None:
    assert thinking_config(capabilities_of(model), effort=None, budget=budget) == {"thinkingLevel": level}


def test_a_dynamic_budget_is_the_default_of_a_level_model() -> None:
    assert thinking_config(capabilities_of("gemini-3.6-flash"), effort=None, budget=-1) is None


@pytest.mark.parametrize(
    ("model", "level", "sent"),
    [
        ("gemini-3.6-flash", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.8-flash", "MINIMAL", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "XHIGH", {"thinkingLevel": "HIGH"}),
        ("gemini-3.8-flash", "THINKING_LEVEL_UNSPECIFIED", None),
        ("gemma-4-31b-it", "MEDIUM", {"thinkingLevel": "HIGH"}),
        ("gemini-2.5-flash", "MEDIUM", {"thinkingBudget": 8192}),
        ("gemini-2.5-pro", "minimal", {"thinkingBudget": 1024}),
    ],
)
def test_explicit_levels(model: str, level: str, sent: dict[str, Any] | None) -> None:
    assert thinking_config(capabilities_of(model), effort=None, level=level) == sent


def test_an_explicit_setting_wins_over_the_effort() -> None:
    flash, pro = capabilities_of("gemini-3.6-flash"), capabilities_of("gemini-2.5-pro")
    assert thinking_config(flash, effort="high", level="LOW") == {"thinkingLevel": "LOW"}
    assert thinking_config(flash, effort="high", budget=0, level="LOW") == {"thinkingLevel": "LOW"}
    assert thinking_config(pro, effort="low", budget=20_000, level="LOW") == {"thinkingBudget": 20_000}


def test_thoughts_are_shown_only_where_asked_for_and_possible() -> None:
    flash, new, gemma = (capabilities_of(m) for m in ("gemini-2.5-flash", "gemini-3.8-flash", "gemma-4-31b-it"))
    assert thinking_config(new, effort=None, include_thoughts=True) == {"includeThoughts": True}
    assert thinking_config(new, effort="low", include_thoughts=True) == {
        "thinkingLevel": "LOW",
        "includeThoughts": True,
    }
    assert thinking_config(new, effort="low", include_thoughts=False) == {"thinkingLevel": "LOW"}
    assert thinking_config(flash, effort="none", include_thoughts=True) == {"thinkingBudget": 0}
    assert thinking_config(gemma, effort="high", include_thoughts=True) == {"thinkingLevel": "HIGH"}
    assert thinking_config(capabilities_of("gemma-3-27b-it"), effort="high", include_thoughts=True) is None


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gemini-2.5-flash", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"thinkingBudget": 128}),
        ("gemini-3.6-flash", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.8-flash", {"thinkingLevel": "LOW"}),
        ("gemma-3-27b-it", None),
    ],
)
def test_a_small_output_limit_turns_unasked_thinking_down(model: str, sent: dict[str, Any] | None) -> None:
    assert thinking_config(capabilities_of(model), effort=None, max_output_tokens=2047) == sent


def test_a_small_output_limit_does_not_touch_thinking_that_was_asked_for() -> None:
    new = capabilities_of("gemini-3.8-flash")
    assert thinking_config(new, effort="high", max_output_tokens=100) == {"thinkingLevel": "HIGH"}
    assert thinking_config(new, effort=None, include_thoughts=True, max_output_tokens=100) == {"includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "limit", "sent"),
    [
        ("gemini-2.5-pro", 30_000, 24_576),
        ("gemini-2.5-pro", 4_096, 4_095),
        ("gemini-2.5-pro", 64, 128),  # no less is allowed
        ("gemini-2.5-flash", 1, 0),
        ("gemini-2.5-flash-lite", 300, 0),  # 512 would not fit
    ],
)
def test_a_budget_stays_below_the_output_limit(model: str, limit: int, sent: int) -> None:
    config = thinking_config(capabilities_of(model), effort="high", max_output_tokens=limit)
    assert config == {"thinkingBudget": sent}


@pytest.mark.parametrize("bad", [{"effort": "huge"}, {"effort": None, "level": "SOME"}, {"effort": None, "budget": -2}])
def test_words_outside_the_vocabulary_are_the_clients_fault(bad: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as caught:
        thinking_config(capabilities_of("gemini-3.8-flash"), **bad)
    assert caught.value.kind == "invalid_request"


@given(
    model=st.sampled_from([*MODELS, "gemini-9-neon"]),
    effort=st.none() | st.sampled_from(WORDS),
    budget=st.none() | st.integers(-1, 200_000),
    level=st.none() | st.sampled_from(["MINIMAL", "low", "MEDIUM", "HIGH", "XHIGH"]),
    thoughts=st.none() | st.booleans(),
    limit=st.none() | st.integers(1, 70_000),
)
@settings(deadline=None, max_examples=400)
def test_whatever_is_asked_the_model_accepts_it(
    model: str, effort: str | None, budget: int | None, level: str | None, thoughts: bool | None, limit: int | None
) -> None:
    caps: Capabilities = capabilities_of(model)
    config = thinking_config(
        caps, effort=effort, budget=budget, level=level, include_thoughts=thoughts, max_output_tokens=limit
    )
    if config is None:
        return
    assert config
    assert not {"thinkingLevel", "thinkingBudget"} <= set(config)
    if "thinkingLevel" in config:
        assert config["thinkingLevel"] in caps.levels
    if "thinkingBudget" in config:
        tokens = config["thinkingBudget"]
        assert caps.thinking == "budget"
        assert tokens == -1 or (tokens == 0 and caps.budget_off) or caps.budget_min <= tokens <= caps.budget_max
    if "includeThoughts" in config:
        assert caps.include_thoughts
        assert config.get("thinkingBudget") != 0
