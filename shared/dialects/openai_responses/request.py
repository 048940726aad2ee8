"""A Responses request as one Gemini request: the request side of the dialect, all pure.

Input items become messages of the chat form and parameters get the chat dialect's names, so that both dialects share
one translation (`shared.dialects.openai`). Nothing but `GatewayError` is raised; `param` names the client's own path.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import structs

from shared.dialects.contract import RequestContext, StateRefs, Translation
from shared.dialects.openai.assembly import (
    MAX_SIGNATURE_KEYS,
    add_settings,
    assemble,
    generation,
    signed,
    single_call,
)
from shared.dialects.openai.fields import boolean, invalid, mapping, sequence, string
from shared.dialects.openai.messages import read_history
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Parameters, check_unused, refuse_routing
from shared.dialects.openai.tool_calls import arguments
from shared.dialects.openai.tool_choice import plan_tools, read_choice
from shared.dialects.openai.tools import read_tools
from shared.dialects.openai.turns import finish_prefill
from shared.dialects.openai_responses.echo import echoed
from shared.dialects.openai_responses.encrypted import text_of_parts
from shared.dialects.openai_responses.items import ReadItems, item_type, read_items
from shared.dialects.openai_responses.options import ResponseOptions
from shared.dialects.openai_responses.paths import client_path, in_client_words, kept_path
from shared.dialects.openai_responses.tools import (
    ShapedTools,
    check_max_tool_calls,
    full_name,
    shape_choice,
    shape_tools,
)
from shared.dialects.openai_responses.truncation import fitting
from shared.errors import GatewayError
from shared.gemini.signatures import call_key, content_key, server_key, text_key
from shared.gemini.types import GenerateContentRequest

# Read here, or of no consequence for the answer.
_KNOWN = frozenset(
    [
        "model",
        "input",
        "instructions",
        "previous_response_id",
        "conversation",
        "store",
        "include",
        "max_output_tokens",
        "max_tool_calls",
        "text",
        "reasoning",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "truncation",
        "background",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_logprobs",
        "service_tier",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "moderation",
        "image",
        "context_management",
        "access_programs",
        "google",
        "extra_body",
        "safety_settings",
        "client_metadata",
        "prompt",
    ]
)
# What means the same in both dialects, and its name in the shared vocabulary.
_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "parallel_tool_calls": "parallel_tool_calls",
    "service_tier": "service_tier",
    "user": "user",
    "safety_identifier": "safety_identifier",
    "prompt_cache_key": "prompt_cache_key",
    "moderation": "moderation",
    "google": "google",
    "extra_body": "extra_body",
    "safety_settings": "safety_settings",
    "max_output_tokens": "max_completion_tokens",
}
_LOGPROBS = "message.output_text.logprobs"
_MOST_METADATA, _LONGEST_NAME, _LONGEST_TEXT = 16, 64, 512


def requested_model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if model is None or not string(model, "model"):
        raise invalid("A model is needed.", "model")
    return str(model)


def wants_stream(body: Mapping[str, Any]) -> bool:
    stream = body.get("stream")
    return stream is not None and boolean(stream, "stream")


def state_refs(body: Mapping[str, Any]) -> StateRefs:
    """What the body asks of the store, its shape checked."""
    if body.get("prompt") is not None:
        raise GatewayError("unsupported_parameter", "Stored prompts are not supported.", param="prompt")
    previous, conversation = body.get("previous_response_id"), body.get("conversation")
    if previous is not None and conversation is not None:
        raise invalid("Send either previous_response_id or conversation.", "conversation")
    if isinstance(conversation, dict):
        conversation = string(conversation.get("id"), "conversation.id")
    store, background = body.get("store"), body.get("background")
    stored = boolean(store, "store") if store is not None else True
    later = boolean(background, "background") if background is not None else False
    if later and not stored:
        raise invalid("A background response must be stored.", "background")
    given = body.get("input")
    return StateRefs(
        previous=string(previous, "previous_response_id") if previous is not None else None,
        conversation=string(conversation, "conversation") if conversation is not None else None,
        items=tuple(_referenced(given)) if isinstance(given, list) else (),
        store=stored,
        background=later,
    )


def _referenced(items: list[Any]) -> Iterator[str]:
    for item in items:
        if isinstance(item, dict) and item_type(item) == "item_reference" and isinstance(item.get("id"), str):
            yield item["id"]


def signature_keys(body: Mapping[str, Any]) -> list[str]:
    """The store keys of everything in `input` that may have been signed, newest first, at most 100. Never raises."""
    given = body.get("input")
    items = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
    served = any(item_type(item) == "web_search_call" for item in items)  # the upstream ran a tool of its own
    keys: dict[str, None] = {}
    for item in reversed(items):
        keys.update(dict.fromkeys(_keys_of(item, served=served)))
        if len(keys) >= MAX_SIGNATURE_KEYS:
            break
    return list(keys)[:MAX_SIGNATURE_KEYS]


def _keys_of(item: Mapping[str, Any], *, served: bool) -> list[str]:
    kind = item_type(item)
    if kind == "message" and item.get("role") == "assistant":
        content = item.get("content")
        text = content if isinstance(content, str) else text_of_parts(content) if isinstance(content, list) else ""
        return [text_key("", text)] if text else []
    keys = []
    if isinstance(kind, str) and kind.endswith("_call"):
        call_id = item.get("call_id") or item.get("id")
        keys = [call_key(call_id)] if isinstance(call_id, str) else []
        if served and isinstance(call_id, str) and kind != "web_search_call":
            keys.append(server_key(call_id))
    name = item.get("name")
    if isinstance(name, str) and kind in ("function_call", "custom_tool_call"):
        args = arguments(item.get("arguments")) if kind == "function_call" else {"input": item.get("input") or ""}
        keys.append(content_key("", full_name(name, item.get("namespace")), args))
    return keys


def to_gemini(body: Mapping[str, Any], context: RequestContext) -> Translation:
    """The whole translation, the kept history included."""
    caps = context.model.capabilities
    if caps.output_limit <= 0:
        raise invalid("This model does not generate answers.", "model")
    if tuple(caps.modalities) == ("AUDIO",):
        raise invalid("This model only speaks; a response cannot hold sound.", "model")
    notes = Notes(context.strict)
    try:
        items, shaped, choice = _read(body, context, notes)
    except GatewayError as error:
        error.param = error.param and kept_path(error.param)
        raise
    notes.items = [_in_client_words(note, kept_path) for note in notes.items]
    try:
        return _translate(body, items, shaped, choice, context, notes)
    except GatewayError as error:
        raise in_client_words(error, shaped.paths, items.outputs) from error


def _read(body: Mapping[str, Any], context: RequestContext, notes: Notes) -> tuple[ReadItems, ShapedTools, Any]:
    """The items, tools and tool choice of the body. What is said of them is in the client's words already."""
    _check_members(body, notes)
    items = read_items(body.get("instructions"), body.get("input"), context, notes, history=_history(body))
    _truncate(body, items, context, notes)
    shaped = shape_tools(body.get("tools"), items.tools, context.model, notes)
    return items, shaped, shape_choice(body.get("tool_choice"), shaped)


