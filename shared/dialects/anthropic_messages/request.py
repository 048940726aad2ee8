"""An Anthropic message request as one Gemini request: the verbs of the dialect's request side, all pure.

Whatever a client sends, they raise nothing but `GatewayError`, with `param` naming the JSON path in the client's body.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.anthropic_messages.assistant import THINKING, envelope_of
from shared.dialects.anthropic_messages.fields import boolean, filled, invalid, loose_objects
from shared.dialects.anthropic_messages.messages import Conversation, finish_prefill, read_messages
from shared.dialects.anthropic_messages.notes import Notes
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.output_format import apply_format
from shared.dialects.anthropic_messages.parameters import (
    add_max_tokens,
    add_sampling,
    check_unsupported,
    read_format,
    read_max_tokens,
    read_speed,
    read_stop,
)
from shared.dialects.anthropic_messages.thinking import Thinking, read_thinking
from shared.dialects.anthropic_messages.tool_choice import ToolPlan, plan_tools
from shared.dialects.anthropic_messages.versions import check_version
from shared.dialects.contract import RequestContext, Translation
from shared.gemini.signatures import call_key, complete, content_key
from shared.gemini.types import GenerateContentRequest, GenerationConfig

MAX_SIGNATURE_KEYS = 100  # one BatchGetItem

_SAFETY_CATEGORIES = tuple(
    f"HARM_CATEGORY_{word}" for word in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
)


def requested_model(body: Mapping[str, Any]) -> str:
    return filled(body.get("model"), "model")


def wants_stream(body: Mapping[str, Any]) -> bool:
    stream = body.get("stream")
    return stream is not None and boolean(stream, "stream")


def signature_keys(body: Mapping[str, Any]) -> list[str]:
    """The store keys of the calls in the history, newest message first, at most 100.

    A call whose envelope stands before it needs none. The first call of a message, which alone is signed, is also
    looked for by its content, for clients that make ids of their own. Never raises: `to_gemini` says what is wrong with
    a body.
    """
    keys: dict[str, None] = {}
    messages = body.get("messages")
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            keys.update(dict.fromkeys(_keys_of(message)))
            if len(keys) >= MAX_SIGNATURE_KEYS:
                break
    return list(keys)[:MAX_SIGNATURE_KEYS]


def _keys_of(message: Mapping[str, Any]) -> list[str]:
    keys: list[str] = []
    by_content: list[str] = []
    calls, carried = 0, False
    for block in loose_objects(message.get("content")):
        if block.get("type") in THINKING:
            envelope = envelope_of(block)
            carried = carried or (envelope is not None and envelope.kind == "fc" and bool(envelope.signature))
        elif block.get("type") == "tool_use":
            calls += 1
            call_id, name, args = block.get("id"), block.get("name"), block.get("input")
            if not carried and isinstance(call_id, str) and call_id:
                keys.append(call_key(call_id))
            if not carried and calls == 1 and isinstance(name, str):
                by_content.append(content_key("", name, args if isinstance(args, Mapping) else {}))
            carried = False
    return keys + by_content


def to_gemini(body: Mapping[str, Any], context: RequestContext) -> Translation:
    """The whole translation. The request is canonical (camelCase, upper-case enums) and holds no unknown field.

    With `max_tokens: 0` nothing is to be generated: `prompt_only` says so.
    """
    max_tokens = read_max_tokens(body)
    notes = Notes(context.strict)
    if context.strict_version:
        check_version(body, context.api_version)
    made = _make(body, context, max_tokens, notes)
    speed = read_speed(body, fast_as_priority=context.fast_as_priority)
    if speed == "fast":
        made.request["serviceTier"] = "priority"
    return Translation(
        request=made.request,
        stream=wants_stream(body),
        warnings=notes.items,
        tool_names=made.plan.names.mapping,
        declared_tools=made.plan.wire_names,
        single_call=made.plan.single_call,
        stop=read_stop(body),
        echo_prefix=made.prefix,
        unfence_json=made.in_words,
        prompt_only=max_tokens == 0,
        options=MessagesOptions(
            thinking_asked=made.thinking.asked,
            show_thinking=made.thinking.shown,
            family=context.model.capabilities.family,
            server_tools=made.plan.server_tools,
            only_server_tools=bool(made.plan.server_tools) and not made.plan.wire_names,
            blocked_domains=made.plan.blocked_domains,
            speed=speed,
            prompt=made.request,
        ),
    )


def count_request(body: Mapping[str, Any], context: RequestContext) -> GenerateContentRequest:
    """The request whose tokens `count_tokens` counts: the same translation, but `max_tokens` plays no part."""
    return _make(body, context, None, Notes(context.strict)).request


class _Made(Struct, frozen=True):
    request: GenerateContentRequest
    plan: ToolPlan
    thinking: Thinking
    prefix: str
    in_words: bool  # JSON was asked for in words


def _make(body: Mapping[str, Any], context: RequestContext, max_tokens: int | None, notes: Notes) -> _Made:
    model, caps = context.model, context.model.capabilities
    if caps.output_limit <= 0 or caps.modalities == ("AUDIO",):
        raise invalid("This model does not generate text", "model")
    check_unsupported(body)
    plan = plan_tools(body, model, notes)
    conversation = read_messages(body, caps, plan, context.signatures, notes)
    config: GenerationConfig = {}
    add_sampling(body, config, caps, notes)
    add_max_tokens(max_tokens, config, caps.output_limit, context.max_output_tokens, notes)
    if caps.modalities:
        config["responseModalities"] = list(caps.modalities)
    in_words = _add_format(body, config, plan, conversation, context)
    thinking = read_thinking(body, model, max_tokens, notes)
    if thinking.config:
        config["thinkingConfig"] = thinking.config
    for hint in (plan.hint, in_words):
        if hint:
            conversation.system.append({"text": hint})
    prefix = finish_prefill(conversation.contents, caps)
    return _Made(_request(conversation, plan, config, context), plan, thinking, prefix, bool(in_words))


def _add_format(
    body: Mapping[str, Any],
    config: GenerationConfig,
    plan: ToolPlan,
    conversation: Conversation,
    context: RequestContext,
) -> str:
    """Structured output; and the refusal of what cannot be continued from a given beginning."""
    wanted = read_format(body)
    if conversation.prefilled and (plan.tools or wanted):
        raise invalid("The final message must be the user's where tools or structured output are used", "messages")
    if wanted is None:
        return ""
    schema, param = wanted
    caps = context.model.capabilities
    return apply_format(schema, param, config, caps, tools=bool(plan.tools), forced=plan.forced)


def _request(
    conversation: Conversation, plan: ToolPlan, config: GenerationConfig, context: RequestContext
) -> GenerateContentRequest:
    """The members in one fixed order, so that equal beginnings stay equal for the upstream's prefix cache."""
    request: GenerateContentRequest = {}
    if conversation.system:
        request["systemInstruction"] = {"parts": conversation.system}
    if plan.tools:
        request["tools"] = plan.tools
    if plan.config:
        request["toolConfig"] = plan.config
    request["contents"] = complete(conversation.contents, context.model.capabilities)
    if config:
        request["generationConfig"] = config
    if context.safety_off:
        request["safetySettings"] = [{"category": category, "threshold": "OFF"} for category in _SAFETY_CATEGORIES]
    return request
