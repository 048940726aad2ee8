"""Which model a client's name means, what will run for it, and what that model accepts.

Pure look-ups in generated data (`catalog_data`, made by `python -m infra.catalog`). Dates are passed in, because Google
re-routes models on announced days.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from shared.errors import GatewayError
from shared.gemini.catalog_data.models import (
    ALIASES,
    CLAUDE_FAMILIES,
    FALLBACKS,
    MODELS,
    PREFIXES,
    PROFILES,
    REROUTES,
    UNKNOWN,
)

Thinking = Literal["none", "budget", "level"]


class Capabilities(Struct, frozen=True):
    """What a model accepts beyond plain text. `family` groups models that read each other's thought signatures."""

    family: str  # "2.5", "3", "3.1", ..., "4", "gemma-4", "3.1-image", "3.8-tts", "embedding", ...
    thinking: Thinking
    levels: tuple[str, ...]  # upper-case wire words in rising order, for "level"
    budget_min: int  # the smallest budget that is not 0, for "budget"
    budget_max: int
    budget_off: bool  # 0 is allowed
    include_thoughts: bool  # may be asked for thoughts
    sampling: bool  # temperature, topP, topK may be sent
    prefill: bool  # the final turn may be the model's
    signatures: bool  # calls of the current turn must be signed
    call_ids: bool  # functionCall.id may be sent
    tool_media: bool  # media in functionResponse.parts
    json_with_tools: bool
    builtin_with_tools: bool
    json_schema: bool  # parametersJsonSchema, responseJsonSchema
    logprobs: bool
    candidate_count: int
    modalities: tuple[str, ...]  # responseModalities to send when the client names none
    media_resolution_per_part: bool
    input_limit: int  # tokens
    output_limit: int  # tokens, thinking included; 0 for embeddings
    streams: bool


class Fallback(Struct, frozen=True):
    """A model that answers where another one cannot: what is sent, what will run, and what that accepts."""

    id: str
    effective: str
    capabilities: Capabilities


class ResolvedModel(Struct, frozen=True):
    """A client's model name, understood. `capabilities` are those of `effective`, which is also what the upstream
    bills; a re-routed 2.5 model keeps its thinking budget."""

    requested: str  # as the client wrote it
    id: str  # what is sent upstream
    effective: str  # what will run
    capabilities: Capabilities
    fallback_on_404: str | None  # the upstream may have withdrawn `id`: repeat the call once with this one
    include_thoughts: bool | None  # asked for by the name; None = not said
    effort: str | None  # asked for by the name: "none" of -nothinking
    dynamic_budget: bool  # thinkingBudget -1, asked for by the name
    search: bool  # Google Search, asked for by the name
    candidates: tuple[str, ...]  # names a key's scope must allow: the bare name asked for, `id`, `effective`
    aliased: bool  # another name than the one asked for is sent
    fallbacks: tuple[Fallback, ...] = ()  # of the deployment's own alias, in order


class ModelInfo(Struct, frozen=True):
    """One row of a model list; `created` is in epoch seconds, 0 where unknown."""

    id: str
    display_name: str
    input_limit: int
    output_limit: int
    created: int
    methods: tuple[str, ...]


_GENERATE = ("generateContent", "countTokens")
_EMBED = ("embedContent", "batchEmbedContents", "countTokens")

# Longer than any real id; `[1m]` and `:search` are suffixes that clients add, `@001` is Vertex's version.
_NAME = re.compile(
    r"(?:(?:models|google|gemini|anthropic)/)*[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:@[a-z0-9-]{1,32})?(?::search)?(?:\[1m\])?"
)
_UPSTREAM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FAMILY = r"gemini-(\d+(?:\.\d+)?)(?:-|$)"
_PREFIXES = ("models/", "google/", "gemini/", "anthropic/")
_VERSION = r"@[a-z0-9-]+$"
_KINDS = ("embedding", "-tts", "-image", "banana")  # of models that share no rule and no price with those for text
_DATE = r"-20\d{6}$"  # of Anthropic's dated names