def _translate(
    body: Mapping[str, Any], items: ReadItems, shaped: ShapedTools, choice: Any, context: RequestContext, notes: Notes
) -> Translation:
    caps, own = context.model.capabilities, len(notes.items)
    params = Parameters(_chat_form(body, items, shaped, choice, context), notes)
    check_unused(params, notes)
    declared = read_tools(params, caps, notes)
    plan = plan_tools(declared, read_choice(choice, None), caps, notes, search=context.model.search)
    if items.signatures:
        context = structs.replace(context, signatures={**context.signatures, **items.signatures})
    conversation = read_history(items.messages, plan.names, context, notes, served=plan.served)
    made = generation(params, plan, conversation, context, notes)
    if made.in_words:
        conversation.system.append({"text": made.in_words})
    prefix = finish_prefill(conversation.contents, caps)
    request = assemble(conversation, signed(conversation.contents, context), plan, made.config)
    add_settings(request, params, context, notes)
    words = partial(client_path, tools=shaped.paths, outputs=items.outputs)
    return Translation(
        request=request,
        stream=wants_stream(body),
        warnings=notes.items[:own] + [_in_client_words(note, words) for note in notes.items[own:]],
        tool_names=plan.names.mapping,
        declared_tools=plan.wire_names,
        single_call=single_call(params),
        stop=made.stop,
        echo_prefix=prefix,
        unfence_json=bool(made.in_words),
        options=_options(body, items, shaped, made.logprobs, made.config.get("thinkingConfig", {}), context),
    )


