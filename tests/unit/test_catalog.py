"""Names and re-routes: what a client's model name means on a given day."""

import string
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.gemini.catalog import capabilities_of, effective_id, resolve
from shared.gemini.catalog_data.models import ALIASES, MODELS

TODAY = date(2026, 11, 21)
AFTER = date(2026, 12, 1)

# Every model id that the vendor API documents of the project name, with what is sent for it.
VENDOR_IDS = {
    "gemini-pro": "gemini-3.8-flash",
    "gemini-pro-vision": "gemini-3.8-flash",
    "gemini-1.5-pro": "gemini-3.8-flash",
    "gemini-1.5-pro-001": "gemini-3.8-flash",
    "gemini-1.5-pro-002": "gemini-3.8-flash",
    "gemini-1.5-pro-latest": "gemini-3.8-flash",
    "gemini-exp-1114": "gemini-3.8-flash",
    "gemini-exp-1121": "gemini-3.8-flash",
    "gemini-exp-1206": "gemini-3.8-flash",
    "gemini-2.0-pro-exp-02-05": "gemini-3.8-flash",
    "gemini-1.5-flash-001": "gemini-3.5-flash-lite",
    "gemini-1.5-flash-002": "gemini-3.5-flash-lite",
    "gemini-2.0-flash": "gemini-3.5-flash-lite",
    "gemini-2.0-flash-exp": "gemini-3.5-flash-lite",
    "gemini-2.0-flash-thinking-exp-1219": "gemini-3.5-flash-lite",
    "gemini-2.0-flash-thinking-exp-01-21": "gemini-3.5-flash-lite",
    "gemini-1.5-flash-8b": "gemini-3.1-flash-lite",
    "gemini-2.0-flash-lite-preview-02-05": "gemini-3.1-flash-lite",
    "gemini-2.0-flash-preview-image-generation": "gemini-3.1-flash-image",
    "gemini-2.0-flash-exp-image-generation": "gemini-3.1-flash-image",
    "gemini-2.5-flash-preview-05-20": "gemini-3.5-flash-lite",
    "gemini-2.5-flash-thinking": "gemini-2.5-flash",
    "gemini-2.5-pro-thinking": "gemini-2.5-pro",
    "gemini-2.5-flash": "gemini-2.5-flash",
    "gemini-2.5-pro": "gemini-2.5-pro",
    "gemini-2.5-flash-lite": "gemini-2.5-flash-lite",
    "gemini-2.5-flash-image": "gemini-2.5-flash-image",
    "gemini-2.5-flash-preview-tts": "gemini-2.5-flash-preview-tts",
    "gemini-2.5-pro-preview-tts": "gemini-2.5-pro-preview-tts",
    "imagen-4.0-generate-001": "gemini-3.1-flash-image",
    "gemini-embedding-001": "gemini-embedding-001",
}

OTHER_DEAD_IDS = {
    "gemini-1.5-flash": "gemini-3.5-flash-lite",
    "gemini-1.5-flash-latest": "gemini-3.5-flash-lite",
    "gemini-2.0-flash-001": "gemini-3.5-flash-lite",
    "gemini-2.0-flash-lite": "gemini-3.1-flash-lite",
    "gemini-2.0-flash-lite-001": "gemini-3.1-flash-lite",
    "gemini-2.5-flash-preview-09-2025": "gemini-3.5-flash-lite",
    "gemini-2.5-flash-lite-preview-06-17": "gemini-3.1-flash-lite",
    "gemini-2.5-pro-preview-05-06": "gemini-3.8-flash",
    "gemini-2.5-pro-exp-03-25": "gemini-3.8-flash",
    "gemini-1.5-flash-8b-001": "gemini-3.1-flash-lite",
    "learnlm-1.5-pro-experimental": "gemini-3.8-flash",
    "imagen-4.0-generate-preview-06-06": "gemini-3.1-flash-image",
    "imagen-3.0-generate-002": "gemini-3.1-flash-image",
    "imagen-4.0-fast-generate-001": "gemini-3.1-flash-lite-image",
    "imagen-3.0-fast-generate-001": "gemini-3.1-flash-lite-image",
    "imagen-4.0-ultra-generate-001": "gemini-3-pro-image",
    "text-embedding-004": "gemini-embedding-001",
    "embedding-001": "gemini-embedding-001",
    "text-embedding-3-small": "gemini-embedding-001",
    "text-embedding-3-large": "gemini-embedding-001",
    "text-embedding-ada-002": "gemini-embedding-001",
    "gemini-2.5-flash-image-preview": "gemini-3.1-flash-image",
    "gemini-3.1-flash-image-preview": "gemini-3.1-flash-image",
    "gemini-3-pro-image-preview": "gemini-3-pro-image",
    "gemini-3-pro-preview": "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite-preview": "gemini-3.1-flash-lite",
}

