"""What the upstream refuses in a request that parses: conversation, tools, generationConfig, safety settings."""

from __future__ import annotations

from typing import Any

from infra.local.emulator import errors, schema_rules
from infra.local.emulator.conversation import calls_of, check_contents, results_of
from infra.local.emulator.errors import invalid
from infra.local.emulator.models import Model

type Json = dict[str, Any]

BUILT_IN = (
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "googleMaps",
    "computerUse",
    "fileSearch",
)
LEVEL_UNSUPPORTED = "Thinking level is not supported for this model."


def check(body: Json, model: Model, *, stream: bool, refuse_old_ids: bool = False) -> None:
    """Raises the Refusal the live server would answer `body` (canonical GenerateContentRequest) with.

    Ids on function calls of models before 3 were accepted in every recorded exchange (2025 to August 2026), while
    issue threads report a 400 for them; `refuse_old_ids` chooses the strict reading.
    """
    contents = body.get("contents") or []
    check_contents(contents, model)
    carries_ids = any(row.get("id") for content in contents for row in [*calls_of(content), *results_of(content)])
    if refuse_old_ids and carries_ids and 0 < model.generation < 3:
        raise invalid("Request contains an invalid argument.")
    if "missing" in body.get("cachedContent", ""):
        raise errors.Refusal(403, "CachedContent not found (or permission denied)")
    check_tools(body, model)
    config = body.get("generationConfig") or {}
    check_sampling(config, model, stream=stream)
    check_thinking(config.get("thinkingConfig"), model)
    check_output(body, config, model, stream=stream)
    check_safety(body.get("safetySettings") or [])


# ---------------------------------------------------------------- tools


def declarations(body: Json) -> list[Json]:
    return [row for tool in body.get("tools") or [] for row in tool.get("functionDeclarations") or []]


def built_ins(body: Json) -> list[str]:
    return [name for tool in body.get("tools") or [] for name in BUILT_IN if name in tool]


def calling_mode(body: Json) -> str:
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = config.get("mode") or "AUTO"
    return "AUTO" if mode == "MODE_UNSPECIFIED" else str(mode)


def check_tools(body: Json, model: Model) -> None:
    schema_rules.check_declarations(body.get("tools") or [])
    functions, used = declarations(body), built_ins(body)
    tool_config = body.get("toolConfig") or {}
    calling = tool_config.get("functionCallingConfig") or {}
    if model.kind in ("image", "tts") and functions:
        raise invalid("Function calling is not enabled for this model")
    # Recorded: AUTO beside built-in tools alone is taken.
    if calling and not functions and not (used and calling_mode(body) == "AUTO"):
        raise invalid("Function calling config is set without function_declarations.")
    names = {row["name"] for row in functions}
    allowed = calling.get("allowedFunctionNames") or []
    if allowed and calling_mode(body) not in ("ANY", "VALIDATED"):
        raise invalid(
            "* GenerateContentRequest.tool_config.function_calling_config.allowed_function_names: "
            "allowed_function_names should only be set when function calling mode is ANY or VALIDATED.\n"
        )
    for name in allowed:
        if name not in names:
            raise invalid(
                "* GenerateContentRequest.tool_config.function_calling_config.allowed_function_names: "
                f"{name} is not a declared function.\n"
            )
    if "googleSearchRetrieval" in used and model.generation >= 2:
        raise invalid("google_search_retrieval is not supported. Please use google_search tool instead.")
    if functions and used:
        if model.generation < 3:
            raise invalid("Tool use with function calling is unsupported")
        if not tool_config.get("includeServerSideToolInvocations"):
            raise invalid(
                "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function "
                "calling."
            )


# ---------------------------------------------------------------- generationConfig


def _range(config: Json, name: str, snake: str, low: float, high: float) -> None:
    value = config.get(name)
    if value is not None and not low <= value <= high:
        raise invalid(
            f"* GenerateContentRequest.generation_config.{snake}: {snake} must be in the range [{low}, {high}].\n"
        )  # plausible


def check_sampling(config: Json, model: Model, *, stream: bool) -> None:
    _range(config, "temperature", "temperature", 0.0, 2.0)
    _range(config, "topP", "top_p", 0.0, 1.0)
    _range(config, "logprobs", "logprobs", 0, 20)
    if config.get("topK") is not None and config["topK"] < 0:
        raise invalid("* GenerateContentRequest.generation_config.top_k: top_k must be positive.\n")
    for name in ("presencePenalty", "frequencyPenalty"):
        if config.get(name) is not None and (model.generation >= 2.5 or model.gemma):
            raise invalid(f"Penalty is not enabled for models/{model.id}")
    candidates = config.get("candidateCount", 1)
    if candidates < 1 or candidates > 8:
        _range(config, "candidateCount", "candidate_count", 1, 8)
    if candidates > 1 and (stream or model.generation >= 3):
        raise invalid("Multiple candidates is not enabled for this model")
    stops = config.get("stopSequences") or []
    if len(stops) > 5:
        raise invalid("* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences allowed.\n")
    if "" in stops:
        raise invalid("* GenerateContentRequest.generation_config.stop_sequences: stop sequence must not be empty.\n")
    if config.get("responseLogprobs") and not 0 < model.generation < 3:
        raise invalid(f"Logprobs is not enabled for models/{model.id}")
    if config.get("logprobs") is not None and not config.get("responseLogprobs"):
        raise invalid("logprobs is only allowed when response_logprobs is true.")  # plausible
    limit = config.get("maxOutputTokens")
    if limit is not None and limit < 1:
        raise invalid(
            "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n"
        )