class _Reading(Struct):
    """A name while it is taken apart: what is left of it and what its suffixes asked for."""

    name: str
    include_thoughts: bool | None = None
    effort: str | None = None
    thinking: bool = False
    search: bool = False
    fallbacks: tuple[str, ...] = ()


def resolve(name: str, today: date, *, overrides: Mapping[str, str | tuple[str, ...]] | None = None) -> ResolvedModel:
    """The model behind `name` on the UTC day `today`.

    `overrides` is the deployment's own alias table (name to name, or to several of which the later ones answer where
    the first cannot); it wins over the built-in one. Exact names come
    first, then one prefix or suffix at a time is taken off, then dead generations and Claude's families are mapped,
    and an unknown `gemini-*` or `gemma-*` passes with the newest rules. Raises GatewayError `model_not_found`, with one
    text for malformed, unknown and unserved names.
    """
    return _resolved(name, today, tuple(overrides.items()) if overrides else ())


@lru_cache(maxsize=1_024)
def _resolved(name: str, today: date, rows: tuple[tuple[str, str | tuple[str, ...]], ...]) -> ResolvedModel:
    overrides = dict(rows)
    if not _NAME.fullmatch(name) and name not in overrides:
        raise not_found(name)
    reading = _Reading(name)
    spoken = _read(reading, overrides)
    target, effort, include_thoughts = _target(reading.name)
    if not _UPSTREAM_ID.fullmatch(target):
        raise not_found(name)
    effective = effective_id(target, today)
    capabilities = _capabilities_behind(target, effective)
    asked = reading.include_thoughts
    return ResolvedModel(
        requested=name,
        id=target,
        effective=effective,
        capabilities=capabilities,
        fallback_on_404=FALLBACKS.get(target),
        include_thoughts=include_thoughts if asked is None else asked,
        effort=reading.effort or (None if reading.thinking else effort),
        dynamic_budget=reading.thinking and capabilities.thinking == "budget",
        search=reading.search,
        candidates=tuple(dict.fromkeys((spoken, target, effective))),
        aliased=target != spoken,
        fallbacks=tuple(_fallback(link, today) for link in reading.fallbacks),
    )


def not_found(name: str, reason: str | None = None) -> GatewayError:
    """The one answer for a model that is unknown, malformed, not served or outside a key's scope."""
    shown = "".join(char for char in name[:128] if char.isprintable())
    message = f"The model `{shown}` does not exist or you do not have access to it."
    return GatewayError("model_not_found", message, param="model", reason=reason)


def effective_id(model: str, today: date) -> str:
    """What the upstream runs, and bills, when it is asked for `model` on the UTC day `today`."""
    day = today.isoformat()
    for _ in REROUTES:  # no chain can be longer than the table
        since, target = REROUTES.get(model, ("", ""))
        if not target or day < since:
            break
        model = target
    return model


def capabilities_of(model: str) -> Capabilities:
    """The rules of an upstream id. An unknown one inherits from the model whose name it extends (`...-002`), else from
    the newest of its kind."""
    row = MODELS.get(model) or MODELS.get(longest_prefix(model, MODELS))
    if row is not None:
        profile, _, input_limit, output_limit, _, _ = row
        return _row_capabilities(profile, input_limit, output_limit)
    _, profile, input_limit, output_limit = next(entry for entry in UNKNOWN if entry[0] in model)
    capabilities = _row_capabilities(profile, input_limit, output_limit)
    version = re.match(_FAMILY, model)
    if version and not capabilities.modalities:
        # Two unknown generations are not one family: a signature of the one would be refused by the other.
        return replace(capabilities, family=version[1])
    return capabilities


def listed_models(today: date) -> Sequence[ModelInfo]:
    """The models to show in lists on the UTC day `today`: text, newest first, then images, speech, embeddings."""
    day = today.isoformat()
    return [
        ModelInfo(model, name, input_limit, output_limit, created, _EMBED if profile == "embedding" else _GENERATE)
        for model, (profile, name, input_limit, output_limit, created, listed_until) in MODELS.items()
        if day <= listed_until
    ]


