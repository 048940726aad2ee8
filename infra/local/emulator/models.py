"""The models the emulated upstream knows, their families, and what a date does to them.

A deliberately small table of its own: the emulator judges the gateway, so it must not share the gateway's catalog.
Dates are UTC days; a state holds from its day on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from infra.local.emulator import errors

type Kind = Literal["text", "image", "tts", "embedding", "predict"]
type Lifecycle = Literal["alive", "dead", "closed", "rerouted"]

MINIMAL_UP = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
LOW_UP = ("LOW", "MEDIUM", "HIGH")
M = 1_048_576


@dataclass(frozen=True, slots=True)
class Thinking:
    """What thinkingConfig a model takes: levels, or a budget range in tokens, or nothing."""

    levels: tuple[str, ...] = ()
    default_level: str = ""
    budget: tuple[int, int] | None = None  # smallest and largest non-zero budget
    zero: bool = True
    default_budget: int = -1


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    generation: float  # 1.5, 2.0, 2.5, 3.0, 3.1 ... 4.0; 0 for gemma and embeddings
    kind: Kind = "text"
    thinking: Thinking | None = None
    limits: tuple[int, int] = (M, 65_536)
    states: tuple[tuple[str, Lifecycle, str], ...] = ()  # (from day, state, target)
    streams: bool = True
    gemma: bool = False
    dimensions: int = 0

    @property
    def major(self) -> int:
        return int(self.generation)

    @property
    def signs(self) -> bool:
        return self.generation >= 2.5 and self.kind in ("text", "image")

    @property
    def enforces_signatures(self) -> bool:
        return self.generation >= 3 and self.kind == "text"

    @property
    def returns_call_ids(self) -> bool:
        return self.generation >= 3.6

    @property
    def refuses_prefill(self) -> bool:
        return self.generation >= 3.6 or self.id.startswith("gemini-3.5-flash-lite")


def _levels(levels: tuple[str, ...], default: str) -> Thinking:
    return Thinking(levels=levels, default_level=default)


_PRO25 = Thinking(budget=(128, 32_768), zero=False)
_FLASH25 = Thinking(budget=(1, 24_576))
_LITE25 = Thinking(budget=(512, 24_576), default_budget=0)
_MEDIUM = _levels(LOW_UP, "MEDIUM")
_IMAGE = _levels(("MINIMAL", "HIGH"), "MINIMAL")
_TTS = (8_192, 16_384)


def _dead(day: str) -> tuple[tuple[str, Lifecycle, str], ...]:
    return ((day, "dead", ""),)


def _to(day: str, target: str) -> tuple[tuple[str, Lifecycle, str], ...]:
    return ((day, "rerouted", target),)


ALWAYS = "2000-01-01"

MODELS: dict[str, Model] = {
    model.id: model
    for model in (
        Model("gemini-4-argon", 4.0, thinking=_MEDIUM, limits=(M, M)),
        Model("gemini-4-carbon", 4.0, thinking=_MEDIUM, limits=(M, M)),
        Model("gemini-3.8-flash", 3.8, thinking=_MEDIUM),
        Model("gemini-3.7-flash", 3.7, thinking=_MEDIUM, states=_to("2026-10-08", "gemini-3.8-flash")),
        Model("gemini-3.6-flash", 3.6, thinking=_levels(MINIMAL_UP, "MEDIUM")),
        Model(
            "gemini-3.5-flash",
            3.5,
            thinking=_levels(MINIMAL_UP, "MEDIUM"),
            states=_to("2026-10-08", "gemini-3.6-flash"),
        ),
        Model("gemini-3.5-flash-lite", 3.5, thinking=_levels(MINIMAL_UP, "MINIMAL")),
        Model("gemini-3.1-pro-preview", 3.1, thinking=_levels(LOW_UP, "HIGH")),
        Model("gemini-3.1-pro-preview-customtools", 3.1, thinking=_levels(LOW_UP, "HIGH")),
        Model(
            "gemini-3-pro-preview",
            3.0,
            thinking=_levels(LOW_UP, "HIGH"),
            states=_to("2026-03-09", "gemini-3.1-pro-preview"),
        ),
        Model("gemini-3-flash-preview", 3.0, thinking=_levels(MINIMAL_UP, "HIGH")),
        Model("gemini-3.1-flash-lite", 3.1, thinking=_levels(MINIMAL_UP, "MINIMAL")),
        Model(
            "gemini-3.1-flash-lite-preview", 3.1, thinking=_levels(MINIMAL_UP, "MINIMAL"), states=_dead("2026-05-25")
        ),
        Model("gemini-2.5-pro", 2.5, thinking=_PRO25, states=_to("2026-12-01", "gemini-3.8-flash")),
        Model("gemini-2.5-flash", 2.5, thinking=_FLASH25, states=_to("2026-12-01", "gemini-3.5-flash-lite")),
        Model("gemini-2.5-flash-lite", 2.5, thinking=_LITE25),
        Model("gemini-2.0-flash", 2.0, limits=(M, 8_192), states=_dead("2026-06-01")),
        Model("gemini-2.0-flash-001", 2.0, limits=(M, 8_192), states=_dead("2026-06-01")),
        Model("gemini-2.0-flash-exp", 2.0, limits=(M, 8_192), states=_dead("2026-06-01")),
        Model("gemini-2.0-flash-lite", 2.0, limits=(M, 8_192), states=_dead("2026-06-01")),
        Model("gemini-1.5-flash", 1.5, limits=(M, 8_192), states=_dead("2025-09-24")),
        Model("gemini-1.5-flash-002", 1.5, limits=(M, 8_192), states=_dead("2025-09-24")),
        Model("gemini-1.5-pro", 1.5, limits=(2 * M, 8_192), states=_dead("2025-09-24")),
        Model("gemini-flash-latest", 3.8, thinking=_MEDIUM, states=_to(ALWAYS, "gemini-3.8-flash")),
        Model(
            "gemini-flash-lite-latest",
            3.5,
            thinking=_levels(MINIMAL_UP, "MINIMAL"),
            states=_to(ALWAYS, "gemini-3.5-flash-lite"),
        ),
        Model("gemini-pro-latest", 3.1, thinking=_levels(LOW_UP, "HIGH"), states=_to(ALWAYS, "gemini-3.1-pro-preview")),
        Model(
            "gemma-4-31b-it", 0, gemma=True, thinking=_levels(("MINIMAL", "HIGH"), "MINIMAL"), limits=(262_144, 32_768)
        ),
        Model(
            "gemma-4-26b-a4b-it",
            0,
            gemma=True,
            thinking=_levels(("MINIMAL", "HIGH"), "MINIMAL"),
            limits=(262_144, 32_768),
        ),
        Model("gemma-3-27b-it", 0, gemma=True, limits=(131_072, 8_192)),
        Model("gemini-3.1-flash-image", 3.1, "image", thinking=_IMAGE, limits=(131_072, 32_768)),
        Model(
            "gemini-3.1-flash-lite-image",
            3.1,
            "image",
            thinking=_IMAGE,
            limits=(65_536, 4_096),
        ),
        Model("gemini-3-pro-image", 3.0, "image", thinking=_IMAGE, limits=(65_536, 32_768)),
        Model("gemini-nano-banana-2.1", 3.6, "image", thinking=_IMAGE, limits=(131_072, 32_768)),
        Model("gemini-2.5-flash-image", 2.5, "image", limits=(65_536, 32_768)),
        Model("gemini-2.5-flash-image-preview", 2.5, "image", limits=(65_536, 32_768), states=_dead("2026-01-15")),
        Model("gemini-3-pro-image-preview", 3.0, "image", limits=(65_536, 32_768), states=_dead("2026-06-25")),
        Model("gemini-3.1-flash-image-preview", 3.1, "image", limits=(65_536, 65_536), states=_dead("2026-06-25")),
        Model("nano-banana-pro-preview", 3.0, "image", limits=(131_072, 32_768)),
        Model("gemini-3.8-flash-tts", 3.8, "tts", limits=_TTS, streams=False),
        Model("gemini-3.8-flash-lite-tts", 3.8, "tts", limits=_TTS, streams=False),
        Model("gemini-3.1-flash-tts-preview", 3.1, "tts", limits=_TTS, states=_dead("2026-11-17")),
        Model("gemini-2.5-flash-preview-tts", 2.5, "tts", limits=_TTS, states=_dead("2026-11-17"), streams=False),
        Model("gemini-2.5-pro-preview-tts", 2.5, "tts", limits=_TTS, states=_dead("2026-11-17"), streams=False),
        Model("gemini-robotics-er-2-preview", 3.8, thinking=_MEDIUM, limits=(131_072, 65_536)),
        Model("gemini-3.5-transcribe", 3.5, limits=(98_304, 32_768)),
        Model("gemini-embedding-2", 0, "embedding", limits=(8_192, 1), dimensions=3072),
        Model("gemini-embedding-2-preview", 0, "embedding", limits=(8_192, 1), dimensions=3072),
        Model("gemini-embedding-001", 0, "embedding", limits=(2_048, 1), dimensions=3072),
        Model("text-embedding-004", 0, "embedding", limits=(2_048, 1), dimensions=768, states=_dead("2026-01-14")),
        Model("imagen-4.0-generate-001", 0, "predict", limits=(480, 8_192), states=_dead("2026-08-17")),
        Model("imagen-4.0-fast-generate-001", 0, "predict", limits=(480, 8_192), states=_dead("2026-08-17")),
        Model("imagen-4.0-ultra-generate-001", 0, "predict", limits=(480, 8_192), states=_dead("2026-08-17")),
    )
}

METHODS: dict[Kind, tuple[str, ...]] = {
    "text": ("generateContent", "countTokens", "createCachedContent", "batchGenerateContent"),
    "image": ("generateContent", "countTokens", "batchGenerateContent"),
    "tts": ("generateContent", "countTokens"),
    "embedding": ("embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent"),
    "predict": ("predict",),
}

# The name a 404 uses for the method: streams and batches report the method they are a form of.
METHOD_NAME = {"streamGenerateContent": "generateContent", "batchEmbedContents": "embedContent"}


@dataclass(slots=True)
class Overrides:
    """States set by hand through the control endpoint: model id -> (state, target)."""

    states: dict[str, tuple[Lifecycle, str]] = field(default_factory=dict)


def state_of(model: Model, now: float, overrides: Overrides | None = None) -> tuple[Lifecycle, str]:
    """The state of a model at `now` (Unix seconds) and, when re-routed, the target's id."""
    if overrides and model.id in overrides.states:
        return overrides.states[model.id]
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    current: tuple[Lifecycle, str] = ("alive", "")
    for since, state, target in model.states:
        if day >= since:
            current = (state, target)
    return current