AT_RISK = {
    "gemini-2.5-flash": "gemini-3.5-flash-lite",
    "gemini-2.5-pro": "gemini-3.8-flash",
    "gemini-2.5-flash-lite": "gemini-3.1-flash-lite",
    "gemini-2.5-flash-image": "gemini-3.1-flash-image",
    "gemini-2.5-flash-preview-tts": "gemini-3.8-flash-tts",
    "gemini-2.5-pro-preview-tts": "gemini-3.8-flash-tts",
    "gemini-3.1-flash-tts-preview": "gemini-3.8-flash-tts",
    "gemini-2.5-flash-lite-preview-tts": "gemini-3.8-flash-lite-tts",
    "gemini-embedding-2-preview": "gemini-embedding-2",
    "nano-banana-pro-preview": "gemini-3-pro-image",
}


@pytest.mark.parametrize(("name", "sent"), [*VENDOR_IDS.items(), *OTHER_DEAD_IDS.items()])
def test_documented_ids_resolve(name: str, sent: str) -> None:
    model = resolve(name, TODAY)
    assert (model.requested, model.id) == (name, sent)
    assert model.id in MODELS


@pytest.mark.parametrize(("name", "fallback"), AT_RISK.items())
def test_ids_at_risk_are_sent_as_they_are_with_a_fallback(name: str, fallback: str) -> None:
    model = resolve(name, TODAY)
    assert (model.id, model.aliased, model.fallback_on_404) == (name, False, fallback)
    assert resolve(fallback, TODAY).fallback_on_404 is None


def test_no_alias_leads_to_another_alias_and_none_is_at_risk() -> None:
    for name in ALIASES:
        model = resolve(name, TODAY)
        assert model.aliased
        assert model.id in MODELS
        assert model.fallback_on_404 is None


@pytest.mark.parametrize(
    "name",
    [
        "models/gemini-3.6-flash",
        "google/gemini-3.6-flash",
        "gemini/gemini-3.6-flash",
        "google/models/gemini-3.6-flash",
        "claude-gemini-3.6-flash",
        "anthropic/claude-gemini-3.6-flash[1m]",
    ],
)
def test_prefixes_of_other_tools_come_off(name: str) -> None:
    model = resolve(name, TODAY)
    assert (model.requested, model.id, model.aliased) == (name, "gemini-3.6-flash", False)
    assert model.candidates == ("gemini-3.6-flash",)


def test_thinking_suffix_on_a_budget_model_is_dynamic() -> None:
    model = resolve("models/gemini-2.5-pro-thinking", TODAY)
    assert (model.id, model.include_thoughts, model.dynamic_budget, model.effort) == (
        "gemini-2.5-pro",
        True,
        True,
        None,
    )


def test_thinking_suffix_on_a_level_model_only_asks_for_thoughts() -> None:
    model = resolve("gemini-3.6-flash-thinking", TODAY)
    assert (model.id, model.include_thoughts, model.dynamic_budget, model.effort) == (
        "gemini-3.6-flash",
        True,
        False,
        None,
    )


def test_nothinking_suffix() -> None:
    model = resolve("gemini-2.5-flash-nothinking", TODAY)
    assert (model.id, model.include_thoughts, model.effort) == ("gemini-2.5-flash", False, "none")


@pytest.mark.parametrize("suffix", ["-search", ":search"])
def test_search_suffix(suffix: str) -> None:
    model = resolve(f"gemini-3.8-flash{suffix}", TODAY)
    assert (model.id, model.search) == ("gemini-3.8-flash", True)
    assert not resolve("gemini-3.8-flash", TODAY).search


def test_suffixes_combine_and_apply_behind_an_alias() -> None:
    model = resolve("gemini-1.5-pro-thinking-search", TODAY)
    assert (model.id, model.include_thoughts, model.search) == ("gemini-3.8-flash", True, True)
    assert model.candidates == ("gemini-1.5-pro", "gemini-3.8-flash")


def test_thinking_in_the_middle_is_no_suffix() -> None:
    for name in ("gemini-2.0-flash-thinking-exp-1219", "gemini-2.0-flash-thinking-exp"):
        model = resolve(name, TODAY)
        assert (model.id, model.effort, model.include_thoughts) == ("gemini-3.5-flash-lite", "medium", True)