def read_metadata(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The client's own notes of a response or a conversation, which are kept and shown as they are: OpenAI's bounds."""
    given = mapping(body["metadata"], "metadata") if body.get("metadata") is not None else {}
    if len(given) > _MOST_METADATA:
        raise invalid(f"At most {_MOST_METADATA} entries.", "metadata")
    for name, text in given.items():
        if len(name) > _LONGEST_NAME:
            raise invalid(f"A name has at most {_LONGEST_NAME} characters.", "metadata")
        if len(string(text, f"metadata.{name}")) > _LONGEST_TEXT:
            raise invalid(f"Expected at most {_LONGEST_TEXT} characters.", f"metadata.{name}")
    return given


def _check_members(body: Mapping[str, Any], notes: Notes) -> None:
    refuse_routing(body, "")
    for name, value in body.items():
        if name not in _KNOWN and value not in (None, {}, []):
            notes.ignored(name)
    state_refs(body)
    check_max_tool_calls(body.get("max_tool_calls"))
    read_metadata(body)
    for position, value in enumerate(sequence(body["include"], "include") if body.get("include") is not None else ()):
        string(value, f"include[{position}]")


def _truncate(body: Mapping[str, Any], items: ReadItems, context: RequestContext, notes: Notes) -> None:
    truncation = body.get("truncation")
    if truncation not in (None, "auto", "disabled"):
        raise invalid("Expected auto or disabled.", "truncation")
    if truncation == "auto":
        kept = fitting(items.messages, context.model.capabilities.input_limit)
        if len(kept) < len(items.messages):
            notes.add("truncated", f"{len(items.messages) - len(kept)}_items")
            items.messages = kept


def _chat_form(
    body: Mapping[str, Any], items: ReadItems, shaped: ShapedTools, choice: Any, context: RequestContext
) -> dict[str, Any]:
    """The parameters under the names that OpenAI's shared vocabulary reads."""
    chat: dict[str, Any] = {_NAMES[name]: value for name, value in body.items() if name in _NAMES}
    reasoning = _member(body, "reasoning", items)
    if reasoning:
        chat["reasoning_effort"] = reasoning.get("effort")
        if _summary(reasoning) is not None:
            chat["include_reasoning"] = True
        elif reasoning.get("effort") is not None and not context.model.include_thoughts:
            chat["include_reasoning"] = False
    text = _member(body, "text", items)
    if text:
        chat["response_format"] = text.get("format")
        if text.get("verbosity") not in (None, "medium"):
            chat["text.verbosity"] = text["verbosity"]  # named among the ignored
    if _LOGPROBS in (body.get("include") or ()) or body.get("top_logprobs"):
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs")}
    if shaped.chat:
        chat["tools"] = shaped.chat
    if choice is not None:
        chat["tool_choice"] = choice
    if shaped.images is not None:
        chat |= {"modalities": ["text", "image"], "image_config": shaped.images or None}
    return chat


def _member(body: Mapping[str, Any], name: str, items: ReadItems) -> Mapping[str, Any]:
    """An object of the body under what the conversation has changed since."""
    given = mapping(body[name], name) if body.get(name) is not None else {}
    changed = items.overrides.get(name)
    return {**given, **changed} if changed else given


def _summary(reasoning: Mapping[str, Any]) -> Any:
    asked = reasoning.get("summary")
    return asked if asked is not None else reasoning.get("generate_summary")


def _in_client_words(note: str, words: Callable[[str], str]) -> str:
    code, colon, detail = note.partition(":")
    return f"{code}{colon}{words(detail)}" if code in ("ignored", "clamped") else note


def _history(body: Mapping[str, Any]) -> str:
    return "conversation" if body.get("conversation") is not None else "previous_response_id"


def _options(
    body: Mapping[str, Any],
    items: ReadItems,
    shaped: ShapedTools,
    logprobs: bool,
    thinking: Mapping[str, Any],
    context: RequestContext,
) -> ResponseOptions:
    tier = body.get("service_tier")
    return ResponseOptions(
        echo=echoed(body),
        include=frozenset(body.get("include") or ()),
        show_reasoning=bool(thinking.get("includeThoughts")),
        logprobs=logprobs,
        kinds=shaped.kinds,
        family=context.model.capabilities.family,
        transformations=tuple(items.transformations),
        service_tier=tier if isinstance(tier, str) else None,
    )


def count_request(body: Mapping[str, Any], context: RequestContext) -> GenerateContentRequest:
    """What a count of the body's input tokens is asked of the upstream with."""
    return to_gemini(body, context).request


def count_body(tokens: int) -> Mapping[str, Any]:
    return {"object": "response.input_tokens", "input_tokens": tokens}
