"""What the catalog says of its models: capabilities, limits, lists."""

from datetime import date

import pytest

from shared.gemini.catalog import capabilities_of, listed_models, model_info, resolve
from shared.gemini.catalog_data.models import ALIASES, MODELS, PROFILES

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("model", "sampling", "prefill", "signatures", "candidates"),
    [
        ("gemini-2.5-flash", True, True, False, 8),
        ("gemini-3-flash-preview", True, True, True, 1),
        ("gemini-3.1-pro-preview", True, True, True, 1),
        ("gemini-3.1-flash-lite", True, True, True, 1),
        ("gemini-3.5-flash", False, True, True, 1),
        ("gemini-3.5-flash-lite", False, False, True, 1),
        ("gemini-3.6-flash", False, False, True, 1),
        ("gemini-3.8-flash", False, False, True, 1),
        ("gemini-4-argon", False, False, True, 1),
        ("gemini-4-carbon", False, False, True, 1),
        ("gemma-4-31b-it", True, True, False, 1),
        ("gemini-3-pro-image", True, True, False, 1),
    ],
)
def test_rules_by_generation(model: str, sampling: bool, prefill: bool, signatures: bool, candidates: int) -> None:
    caps = capabilities_of(model)
    assert (caps.sampling, caps.prefill, caps.signatures, caps.candidate_count) == (
        sampling,
        prefill,
        signatures,
        candidates,
    )


def test_tools_and_ids_by_generation() -> None:
    old, new, gemma = (capabilities_of(m) for m in ("gemini-2.5-pro", "gemini-3-flash-preview", "gemma-4-31b-it"))
    for caps, expected in ((old, False), (new, True), (gemma, False)):
        assert {caps.call_ids, caps.tool_media, caps.json_with_tools, caps.builtin_with_tools} == {expected}
    assert old.json_schema
    assert new.json_schema


def test_thinking_rules_per_model() -> None:
    four, three = ("MINIMAL", "LOW", "MEDIUM", "HIGH"), ("LOW", "MEDIUM", "HIGH")
    expected = {
        "gemini-3-flash-preview": four,
        "gemini-3.1-flash-lite": four,
        "gemini-3.5-flash-lite": four,
        "gemini-3.5-flash": four,
        "gemini-3.6-flash": four,
        "gemini-3.1-pro-preview": three,
        "gemini-3.7-flash": three,
        "gemini-3.8-flash": three,
        "gemini-4-argon": three,
        "gemini-4-carbon": three,
        "gemini-3.1-flash-lite-image": ("MINIMAL", "HIGH"),
        "gemma-4-31b-it": ("MINIMAL", "HIGH"),
    }
    for model, levels in expected.items():
        assert (capabilities_of(model).thinking, capabilities_of(model).levels) == ("level", levels), model
    budgets = {
        "gemini-2.5-pro": (128, 32768, False),
        "gemini-2.5-flash": (0, 24576, True),
        "gemini-2.5-flash-lite": (512, 24576, True),
    }
    for model, budget in budgets.items():
        caps = capabilities_of(model)
        assert caps.thinking == "budget"
        assert (caps.budget_min, caps.budget_max, caps.budget_off) == budget


def test_media_models() -> None:
    assert capabilities_of("gemini-2.5-flash-image").modalities == ("TEXT", "IMAGE")
    assert resolve("gemini-2.0-flash-exp-image-generation", TODAY).capabilities.modalities == ("TEXT", "IMAGE")
    for model, streams in {
        "gemini-3.8-flash-tts": False,
        "gemini-2.5-flash-preview-tts": False,
        "gemini-3.1-flash-tts-preview": True,
    }.items():
        caps = capabilities_of(model)
        assert (caps.modalities, caps.streams) == (("AUDIO",), streams)


def test_limits() -> None:
    assert (capabilities_of("gemini-3.8-flash").input_limit, capabilities_of("gemini-3.8-flash").output_limit) == (
        1_048_576,
        65_536,
    )
    assert capabilities_of("gemini-4-argon").output_limit == 1_048_576
    assert capabilities_of("gemini-3.1-flash-lite-image").output_limit == 4_096
    assert capabilities_of("gemini-embedding-001").input_limit == 2_048


def test_every_model_is_consistent() -> None:
    for model in MODELS:
        caps = capabilities_of(model)
        assert bool(caps.levels) == (caps.thinking == "level"), model
        assert (caps.budget_max > 0) == (caps.thinking == "budget"), model
        assert not (caps.signatures and caps.family.startswith(("2.5", "gemma"))), model
        assert caps.input_limit > 0
    assert {profile for profile, *_ in MODELS.values()} <= set(PROFILES)


def test_lists_show_live_models_only() -> None:
    listed = {info.id: info for info in listed_models(TODAY)}
    assert {"gemini-4-carbon", "gemini-3.8-flash", "gemini-2.5-flash", "gemini-embedding-001"} <= set(listed)
    assert not set(listed) & set(ALIASES)
    assert "gemini-2.5-flash-preview-tts" not in listed  # withdrawn on 2026-11-17
    assert "gemini-2.5-flash-preview-tts" in {info.id for info in listed_models(date(2026, 11, 17))}
    argon = listed["gemini-4-argon"]
    assert (argon.display_name, argon.created) == ("Gemini 4 Argon", 1791849600)
    assert "generateContent" in argon.methods
    assert "batchEmbedContents" in listed["gemini-embedding-001"].methods
    for info in listed.values():
        assert resolve(info.id, TODAY).id == info.id


def test_info_of_unlisted_and_unknown_ids() -> None:
    assert model_info("nano-banana-pro-preview").display_name == "Nano Banana Pro Preview"
    info = model_info("gemini-9-neon")
    assert (info.display_name, info.created, info.input_limit) == ("gemini-9-neon", 0, 1_048_576)


def test_answers_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        resolve("gemini-3.8-flash", TODAY).id = "x"  # type: ignore[misc]