def model_info(model: str) -> ModelInfo:
    """The row of any id that `resolve` returns, listed or not; an unknown id is its own display name."""
    capabilities = capabilities_of(model)
    _, name, _, _, created, _ = MODELS.get(model, ("", model, 0, 0, 0, ""))
    methods = _EMBED if capabilities.family == "embedding" else _GENERATE
    return ModelInfo(model, name, capabilities.input_limit, capabilities.output_limit, created, methods)


def _fallback(name: str, today: date) -> Fallback:
    target = _target(name)[0]
    if not _UPSTREAM_ID.fullmatch(target):
        raise not_found(name)
    effective = effective_id(target, today)
    return Fallback(target, effective, _capabilities_behind(target, effective))


def _read(reading: _Reading, overrides: Mapping[str, str | tuple[str, ...]]) -> str:
    """Takes the name apart until a table knows the rest; returns the bare name the client asked for."""
    seen: set[str] = set()
    spoken = ""
    while True:
        name = reading.name
        if name in overrides and name not in seen:
            seen.add(name)
            spoken = spoken or name
            row = overrides[name]
            reading.name, *rest = (row,) if isinstance(row, str) else row
            reading.fallbacks = reading.fallbacks or tuple(rest)
        elif name in MODELS or name in ALIASES or not (_strip(reading) or _undate(reading, overrides)):
            return spoken or reading.name


def _strip(reading: _Reading) -> bool:
    """Removes one prefix or suffix and notes what it asks for; False when there is none left."""
    name = reading.name
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            reading.name = name.removeprefix(prefix)
            return True
    if name.startswith(("claude-gemini-", "claude-gemma-")):  # how lists show ids to clients that keep only `claude*`
        reading.name = name.removeprefix("claude-")
    elif name.endswith("[1m]"):
        reading.name = name.removesuffix("[1m]")
    elif name.endswith((":search", "-search")):
        reading.name, reading.search = name[: -len("-search")], True
    elif name.endswith("-nothinking"):
        reading.name = name.removesuffix("-nothinking")
        reading.effort, reading.include_thoughts = "none", False
    elif name.endswith("-thinking"):
        reading.name = name.removesuffix("-thinking")
        reading.thinking, reading.include_thoughts = True, True
    elif "@" in name:
        reading.name = re.sub(_VERSION, "", name)
    return reading.name != name


def _undate(reading: _Reading, overrides: Mapping[str, object]) -> bool:
    """Takes a date off the name where a table knows the rest; else it stays, as part of a name nobody listed yet."""
    bare = re.sub(_DATE, "", reading.name)
    if bare == reading.name or not (bare in overrides or bare in MODELS or bare in ALIASES):
        return False
    reading.name = bare
    return True


def _target(name: str) -> tuple[str, str | None, bool | None]:
    """(id, effort, include thoughts) for a bare name; an empty id for what is unknown or not served."""
    if name in MODELS:
        return name, None, None
    row = ALIASES.get(name) or next((row for prefix, row in PREFIXES if name.startswith(prefix)), None)
    if row is not None:
        return row
    if name.startswith("claude-"):
        return next((target for word, target in CLAUDE_FAMILIES if word in name), ""), None, None
    return name if name.startswith(("gemini-", "gemma-")) else "", None, None


def _capabilities_behind(target: str, effective: str) -> Capabilities:
    capabilities = capabilities_of(effective)
    asked = capabilities_of(target)
    if asked.thinking == "budget" and capabilities.thinking == "level":
        # A level is a 400 on 2.5, while 3.x still takes a budget: right on both sides of the day of the re-route.
        return replace(
            capabilities,
            thinking="budget",
            levels=(),
            budget_min=asked.budget_min,
            budget_max=asked.budget_max,
            budget_off=asked.budget_off,
        )
    return capabilities


@cache
def _row_capabilities(profile: str, input_limit: int, output_limit: int) -> Capabilities:
    return Capabilities(**PROFILES[profile], input_limit=input_limit, output_limit=output_limit)


def longest_prefix(model: str, names: Mapping[str, object]) -> str:
    """The longest of `names` that `model` extends at a dash, and is of a kind with; empty where there is none."""
    kinds = [word in model for word in _KINDS]
    while "-" in model:
        model = model.rpartition("-")[0]
        if model in names and [word in model for word in _KINDS] == kinds:
            return model
    return ""