def check_thinking(thinking: Json | None, model: Model) -> None:
    if not thinking:
        return
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level == "THINKING_LEVEL_UNSPECIFIED":
        level = None
    rules = model.thinking
    if level is not None and budget is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if model.gemma and (budget is not None or "includeThoughts" in thinking):
        raise invalid("Thinking budget is not supported for this model.")
    if rules is None:
        if level is not None:
            raise invalid(LEVEL_UNSUPPORTED)
        if budget or thinking.get("includeThoughts"):
            raise invalid("Thinking is not enabled for this model")
        return
    if level is not None and not rules.levels:
        raise invalid(LEVEL_UNSUPPORTED)
    if level is not None and level not in rules.levels:
        raise invalid(
            f"Thinking level {level} is not supported for this model. Please retry with other thinking level."
        )
    if budget is not None and rules.budget:
        _check_budget(budget, rules.budget, zero=rules.zero)


def _check_budget(budget: int, allowed: tuple[int, int], *, zero: bool) -> None:
    low, high = allowed
    if budget == 0 and not zero:
        raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
    if budget not in (0, -1) and not low <= budget <= high:
        raise invalid(f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}.")


def check_output(body: Json, config: Json, model: Model, *, stream: bool) -> None:
    schema_rules.check_pair(config, "responseSchema", "responseJsonSchema", "generation_config")
    mime = config.get("responseMimeType") or "text/plain"
    if mime not in ("text/plain", "application/json", "text/x.enum"):
        raise invalid(
            "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are `text/plain`, "
            "`application/json`, `application/xml`, `application/yaml` and `text/x.enum`.\n"
        )
    schema = "responseSchema" in config or "responseJsonSchema" in config or "_responseJsonSchema" in config
    if schema and mime == "text/plain":
        raise invalid(
            "* GenerateContentRequest.generation_config.response_mime_type: response_mime_type must be set to "
            "application/json or text/x.enum when response_schema is set.\n"
        )
    if mime != "text/plain" and declarations(body):
        _check_json_with_tools(body, model, mime)
    if mime != "text/plain" and model.kind == "image":
        raise invalid("JSON mode is not enabled for this model")
    limit = config.get("maxOutputTokens")
    if model.major == 4 and (limit or 0) > model.limits[1]:
        raise invalid(f"max_output_tokens must not exceed {model.limits[1]} for this model.")  # plausible
    if model.major == 4 and not stream and (limit or 0) > 32_768 and not body.get("continuationToken"):
        raise invalid("max_output_tokens above 32768 requires streaming for this model.")  # plausible
    if body.get("continuationToken") and model.major != 4:
        raise invalid("continuation_token is not supported for this model.")  # plausible
    _check_modalities(config, model)
    _check_speech(config)


def _check_json_with_tools(body: Json, model: Model, mime: str) -> None:
    if model.generation < 3:
        raise invalid(f"Function calling with a response mime type: '{mime}' is unsupported")
    if calling_mode(body) == "ANY":
        raise invalid(f"Forced function calling (ANY mode) with a response mime type: '{mime}' is unsupported")


def _check_modalities(config: Json, model: Model) -> None:
    wanted = set(config.get("responseModalities") or [])
    allowed = {"text": {"TEXT"}, "image": {"TEXT", "IMAGE"}, "tts": {"AUDIO"}}.get(model.kind, set())
    if wanted - allowed - {"MODALITY_UNSPECIFIED"} or (model.kind == "tts" and "AUDIO" not in wanted):
        names = ", ".join(sorted(wanted)) or "TEXT"
        raise invalid(
            "The requested combination of response modalities "
            f"({names}) is not supported by the model. models/{model.id} accepts the following combination of response "
            f"modalities:\n* {', '.join(sorted(allowed))}\n"
        )


def _check_speech(config: Json) -> None:
    multi = (config.get("speechConfig") or {}).get("multiSpeakerVoiceConfig")
    if multi is not None and len(multi.get("speakerVoiceConfigs") or []) != 2:
        raise invalid("multi_speaker_voice_config requires exactly 2 speaker_voice_configs.")  # plausible


def check_safety(settings: list[Json]) -> None:
    seen: set[str] = set()
    for setting in settings:
        category = setting.get("category", "HARM_CATEGORY_UNSPECIFIED")
        if category in seen:
            raise invalid(
                "* GenerateContentRequest.safety_settings: only one safety setting per category is allowed: "
                f"{category}.\n"
            )  # plausible
        seen.add(category)
