"""A native request on its way up: one spelling, the model's own rules, nothing translated.

What a client says about content, tools, schemas and signatures is sent as it came; the upstream judges it. Changed is
only what the gateway knows better: retired tuning fields, the key's ceiling, what the model's name itself asks for.
"""

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct, field

from shared.dialects.gemini_native.canonical import canonical, refused
from shared.dialects.gemini_native.choices import MAX_CHOICES
from shared.gemini.catalog import Capabilities, ResolvedModel
from shared.gemini.file_links import upstream_file
from shared.gemini.prefill import go_on
from shared.gemini.thinking import thinking_config
from shared.gemini.types import GenerateContentRequest

_SAMPLING = {"temperature": (0, 2), "topP": (0, 1), "topK": (0, None)}
_PENALTIES = ("presencePenalty", "frequencyPenalty")
_ADJUSTABLE = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")


class NativeRequest(Struct, frozen=True):
    """`warnings` are `code:detail` items for `x-gateway-warnings`; `owned` names the stored objects that the request
    uses, as `files/x` and `cachedContents/x`. `continues`: the client follows long decodes itself. `choices`: answers
    that are asked for, each by itself. `echo_prefix`: text of a trailing model turn that the answer may repeat."""

    request: GenerateContentRequest
    warnings: list[str] = field(default_factory=list)
    owned: tuple[str, ...] = ()
    continues: bool = False
    choices: int = 1
    echo_prefix: str = ""


def read_generate(
    body: Mapping[str, Any], model: ResolvedModel, *, max_output_tokens: int | None = None, safety_off: bool = False
) -> NativeRequest:
    """A generateContent body for `model`. Raises `invalid_request` with Google's path for what cannot be read."""
    request = canonical("GenerateContentRequest", body)
    request.pop("model", None)  # the path names it, and only the path is resolved
    warnings: list[str] = []
    if model.aliased:
        warnings.append(f"model:{model.id}")
    config = request.pop("generationConfig", {})
    choices = _choices(config)
    _settle_sampling(config, model.capabilities, warnings)
    _limit_output(config, model.capabilities, max_output_tokens, warnings)
    _apply_name(config, request, model)
    if config:  # an empty one, as Google's SDK adds from the second hop on, says nothing
        request["generationConfig"] = config
    if safety_off and not request.get("safetySettings"):
        request["safetySettings"] = [{"category": f"HARM_CATEGORY_{word}", "threshold": "OFF"} for word in _ADJUSTABLE]
    _settle_contents(request, model)
    echo_prefix = _continue_prefill(request, model.capabilities, warnings)
    return NativeRequest(
        cast(GenerateContentRequest, request),
        warnings,
        owned(request),
        "continuationToken" in request,
        choices,
        echo_prefix,
    )


def read_count(body: Mapping[str, Any], model: ResolvedModel) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(body, stored objects) of countTokens: either form stays; the model inside becomes the resolved one."""
    request = canonical("CountTokensRequest", body)
    inner = request.get("generateContentRequest")
    if inner is not None:
        request["generateContentRequest"] = {**inner, "model": f"models/{model.id}"}
    # what else stands beside the contents has no place there: nobody has read it, and the upstream refuses it
    return request, owned(inner or {"contents": request.get("contents", ())})


def owned(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the stored objects behind a request, each once: Google's file links and cached contents."""
    seen: dict[str, None] = {}
    cached = request.get("cachedContent")
    if isinstance(cached, str) and cached:
        seen["cachedContents/" + cached.removeprefix("cachedContents/")] = None
    system = request.get("systemInstruction")
    for content in [*request.get("contents", ()), *([system] if system else ())]:
        for part in content.get("parts", ()):
            if "fileData" in part or "functionResponse" in part:
                for holder in (part, *part.get("functionResponse", {}).get("parts", ())):
                    if name := upstream_file(holder.get("fileData", {}).get("fileUri", "")):
                        seen[name] = None
    return tuple(seen)


