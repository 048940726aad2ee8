"""An OpenAI chat completion request as one Gemini request: the four verbs of the dialect's request side, all pure.

Whatever a client sends, they raise nothing but `GatewayError`, with `param` naming the JSON path in the client's body.
"""

from collections.abc import Mapping
from typing import Any

from shared.dialects.contract import RequestContext, Translation
from shared.dialects.openai import carriers
from shared.dialects.openai.assembly import (
    MAX_SIGNATURE_KEYS,
    Generation,
    add_settings,
    assemble,
    generation,
    signed,
    single_call,
)
from shared.dialects.openai.built_ins import CLOTHED
from shared.dialects.openai.fields import boolean, invalid, mapping, string
from shared.dialects.openai.messages import Conversation, read_messages
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import (
    Parameters,
    check_unused,
    read_choices,
)
from shared.dialects.openai.tool_calls import calls_of
from shared.dialects.openai.tool_choice import ToolPlan, no_tools, plan_tools, read_choice
from shared.dialects.openai.tools import DECLARING, Declared, read_tools
from shared.dialects.openai.turns import finish_prefill
from shared.dialects.openai_chat.native_contents import read_contents, read_system
from shared.dialects.openai_chat.options import ChatOptions
from shared.errors import GatewayError
from shared.gemini.signatures import call_key, content_key, server_key, text_key

_KEPT = frozenset(["metadata", "store"])
_OF_USAGE = frozenset(["stream_options", "usage"])
_OF_TOOLS = DECLARING | {"web_search_options", "tool_choice", "function_call"}


def requested_model(body: Mapping[str, Any]) -> str:
    """The body's `model`, or its vendor spelling `model_id`."""
    for name in ("model", "model_id"):
        if body.get(name) is not None:
            model = string(body[name], name)
            if not model:
                raise invalid("A model is needed.", name)
            return model
    raise invalid("A model is needed.", "model")


def wants_stream(body: Mapping[str, Any]) -> bool:
    stream = body.get("stream")
    return stream is not None and boolean(stream, "stream")


def signature_keys(body: Mapping[str, Any]) -> list[str]:
    """The store keys of everything in the history that may have been signed, newest message first, at most 100.

    The keys of content name no family: it is kept inside the stored record. Never raises: `to_gemini` says what is
    wrong with a body.
    """
    messages, served = body.get("messages"), _may_be_served(body)
    keys: dict[str, None] = {}
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            keys.update(dict.fromkeys(_keys_of(message, served=served)))
            if len(keys) >= MAX_SIGNATURE_KEYS:
                break
    return list(keys)[:MAX_SIGNATURE_KEYS]


def _may_be_served(body: Mapping[str, Any]) -> bool:
    """Whether the upstream may run tools of its own beside the client's; the translation looks closely."""
    if body.get("web_search_options") is not None or "google" in body or "extra_body" in body:
        return True
    tools, model = body.get("tools"), body.get("model")
    if isinstance(model, str) and model.endswith("search"):
        return True
    return isinstance(tools, list) and any(isinstance(tool, dict) and _may_serve(tool) for tool in tools)


def _may_serve(tool: Mapping[str, Any]) -> bool:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return tool.get("type") not in ("function", "custom") or (isinstance(name, str) and name in CLOTHED)


def _keys_of(message: Mapping[str, Any], *, served: bool) -> list[str]:
    try:
        calls = calls_of(message, "")
    except GatewayError:
        calls = []
    ids = [carriers.split_id(call.call_id)[0] for call in calls if call.call_id]
    keys = [call_key(call_id) for call_id in ids]
    if served:
        keys += [server_key(call_id) for call_id in ids]
    content = message.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        content = "".join(text for text in texts if isinstance(text, str))
    spoken = (content, carriers.reasoning_text(message))
    keys += [text_key("", text) for text in spoken if isinstance(text, str) and text]
    return keys + [content_key("", call.name, call.args) for call in calls[:1]]


