"""Requests changed where the upstream's refusal says how: one more try instead of a 400 for the client."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from shared.gemini.schema import openapi_schema
from shared.gemini.signatures import SENTINEL
from shared.gemini.types import GenerateContentRequest

Repair = Callable[[GenerateContentRequest], GenerateContentRequest | None]


def with_sentinels(request: GenerateContentRequest) -> GenerateContentRequest:
    """The dummy on the first call of every model turn that has no signature."""
    contents = []
    for content in request.get("contents", []):
        parts = list(content.get("parts", []))
        first = next((place for place, part in enumerate(parts) if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in parts[first]:
            parts[first] = {**parts[first], "thoughtSignature": SENTINEL}
        contents.append({**content, "parts": parts})
    return _changed(request, contents=contents)


def _other_level(request: GenerateContentRequest) -> GenerateContentRequest | None:
    """The next level that every model has."""
    thinking = _thinking(request)
    if "thinkingLevel" not in thinking:
        return None
    level = "LOW" if thinking["thinkingLevel"] == "MINIMAL" else "HIGH"
    return _with_thinking(request, {**thinking, "thinkingLevel": level})


def _without_budget(request: GenerateContentRequest) -> GenerateContentRequest | None:
    thinking = _thinking(request)
    if "thinkingBudget" not in thinking:
        return None
    return _with_thinking(request, _without(thinking, "thinkingBudget"))


def _without_logprobs(request: GenerateContentRequest) -> GenerateContentRequest | None:
    config = cast(Mapping[str, Any], request.get("generationConfig", {}))
    return _changed(request, generationConfig=_without(config, "logprobs", "responseLogprobs"))


def with_openapi_schemas(request: GenerateContentRequest) -> GenerateContentRequest | None:
    """For models that know only the older dialect of schemas."""
    tools: list[Mapping[str, Any]] = []
    for tool in request.get("tools", []):
        declarations = [
            _older(item, "parametersJsonSchema", "parameters") for item in tool.get("functionDeclarations", [])
        ]
        tools.append({**tool, "functionDeclarations": declarations} if declarations else tool)
    config = _older(request.get("generationConfig", {}), "responseJsonSchema", "responseSchema")
    changes = ({"tools": tools} if tools else {}) | ({"generationConfig": config} if config else {})
    return _changed(request, **changes) if changes else None


REPAIRS: Mapping[str, Repair] = {
    "missing_signature": with_sentinels,
    "level_unsupported": _other_level,
    "level_and_budget": _without_budget,
    "budget_unsupported": _without_budget,
    "logprobs": _without_logprobs,
    "json_schema": with_openapi_schemas,
}


def _older(holder: Any, name: str, older: str) -> dict[str, Any]:
    if name not in holder:
        return dict(holder)
    return {**_without(holder, name), older: openapi_schema(holder[name])}


def _thinking(request: GenerateContentRequest) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], request.get("generationConfig", {}).get("thinkingConfig", {}))


def _with_thinking(request: GenerateContentRequest, thinking: Mapping[str, Any]) -> GenerateContentRequest:
    return _changed(request, generationConfig={**request.get("generationConfig", {}), "thinkingConfig": thinking})


def _without(holder: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in holder.items() if name not in names}


def _changed(request: GenerateContentRequest, **changes: Any) -> GenerateContentRequest:
    return cast(GenerateContentRequest, {**request, **changes})
