"""Input items as messages of the chat form, which OpenAI's shared history reader makes Gemini's contents of."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct, field

from shared.dialects.contract import RequestContext
from shared.dialects.openai.content import MadePart
from shared.dialects.openai.fields import invalid, mapping, sequence, string
from shared.dialects.openai.messages import Message
from shared.dialects.openai.notes import Notes
from shared.dialects.openai_responses.encrypted import item_key, open_signatures, open_summary
from shared.dialects.openai_responses.tools import full_name
from shared.errors import GatewayError
from shared.gemini.parts import media_part
from shared.gemini.signatures import FoundSignature, same_generation, takes_signatures, usable
from shared.gemini.types import Part

_ROLES = ("user", "assistant", "system", "developer")
_OMITTED = ("file_search_call", "compaction_trigger")
_MCP = "mcp_"
_OMITTED_FAMILIES = ("web_search_call", "tool_search_", "program", "computer_call")
_OURS = re.compile(r"[a-z]+_([0-9a-z]{26})i?\d{2,}")
KEPT = ("previous_response_id", "conversation")  # what an error in kept items names


class ReadItems(Struct):
    """`outputs` are the JSON paths of tool results, whose content stands under another name here than in chat."""

    messages: list[Message] = field(default_factory=list)
    signatures: dict[str, FoundSignature] = field(default_factory=dict)
    tools: list[tuple[str, Any]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    transformations: list[Mapping[str, Any]] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)  # `reasoning` and `text` of configuration updates


def read_items(instructions: Any, given: Any, context: RequestContext, notes: Notes, *, history: str) -> ReadItems:
    """The instructions, the kept history and the body's `input`. `invalid_request` names what cannot be carried;
    `history` is the member of the body that the kept history came by."""
    reader = _Reader(context, notes)
    if instructions is not None:
        text = string(instructions, "instructions")
        reader.say("system", text, "instructions")
    for item in context.history:
        reader.read(item, history)
    for where, item in _listed(given):
        reader.read(item, where)
    return reader.found


def _listed(given: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if given is None:
        raise invalid("An input is needed.", "input")
    if isinstance(given, str):
        return [("input", {"type": "message", "role": "user", "content": given})]
    items = sequence(given, "input")
    return [(f"input[{position}]", mapping(item, f"input[{position}]")) for position, item in enumerate(items)]


def item_type(item: Mapping[str, Any]) -> Any:
    """An item without a type is a message if it has a role, and a reference if it has nothing but an id."""
    kind = item.get("type")
    if kind is not None:
        return kind
    if item.get("role") is not None:
        return "message"
    return "item_reference" if item.get("id") is not None else None


class _Reader:
    def __init__(self, context: RequestContext, notes: Notes) -> None:
        self.found = ReadItems()
        self._context = context
        self._notes = notes
        self._call_ids: dict[str, str] = {}  # of shell calls, whose results may name the item instead of the call

    def read(self, item: Mapping[str, Any], where: str) -> None:
        kind = item_type(item)
        reader = self.kinds.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            reader(self, item, where)
        elif isinstance(kind, str) and kind.startswith(_MCP):
            self._mcp(item, where)
        elif not _left_out(kind):
            raise _unknown_type(where)

    def say(self, role: str, content: Any, where: str) -> None:
        self.found.messages.append(Message(role, {"role": role, "content": content}, where))

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        _check_message(item, where)
        self.say(item["role"], item["content"], where)

    def _reference(self, item: Mapping[str, Any], where: str) -> None:
        kept = self._context.references.get(string(item.get("id"), _at(where, "id")))
        if kept is None or item_type(kept) == "item_reference":
            raise invalid("No item with this id is kept.", _at(where, "id"))
        self.read(kept, where)

    # --- calls

    def _call(self, item: Mapping[str, Any], where: str, call: Mapping[str, Any]) -> None:
        given = item.get("call_id") or item.get("id")
        call_id = string(given, _at(where, "call_id"))
        if isinstance(item.get("id"), str):
            self._call_ids[item["id"]] = call_id
        body = {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, **call}]}
        self.found.messages.append(Message("assistant", body, where))

    def _function_call(self, item: Mapping[str, Any], where: str) -> None:
        name = full_name(_name(item, where), item.get("namespace"))
        self._call(item, where, {"type": "function", "function": {"name": name, "arguments": item.get("arguments")}})

    def _custom_call(self, item: Mapping[str, Any], where: str) -> None:
        name = full_name(_name(item, where), item.get("namespace"))
        text = item.get("input")
        custom = {"name": name, "input": string(text, _at(where, "input")) if text is not None else ""}
        self._call(item, where, {"type": "custom", "custom": custom})

    def _local_shell_call(self, item: Mapping[str, Any], where: str) -> None:
        action = dict(mapping(item.get("action"), _at(where, "action")))
        action.pop("type", None)
        self._typed_call("local_shell", action, item, where)

    def _shell_call(self, item: Mapping[str, Any], where: str) -> None:
        self._typed_call("shell", mapping(item.get("action"), _at(where, "action")), item, where)

    def _apply_patch_call(self, item: Mapping[str, Any], where: str) -> None:
        self._typed_call("apply_patch", mapping(item.get("operation"), _at(where, "operation")), item, where)

    def _typed_call(self, name: str, members: Mapping[str, Any], item: Mapping[str, Any], where: str) -> None:
        arguments = {key: value for key, value in members.items() if value is not None}
        self._call(item, where, {"type": "function", "function": {"name": name, "arguments": arguments}})

    # --- results

    def _result(self, item: Mapping[str, Any], where: str, content: Any) -> None:
        given = item.get("call_id")
        if given is None:  # a local shell's result names its call by `id`
            item_id = string(item.get("id"), _at(where, "call_id"))
            given = self._call_ids.get(item_id, item_id)
        call_id = string(given, _at(where, "call_id"))
        self.found.outputs.append(where)
        self.found.messages.append(
            Message("tool", {"role": "tool", "tool_call_id": call_id, "content": content}, where)
        )

    def _output(self, item: Mapping[str, Any], where: str) -> None:
        output = item.get("output")
        if output is None:
            output = ""
        elif not isinstance(output, str | list):
            output = _json(output)
        self._result(item, where, output)

    def _shell_output(self, item: Mapping[str, Any], where: str) -> None:
        output = item.get("output")
        self._result(item, where, output if isinstance(output, str) else _json({"output": output}))

    def _patch_output(self, item: Mapping[str, Any], where: str) -> None:
        shown = {name: item[name] for name in ("status", "output") if item.get(name) is not None}
        self._result(item, where, _json(shown))

    # --- what the upstream itself made

    def _reasoning(self, item: Mapping[str, Any], where: str) -> None:
        """Only the signatures go back: the summary is not the thought."""
        token = item.get("encrypted_content")
        if token is None:
            return
        caps = self._context.model.capabilities
        carried = open_signatures(token, self._context.unseal)
        if carried is not None and (not carried.signatures or same_generation(carried.family, caps.family)):
            self.found.signatures.update(carried.signatures)
            return
        if takes_signatures(caps):
            self._notes.add("reasoning_dropped", "unreadable" if carried is None else "model_mismatch")
        reason = "organization_mismatch" if carried is None else "model_mismatch"
        item_id = item.get("id")
        shown = item_id if isinstance(item_id, str) else ""
        self.found.transformations.append({"id": shown, "type": "reasoning", "action": "removed", "reason": reason})

    def _code(self, item: Mapping[str, Any], where: str) -> None:
        code = item.get("code")
        parts: list[Part] = [
            {"executableCode": {"language": "PYTHON", "code": string(code, _at(where, "code")) if code else ""}}
        ]
        outputs = item.get("outputs")
        logs = (
            [entry.get("logs") for entry in outputs if isinstance(entry, Mapping)] if isinstance(outputs, list) else []
        )
        text = "".join(log for log in logs if isinstance(log, str))
        failed = item.get("status") in ("failed", "incomplete")
        outcome = "OUTCOME_FAILED" if failed else "OUTCOME_OK"
        parts.append({"codeExecutionResult": {"outcome": outcome, "output": text}})
        self._made(parts, item, where)

    def _image(self, item: Mapping[str, Any], where: str) -> None:
        result = item.get("result")
        if result:
            param = _at(where, "result")
            self._made([media_part(string(result, param), mime=None, param=param)], item, where)

    def _made(self, parts: Sequence[Part], item: Mapping[str, Any], where: str) -> None:
        """Parts as the upstream made them, the first one signed where the signature is known."""
        item_id = item.get("id")
        made: list[Part] = [part.copy() for part in parts]
        if isinstance(item_id, str):
            caps, key = self._context.model.capabilities, item_key(item_id)
            kept = open_signatures(item.get("encrypted_content"), self._context.unseal)
            found = self.found.signatures.get(key) or (kept.signatures.get(key) if kept else None)
            if signature := usable(found, caps):
                made[0]["thoughtSignature"] = signature
        self.say("assistant", [MadePart(part) for part in made], where)

    # --- the rest

    def _mcp(self, item: Mapping[str, Any], where: str) -> None:
        """What a server's tool did is told in words: the upstream has no such part."""
        members = {key: value for key, value in item.items() if key not in ("id", "type") and value is not None}
        self.say("user", f"[{item.get('type')}] {_json(members)}", where)

    def _tools(self, item: Mapping[str, Any], where: str) -> None:
        self.found.tools.append((_at(where, "tools"), item.get("tools")))

    def _configuration(self, item: Mapping[str, Any], where: str) -> None:
        for name in ("reasoning", "text"):
            if item.get(name) is not None:
                before = self.found.overrides.get(name, {})
                self.found.overrides[name] = {**before, **mapping(item[name], _at(where, name))}

    def _compaction(self, item: Mapping[str, Any], where: str) -> None:
        summary = open_summary(item.get("encrypted_content"), self._context.unseal)
        if summary is None:
            raise invalid("This compaction was not made here for this account.", _at(where, "encrypted_content"))
        self.say("user", f"<summary of the conversation so far>\n{summary}\n</summary>", where)

    kinds: ClassVar[Mapping[str, Callable[["_Reader", Mapping[str, Any], str], None]]] = {
        "message": _message,
        "item_reference": _reference,
        "function_call": _function_call,
        "custom_tool_call": _custom_call,
        "local_shell_call": _local_shell_call,
        "shell_call": _shell_call,
        "apply_patch_call": _apply_patch_call,
        "function_call_output": _output,
        "custom_tool_call_output": _output,
        "local_shell_call_output": _output,
        "shell_call_output": _shell_output,
        "apply_patch_call_output": _patch_output,
        "reasoning": _reasoning,
        "code_interpreter_call": _code,
        "image_generation_call": _image,
        "additional_tools": _tools,
        "configuration_update": _configuration,
        "compaction": _compaction,
        "compaction_summary": _compaction,
    }


