"""From parameters to one Gemini request: what OpenAI's dialects that generate answers do alike."""

import re

from msgspec import Struct

from shared.dialects.contract import RequestContext
from shared.dialects.openai.fields import boolean, invalid, string
from shared.dialects.openai.media_output import OUTPUTS, Outputs, add_outputs
from shared.dialects.openai.messages import Conversation
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import (
    SAMPLING,
    Parameters,
    add_limits,
    add_logprobs,
    add_sampling,
    read_stop,
)
from shared.dialects.openai.reasoning import thinking
from shared.dialects.openai.response_format import Format, apply_format, read_format, read_google_format
from shared.dialects.openai.safety import safety_settings
from shared.dialects.openai.tool_choice import ToolPlan
from shared.gemini.signatures import complete
from shared.gemini.types import Content, GenerateContentRequest, GenerationConfig, Part

MAX_SIGNATURE_KEYS = 100  # one BatchGetItem

# OpenAI's word -> the upstream's; None = say nothing. Mapping `auto` to priority would cost money.
SERVICE_TIERS = {
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
    "ultrafast": "priority",
    "default": "standard",
    "standard": "standard",
    "auto": None,
    "scale": None,
}
_FORM = frozenset(["stop", "logprobs", "top_logprobs", "response_format", "response_mime_type", "response_schema"])
_FORM |= OUTPUTS
_SETTINGS = frozenset(["safety_settings", "service_tier", "cached_content"])
_CACHED_CONTENT = r"cachedContents/[A-Za-z0-9_-]{1,128}"


class Generation(Struct, frozen=True):
    """`generationConfig`, and what follows from the same parameters for the gateway and the renderer."""

    config: GenerationConfig
    stop: tuple[str, ...]
    logprobs: bool
    outputs: Outputs
    in_words: str


def generation(
    params: Parameters, plan: ToolPlan, conversation: Conversation, context: RequestContext, notes: Notes
) -> Generation:
    """`plan` and `conversation` are of the same body. `invalid_request` names the parameter at fault."""
    caps = context.model.capabilities
    config: GenerationConfig = {}
    stop: tuple[str, ...] = ()
    logprobs, outputs, in_words = False, Outputs(), ""
    if not params.lacks(SAMPLING):
        add_sampling(params, config, caps, notes)
    add_limits(params, config, caps, context.max_output_tokens, notes)
    if caps.modalities or conversation.resolution or not params.lacks(_FORM):
        stop = read_stop(params, config)
        logprobs = add_logprobs(params, config, caps, notes)
        outputs = add_outputs(params, config, caps, notes)
        if conversation.resolution and "mediaResolution" not in config:
            config["mediaResolution"] = conversation.resolution
        in_words = _format(params, plan, config, context)
    thoughts = thinking(params, context.model, config.get("maxOutputTokens"), notes)
    if thoughts:
        config["thinkingConfig"] = thoughts
    return Generation(config, stop, logprobs, outputs, in_words)


def _format(params: Parameters, plan: ToolPlan, config: GenerationConfig, context: RequestContext) -> str:
    given = params.get("response_format")
    wanted = read_format(given.value, given.path) if given else Format()
    mime_type, schema = params.get("response_mime_type"), params.get("response_schema")
    google = mime_type or schema
    if given is None and google is not None:
        wanted = read_google_format(
            mime_type.value if mime_type else None,
            schema.value if schema else None,
            google.path.rpartition(".")[0],
        )
    # Google Maps takes JSON output in a field of its own only, which is newer than what other tools need.
    tools = bool(plan.tools)
    maps = "googleMaps" in plan.built_ins
    return apply_format(wanted, config, context.model.capabilities, tools=tools, forced=plan.forced or maps)


def signed(contents: list[Content], context: RequestContext) -> list[Content]:
    """The contents with every signature in order; a thought whose signature had to go cannot stay."""
    kept: list[Content] = []
    for content in complete(contents, context.model.capabilities):
        parts = [part for part in content["parts"] if "thought" not in part or _may_stay(part)]
        if parts:
            content["parts"] = parts
            kept.append(content)
    return kept


def _may_stay(part: Part) -> bool:
    return not part.get("thought") or bool(part.get("thoughtSignature"))


def assemble(
    conversation: Conversation, contents: list[Content], plan: ToolPlan, config: GenerationConfig
) -> GenerateContentRequest:
    """The members in one fixed order, so that equal beginnings stay equal for the upstream's prefix cache."""
    request: GenerateContentRequest = {}
    if conversation.system:
        request["systemInstruction"] = {"parts": conversation.system}
    if plan.tools:
        request["tools"] = plan.tools
    if plan.config:
        request["toolConfig"] = plan.config
    request["contents"] = contents
    if config:
        request["generationConfig"] = config
    return request


def add_settings(request: GenerateContentRequest, params: Parameters, context: RequestContext, notes: Notes) -> None:
    """Safety settings, service tier and cached content, into `request`."""
    if params.lacks(_SETTINGS) and not context.safety_off:
        return
    settings = safety_settings(params.get("safety_settings"), off=context.safety_off, notes=notes)
    if settings:
        request["safetySettings"] = settings
    tier = params.get("service_tier")
    if tier:
        word = string(tier.value, tier.path).lower()
        if word not in SERVICE_TIERS:
            notes.ignored(tier.path)
        elif (wire := SERVICE_TIERS[word]) is not None:
            request["serviceTier"] = wire
    cached = params.get("cached_content")
    if cached:
        name = string(cached.value, cached.path)
        if not re.fullmatch(_CACHED_CONTENT, name):
            raise invalid("Expected cachedContents/<id>.", cached.path)
        request["cachedContent"] = name


def single_call(params: Parameters) -> bool:
    """Whether the client wants one tool call at a time; the upstream has no switch for it."""
    given = params.get("parallel_tool_calls")
    return given is not None and not boolean(given.value, given.path)