def _settle_sampling(config: dict[str, Any], caps: Capabilities, warnings: list[str]) -> None:
    """Newer models check the range of what they ignore, and the next ones are to refuse it: so do we, and drop it."""
    for name, (low, high) in _SAMPLING.items():
        value = config.get(name)
        if value is None:
            continue
        if name == "topK" and value == -1:
            del config[name]
            continue
        if value < low or (high is not None and value > high):
            shown = f"the supported range is from {low} to {high}" if high is not None else f"it must be {low} or more"
            path = "generation_config." + {"topP": "top_p", "topK": "top_k"}.get(name, name)
            raise refused(path, f"* GenerateContentRequest.{path}: {shown}.")
        if not caps.sampling:
            del config[name]
            warnings.append(f"ignored:generationConfig.{name}")
    dropped = [name for name in _PENALTIES if config.pop(name, None) is not None]
    warnings += [f"ignored:generationConfig.{name}" for name in dropped]


def _choices(config: dict[str, Any]) -> int:
    """Taken out of the config: streams take only one candidate, and 3.x refuses to be told even that."""
    count: int = config.pop("candidateCount", 1)
    if not 1 <= count <= MAX_CHOICES:
        path = "generation_config.candidate_count"
        raise refused(path, f"* GenerateContentRequest.{path}: it must be from 1 to {MAX_CHOICES}.")
    return count


def _limit_output(config: dict[str, Any], caps: Capabilities, ceiling: int | None, warnings: list[str]) -> None:
    """The key's ceiling holds with and without the client's own limit; the model's limit is what Google caps at."""
    asked = config.get("maxOutputTokens")
    limits = [value for value in (asked, ceiling) if value is not None]
    if not limits:
        return
    if caps.output_limit:
        limits.append(caps.output_limit)
    config["maxOutputTokens"] = min(limits)
    if asked is not None and ceiling is not None and asked > ceiling:
        warnings.append(f"max_output_tokens:{ceiling}")


def _apply_name(config: dict[str, Any], request: dict[str, Any], model: ResolvedModel) -> None:
    """What a name such as `gemini-2.5-flash-thinking` or `gemini-3.8-flash-search` asks for, where the body does not
    say otherwise."""
    caps = model.capabilities
    if "thinkingConfig" not in config:
        # maxOutputTokens is left out on purpose: a native client gets the model's own default for short answers
        chosen = thinking_config(
            caps,
            effort=model.effort,
            budget=-1 if model.dynamic_budget else None,
            include_thoughts=model.include_thoughts,
        )
        if chosen:
            config["thinkingConfig"] = chosen
    if model.aliased and caps.modalities and "responseModalities" not in config:
        config["responseModalities"] = list(caps.modalities)
    if model.search and not any("googleSearch" in tool for tool in request.get("tools", ())):
        request["tools"] = [*request.get("tools", ()), {"googleSearch": {}}]


def _settle_contents(request: dict[str, Any], model: ResolvedModel) -> None:
    contents = request.get("contents")
    if not contents:
        return
    for content in contents:
        if content.get("role") == "function":  # of the first function-calling samples
            content["role"] = "user"
        if not model.capabilities.call_ids:
            for part in content.get("parts", ()):
                for name in ("functionCall", "functionResponse"):
                    if name in part:
                        part[name].pop("id", None)  # older models refuse what newer ones issued
    if model.capabilities.call_ids:
        _pair_ids(contents)


def _continue_prefill(request: dict[str, Any], caps: Capabilities, warnings: list[str]) -> str:
    """Newer models refuse a final model turn. One of words stays, is followed by a turn that asks to go on, and is
    returned as what the answer may repeat; one with calls is the upstream's to refuse, as it lacks their results."""
    contents = request.get("contents") or [{}]
    parts = contents[-1].get("parts", ())
    if caps.prefill or contents[-1].get("role") != "model" or any("functionCall" in part for part in parts):
        return ""
    contents.append(go_on())
    warnings.append("prefill:continued")
    if "continuationToken" in request:  # a later hop repeats the first request, and never its beginning
        return ""
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def _pair_ids(contents: list[dict[str, Any]]) -> None:
    """Google's SDK leaves the id out of the results of functions that it calls itself, and newer models want the id of
    the call: results of one name answer the calls of that name in their order, whatever turns stand between."""
    waiting: list[dict[str, Any]] = []
    for content in contents:
        parts = content.get("parts", ())
        waiting += [part["functionCall"] for part in parts if "functionCall" in part and part["functionCall"].get("id")]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if not results:
            continue
        answered = {result.get("id") for result in results}
        waiting = [call for call in waiting if call["id"] not in answered]
        for result in results:
            call = next((call for call in waiting if call.get("name") == result.get("name")), None)
            if call is not None and not result.get("id"):
                waiting.remove(call)
                result["id"] = call["id"]