def test_a_dated_name_keeps_its_suffix() -> None:
    model = resolve("gemini-2.5-flash-preview-05-20-nothinking", TODAY)
    assert (model.id, model.effort) == ("gemini-3.5-flash-lite", "none")


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("claude-haiku-5-5", "gemini-3.5-flash-lite"),
        ("claude-3-5-haiku-20241022", "gemini-3.5-flash-lite"),
        ("claude-sonnet-5-5[1m]", "gemini-3.8-flash"),
        ("anthropic/claude-sonnet-4@20250514", "gemini-3.8-flash"),
        ("claude-opus-5-5", "gemini-3.1-pro-preview"),
        ("claude-fable-5-2", "gemini-3.1-pro-preview"),
        ("claude-mythos-1", "gemini-3.1-pro-preview"),
        ("anthropic/claude-sonnet-4-5-20250929[1m]", "gemini-3.8-flash"),
        ("claude-gemini-3-pro", "gemini-3.1-pro-preview"),
    ],
)
def test_claude_names(name: str, sent: str) -> None:
    model = resolve(name, TODAY)
    assert (model.id, model.aliased) == (sent, True)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("claude-gemini-3.8-flash", "gemini-3.8-flash"),
        ("claude-gemini-3.8-flash-20251001", "gemini-3.8-flash"),
        ("claude-gemma-4-31b-it[1m]", "gemma-4-31b-it"),
    ],
)
def test_names_that_lists_show_to_clients_of_claude(name: str, meant: str) -> None:
    model = resolve(name, TODAY)
    assert (model.id, model.aliased) == (meant, False)


def test_a_dated_claude_name_is_the_deployments_undated_alias() -> None:
    overrides = {"claude-sonnet-4-5": "gemini-4-argon"}
    assert resolve("claude-sonnet-4-5-20250929", TODAY, overrides=overrides).id == "gemini-4-argon"
    assert resolve("anthropic/claude-sonnet-4-5-20250929[1m]", TODAY, overrides=overrides).id == "gemini-4-argon"
    exact = overrides | {"claude-sonnet-4-5-20250929": "gemini-3.6-flash"}
    assert resolve("claude-sonnet-4-5-20250929", TODAY, overrides=exact).id == "gemini-3.6-flash"


