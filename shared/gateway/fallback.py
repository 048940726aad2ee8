"""A request made for one model, for the next model of its chain: what that one lacks is left out or put in its words.

Translators know one model; a chain is walked after they are done, so the change is made on the upstream's own
vocabulary, the same for every dialect.
"""

from collections.abc import Mapping
from typing import Any, cast

from shared.errors import ErrorKind
from shared.gateway.repairs import with_openapi_schemas, with_sentinels
from shared.gemini.catalog import Capabilities
from shared.gemini.prefill import go_on
from shared.gemini.signatures import same_generation
from shared.gemini.thinking import thinking_config
from shared.gemini.types import GenerateContentRequest

# What another model may not suffer from. A refused credential would be refused there too.
FALL_BACK_ON: frozenset[ErrorKind] = frozenset(
    {
        "model_not_found",
        "upstream_fault",
        "upstream_internal",
        "upstream_invalid_response",
        "upstream_overloaded",
        "upstream_quota",
        "upstream_rate_limited",
        "upstream_timeout",
        "upstream_truncated",
        "upstream_unreachable",
    }
)
_BOUND_TO_MODEL = ("cachedContent", "continuationToken")
_SAMPLING = ("temperature", "topP", "topK")
_LOGPROBS = ("responseLogprobs", "logprobs")
_JSON = ("responseSchema", "responseJsonSchema")


def adapted(
    request: GenerateContentRequest, source: Capabilities, target: Capabilities
) -> GenerateContentRequest | None:
    """The request for the target; None where it holds content that the target cannot take, which is never dropped."""
    if any(name in request for name in _BOUND_TO_MODEL) or not _takes(request, target):
        return None
    contents = [_content(item, source, target) for item in request.get("contents", [])]
    changed = cast(GenerateContentRequest, {**request, "contents": contents})
    if "generationConfig" in request:
        changed["generationConfig"] = cast(Any, _config(request["generationConfig"], target))
    if not target.json_schema:
        changed = with_openapi_schemas(changed) or changed
    return with_sentinels(changed) if target.signatures else changed


def taken_over(request: GenerateContentRequest, source: Capabilities, target: Capabilities) -> GenerateContentRequest:
    """The request of a model that is gone for the one that serves it now, which finds out about the rest."""
    contents = request.get("contents", [])
    if _refuses_prefill(request, target):
        request = {**request, "contents": [*contents, go_on()]}
    return (adapted(request, source, target) or request) if contents else request


def _refuses_prefill(request: GenerateContentRequest, target: Capabilities) -> bool:
    contents = request.get("contents", [])
    return bool(contents) and contents[-1].get("role") == "model" and not target.prefill


def _takes(request: GenerateContentRequest, target: Capabilities) -> bool:
    if _refuses_prefill(request, target):
        return False
    contents = request.get("contents", [])
    functions = any("functionDeclarations" in tool for tool in request.get("tools", []))
    built_ins = any(name != "functionDeclarations" for tool in request.get("tools", []) for name in tool)
    json_wanted = any(name in request.get("generationConfig", {}) for name in _JSON)
    if not target.builtin_with_tools and functions and built_ins:
        return False
    if not target.json_with_tools and json_wanted and request.get("tools"):
        return False
    answers = [part.get("functionResponse", {}) for content in contents for part in content.get("parts", [])]
    return target.tool_media or not any("parts" in cast(Mapping[str, Any], answer) for answer in answers)


def _content(content: Any, source: Capabilities, target: Capabilities) -> Any:
    parts = content.get("parts")
    if not isinstance(parts, list):
        return content
    foreign = not same_generation(source.family, target.family)
    return {**content, "parts": [_part(part, target, foreign=foreign) for part in parts]}


def _part(part: Mapping[str, Any], target: Capabilities, *, foreign: bool) -> dict[str, Any]:
    kept = {name: value for name, value in part.items() if not (foreign and name == "thoughtSignature")}
    if not target.call_ids:
        for name in ("functionCall", "functionResponse"):
            if isinstance(call := kept.get(name), Mapping):
                kept[name] = {key: value for key, value in call.items() if key != "id"}
    return kept


def _config(config: Mapping[str, Any], target: Capabilities) -> dict[str, Any]:
    dropped = {"thinkingConfig", *(() if target.sampling else _SAMPLING), *(() if target.logprobs else _LOGPROBS)}
    kept = {name: value for name, value in config.items() if name not in dropped}
    limit = kept.get("maxOutputTokens")
    if isinstance(limit, int) and target.output_limit:
        kept["maxOutputTokens"] = limit = min(limit, target.output_limit)
    asked = config.get("thinkingConfig")
    if isinstance(asked, Mapping):
        thinking = thinking_config(
            target,
            effort=None,
            budget=asked.get("thinkingBudget"),
            level=asked.get("thinkingLevel"),
            include_thoughts=asked.get("includeThoughts"),
            max_output_tokens=limit if isinstance(limit, int) else None,
        )
        if thinking:
            kept["thinkingConfig"] = thinking
    return kept