def check_items(given: Sequence[Any], where: str) -> None:
    """What can be told of items before anybody builds upon them: that each is of a type that is read here, and that a
    message says something. `where` is the path of their list."""
    for position, value in enumerate(given):
        at = f"{where}[{position}]"
        item = mapping(value, at)
        kind = item_type(item)
        if not (isinstance(kind, str) and (kind in _Reader.kinds or kind.startswith(_MCP) or _left_out(kind))):
            raise _unknown_type(at)
        if kind == "item_reference":
            raise invalid("No item with this id is kept.", f"{at}.id")
        if kind == "message":
            _check_message(item, at)


def _left_out(kind: Any) -> bool:
    return isinstance(kind, str) and (kind in _OMITTED or kind.startswith(_OMITTED_FAMILIES))


def _unknown_type(where: str) -> GatewayError:
    return invalid("This is no item type that the gateway knows.", _at(where, "type"))


def _check_message(item: Mapping[str, Any], where: str) -> None:
    if item.get("role") not in _ROLES:
        raise invalid(f"Expected one of {', '.join(_ROLES)}.", _at(where, "role"))
    if item.get("content") is None:
        raise invalid("A message needs content.", _at(where, "content"))


def _at(where: str, name: str) -> str:
    return where if where in KEPT else f"{where}.{name}"


