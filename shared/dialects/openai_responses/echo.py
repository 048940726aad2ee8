"""The response object apart from its output: what repeats the request, and what a client may see of a kept one."""

from collections.abc import Collection, Mapping
from typing import Any

# Members of the request that the response repeats, and what stands there where the request has none.
_DEFAULTS: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "background": False,
}
# These the response repeats, but has no word for what was not said.
_WHERE_GIVEN = ("access_programs", "context_management", "image", "prompt_cache_options", "prompt_cache_retention")
_ECHOED = frozenset((*_DEFAULTS, *_WHERE_GIVEN))
ENCRYPTED = "reasoning.encrypted_content"
CODE_OUTPUTS = "code_interpreter_call.outputs"
SOURCES = "web_search_call.action.sources"
_SIGNED = ("code_interpreter_call", "image_generation_call")  # their `encrypted_content` is not of OpenAI's type
_PARTLY_SHOWN = ("reasoning", "web_search_call", *_SIGNED)


def echoed(body: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the response object that come from the request, defaults filled in."""
    echo = {**_DEFAULTS, **{name: value for name, value in body.items() if name in _ECHOED and value is not None}}
    reasoning = body.get("reasoning") or {}
    echo["reasoning"] = {"effort": None, "summary": None, **reasoning}
    text = body.get("text") or {}
    echo["text"] = {
        **text,
        "format": text.get("format") or {"type": "text"},
        "verbosity": text.get("verbosity") or "medium",
    }
    conversation = body.get("conversation")
    if conversation is not None:
        echo["conversation"] = {"id": conversation if isinstance(conversation, str) else conversation.get("id")}
    return echo


def visible(item: Mapping[str, Any], include: Collection[str]) -> Mapping[str, Any]:
    """An output item as this client may see it: some members are shown only where `include` asks for them."""
    kind = item.get("type")
    if kind not in _PARTLY_SHOWN:
        return item
    if "encrypted_content" in item and (kind in _SIGNED or ENCRYPTED not in include):
        item = {name: value for name, value in item.items() if name != "encrypted_content"}
    if kind == "code_interpreter_call" and CODE_OUTPUTS not in include:
        return {**item, "outputs": None}
    if kind == "web_search_call" and SOURCES not in include and isinstance(item.get("action"), Mapping):
        return {**item, "action": {name: value for name, value in item["action"].items() if name != "sources"}}
    return item


def visible_response(response: Mapping[str, Any], include: Collection[str]) -> dict[str, Any]:
    return {**response, "output": [visible(item, include) for item in response.get("output", [])]}