def effective(model_id: str, version: str, method: str, now: float, overrides: Overrides | None = None) -> Model:
    """The model that runs a request; raises the 404 of a dead, closed or unknown one, or of a method it lacks."""
    reported = METHOD_NAME.get(method, method)
    model = MODELS.get(model_id)
    if model is None:
        raise errors.model_not_found(f"models/{model_id}", version, reported)
    state, target = state_of(model, now, overrides)
    if state == "closed":
        raise errors.closed_to_new_users(f"models/{model_id}")
    if state == "dead":
        raise errors.model_not_found(f"models/{model_id}", version, reported)
    if state == "rerouted":
        model = MODELS[target]
    if reported not in METHODS[model.kind] or (method == "streamGenerateContent" and not model.streams):
        raise errors.model_not_found(f"models/{model_id}", version, method if not model.streams else reported)
    return model


def resource(model: Model) -> dict[str, Any]:
    """The Model resource that `GET models/{id}` returns."""
    body: dict[str, Any] = {
        "name": f"models/{model.id}",
        "version": str(model.generation) if model.generation else "001",
        "displayName": model.id.replace("-", " ").title(),
        "description": f"{model.id}, emulated",
        "inputTokenLimit": model.limits[0],
        "outputTokenLimit": model.limits[1],
        "supportedGenerationMethods": list(METHODS[model.kind]),
    }
    if model.kind in ("text", "image", "tts"):
        body |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
    if model.thinking:
        body["thinking"] = True
    return body


def listed(now: float, overrides: Overrides | None = None) -> list[Model]:
    """The models a listing shows at `now`: everything that still answers."""
    return [model for model in MODELS.values() if state_of(model, now, overrides)[0] in ("alive", "rerouted")]