def to_gemini(body: Mapping[str, Any], context: RequestContext) -> Translation:
    """The whole translation. The request is canonical (camelCase, upper-case enums) and holds no unknown field."""
    if context.model.capabilities.output_limit <= 0:
        raise invalid("This model does not generate answers.", "model")
    notes = Notes(context.strict)
    params = Parameters(body, notes)
    check_unused(params, notes)
    declared, plan = _tools(params, context, notes)
    conversation = _conversation(params, plan, context, notes)
    made = generation(params, plan, conversation, context, notes)
    if made.in_words:
        conversation.system.append({"text": made.in_words})
    prefix = finish_prefill(conversation.contents, context.model.capabilities)
    request = assemble(conversation, signed(conversation.contents, context), plan, made.config)
    add_settings(request, params, context, notes)
    return Translation(
        request=request,
        stream=wants_stream(body),
        choices=read_choices(params),
        warnings=notes.items,
        tool_names=plan.names.mapping,
        declared_tools=plan.wire_names,
        single_call=single_call(params) or declared.legacy,  # `function_call` holds one
        stop=made.stop,
        echo_prefix=prefix,
        unfence_json=bool(made.in_words),
        options=_options(params, declared, plan, made),
    )


def _tools(params: Parameters, context: RequestContext, notes: Notes) -> tuple[Declared, ToolPlan]:
    caps, search = context.model.capabilities, context.model.search
    if params.lacks(_OF_TOOLS) and not search:
        return Declared(), no_tools()
    declared = read_tools(params, caps, notes)
    given = params.get("web_search_options")
    if given:
        search = True
        for name, value in mapping(given.value, given.path).items():
            if value is not None:
                notes.ignored(f"{given.path}.{name}")
    choice = read_choice(params.value("tool_choice"), params.value("function_call"))
    return declared, plan_tools(declared, choice, caps, notes, search=search)


def _conversation(params: Parameters, plan: ToolPlan, context: RequestContext, notes: Notes) -> Conversation:
    messages, contents = params.get("messages"), params.get("contents")
    system = params.get("system_instruction")
    if contents is None:
        if system:
            notes.ignored(system.path)  # it belongs to `contents`
        return read_messages(messages.value if messages else None, plan.names, context, notes, served=plan.served)
    if messages is not None:
        raise invalid("Send either messages or contents.", "contents")
    return Conversation(
        read_system(system.value, system.path) if system else [],
        read_contents(contents.value, plan.names, context.model.capabilities),
    )


def _options(params: Parameters, declared: Declared, plan: ToolPlan, made: Generation) -> ChatOptions:
    kept = None if params.lacks(_KEPT) else _metadata(params)
    return ChatOptions(
        include_usage=_include_usage(params),
        legacy_function_call=declared.legacy,
        custom_tools=frozenset(declared.custom),
        images_as_field=made.outputs.images_as_field,
        audio_format=made.outputs.audio_format,
        echo_metadata=kept,
        show_reasoning="includeThoughts" in made.config.get("thinkingConfig", ()),
        logprobs=made.logprobs,
        mixed=bool(plan.built_ins)
        and ("codeExecution" in plan.built_ins or "IMAGE" in made.config.get("responseModalities", ())),
    )


def _metadata(params: Parameters) -> Mapping[str, Any] | None:
    """The client's own, of an answer that it wants stored."""
    metadata, store = params.get("metadata"), params.get("store")
    kept = mapping(metadata.value, metadata.path) if metadata else None
    return kept if store and boolean(store.value, store.path) else None


def _include_usage(params: Parameters) -> bool:
    """`stream_options.include_usage`, or OpenRouter's `usage.include`."""
    if params.lacks(_OF_USAGE):
        return False
    for name, member in (("stream_options", "include_usage"), ("usage", "include")):
        given = params.get(name)
        value = mapping(given.value, given.path).get(member) if given else None
        if value is not None and boolean(value, f"{name}.{member}"):
            return True
    return False