def test_a_date_stays_where_no_table_knows_the_rest() -> None:
    model = resolve("claude-sonnet-4-5-20250929", TODAY)
    assert model.candidates == ("claude-sonnet-4-5-20250929", "gemini-3.8-flash")
    assert resolve("gemini-5-flash-20270101", TODAY).id == "gemini-5-flash-20270101"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpt-4o",
        "claude-instant-1",
        "gemini",
        "veo-3.1-generate-001",
        "aqa",
        "gemini-2.5-computer-use-preview-10-2025",
        "gemini-3.8-live",
        "gemini-3.8-live-extended-thinking",
        "gemini-2.5-flash-native-audio-latest",
        "gemini-omni-1.1-flash",
        "Gemini-3.8-flash",
        "../gemini-3.8-flash",
        "gemini-3.8-flash/../x",
        "gemini-3.8-flash?key=1",
        "gemini-3.8-flash#x",
        "gemini-3.8-flash\n",
        "gemini-3.8-flash ",
        "user@gemini-3.8-flash/",
        "tunedModels/mine",
        "models/",
        ".",
        "..",
        "gemini-" + "x" * 122,
        "x" * 10_000,
        "gemini-3.8-flash\x00",
        "gémini",
    ],
)
def test_malformed_unknown_and_unserved_names_get_one_answer(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        resolve(name, TODAY)
    error = caught.value
    shown = "".join(char for char in name[:128] if char.isprintable())
    assert (error.kind, error.param) == ("model_not_found", "model")
    assert error.message == f"The model `{shown}` does not exist or you do not have access to it."


@given(
    st.text(max_size=60)
    | st.text(string.ascii_lowercase + string.digits + "-./@:[]", max_size=60).map("gemini-{}".format)
)
@settings(deadline=None)
def test_any_name_gives_a_safe_id_or_not_found(name: str) -> None:
    try:
        model = resolve(name, TODAY)
    except GatewayError as error:
        assert error.kind == "model_not_found"
        return
    assert set(model.id) <= set(string.ascii_letters + string.digits + "._-")
    assert 1 <= len(model.id) <= 100
    assert model.id not in {".", ".."}


def test_unknown_gemini_ids_pass_with_the_newest_rules() -> None:
    model = resolve("gemini-9-neon", TODAY)
    caps = model.capabilities
    assert (model.id, model.effective, model.aliased) == ("gemini-9-neon", "gemini-9-neon", False)
    assert (caps.thinking, caps.levels) == ("level", ("LOW", "MEDIUM", "HIGH"))
    assert (caps.sampling, caps.prefill, caps.signatures) == (False, False, True)
    assert caps.family == "9"


def test_unknown_ids_of_a_kind_get_the_rules_of_that_kind() -> None:
    assert capabilities_of("gemini-9-flash-image").modalities == ("TEXT", "IMAGE")
    assert capabilities_of("gemini-9-flash-tts").modalities == ("AUDIO",)
    assert capabilities_of("gemini-embedding-9").family == "embedding"
    assert capabilities_of("gemini-3.8-flash-image").modalities == ("TEXT", "IMAGE")
    assert capabilities_of("gemini-3.5-flash-tts").modalities == ("AUDIO",)
    assert capabilities_of("gemini-2.5-nova").thinking == "budget"
    assert capabilities_of("gemma-9-it").levels == ("MINIMAL", "HIGH")
    assert resolve("gemma-3-12b-it", TODAY).capabilities.thinking == "none"


def test_a_numbered_id_has_the_rules_of_the_model_it_extends() -> None:
    assert capabilities_of("gemini-2.5-flash-lite-001") == capabilities_of("gemini-2.5-flash-lite")
    assert capabilities_of("gemini-3.6-flash-002") == capabilities_of("gemini-3.6-flash")


@pytest.mark.parametrize(
    ("name", "day", "effective"),
    [
        ("gemini-3.7-flash", date(2026, 10, 7), "gemini-3.7-flash"),
        ("gemini-3.7-flash", date(2026, 10, 8), "gemini-3.8-flash"),
        ("gemini-3.5-flash", date(2026, 10, 7), "gemini-3.5-flash"),
        ("gemini-3.5-flash", date(2026, 10, 8), "gemini-3.6-flash"),
        ("gemini-2.5-pro", date(2026, 11, 30), "gemini-2.5-pro"),
        ("gemini-2.5-pro", date(2026, 12, 1), "gemini-3.8-flash"),
        ("gemini-2.5-flash", date(2026, 12, 1), "gemini-3.5-flash-lite"),
        ("gemini-2.5-flash-lite", date(2027, 6, 1), "gemini-2.5-flash-lite"),
        ("gemini-flash-latest", TODAY, "gemini-3.8-flash"),
        ("gemini-flash-lite-latest", TODAY, "gemini-3.5-flash-lite"),
        ("gemini-pro-latest", TODAY, "gemini-3.1-pro-preview"),
    ],
)
def test_reroutes_start_on_their_day(name: str, day: date, effective: str) -> None:
    model = resolve(name, day)
    assert (model.id, model.effective) == (name, effective)
    assert effective_id(name, day) == effective
    assert set(model.candidates) == {name, effective}


def test_a_rerouted_2_5_model_keeps_its_budget_and_takes_the_other_rules_of_its_target() -> None:
    before = resolve("gemini-2.5-pro", TODAY).capabilities
    after = resolve("gemini-2.5-pro-thinking", AFTER)
    caps = after.capabilities
    assert (caps.thinking, caps.budget_min, caps.budget_max, caps.budget_off) == ("budget", 128, 32768, False)
    assert (caps.family, caps.sampling, caps.prefill, caps.signatures) == ("3.8", False, False, True)
    assert (before.family, before.sampling, before.prefill, before.signatures) == ("2.5", True, True, False)
    assert after.dynamic_budget


def test_configuration_wins_over_the_alias_table() -> None:
    overrides = {"gemini-pro": "gemini-4-argon", "fast": "gemini-2.5-flash-nothinking", "openai/best": "gemini-pro"}
    assert resolve("gemini-pro", TODAY, overrides=overrides).id == "gemini-4-argon"
    assert resolve("models/gemini-pro", TODAY, overrides=overrides).id == "gemini-4-argon"
    fast = resolve("fast", TODAY, overrides=overrides)
    assert (fast.id, fast.effort, fast.candidates) == ("gemini-2.5-flash", "none", ("fast", "gemini-2.5-flash"))
    assert resolve("openai/best", TODAY, overrides=overrides).id == "gemini-4-argon"
    with pytest.raises(GatewayError):
        resolve("fast", TODAY)


def test_a_circle_in_the_configuration_ends() -> None:
    with pytest.raises(GatewayError) as caught:
        resolve("a", TODAY, overrides={"a": "b", "b": "a"})
    assert caught.value.kind == "model_not_found"