def _name(item: Mapping[str, Any], where: str) -> str:
    name = string(item.get("name"), _at(where, "name"))
    if not name:
        raise invalid("A call needs the name of its tool.", _at(where, "name"))
    return name


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def kept_items(given: Any, references: Mapping[str, Mapping[str, Any]], request_id: str) -> list[dict[str, Any]]:
    """The body's `input` as it is kept and listed: a plain string is a message, each item has an id (one that tells
    the request it came with), references are what they refer to. `invalid_request` for a reference to nothing."""
    kept: list[dict[str, Any]] = []
    for position, (where, item) in enumerate(_listed(given)):
        kind = item_type(item)
        if kind == "item_reference":
            if item.get("id") not in references:
                raise invalid("No item with this id is kept.", f"{where}.id")
            kept.append(dict(references[item["id"]]))
            continue
        own = dict(item)
        if kind == "message" and isinstance(own.get("content"), str):
            part = "output_text" if own.get("role") == "assistant" else "input_text"
            own["content"] = [{"type": part, "text": own["content"]}]
        if not isinstance(own.get("id"), str):
            own["id"] = f"{_PREFIXES.get(str(kind), 'item')}_{request_id.lower()}i{position:02d}"
        kept.append({**own, "type": kind})
    return kept


def response_of_item(item_id: str) -> str | None:
    """The id of the response that an item of ours came with; None for an id that is not ours."""
    found = _OURS.fullmatch(item_id)
    return f"resp_{found[1]}" if found else None
