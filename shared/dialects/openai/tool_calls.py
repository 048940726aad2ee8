"""Tool calls of the history and their results: paired before anything is built, because most refusals of the upstream
start here. It wants one result for each call, in call order, in the one content right after the calls."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.openai import carriers
from shared.dialects.openai.fields import invalid, mapping, sequence, string
from shared.dialects.openai.json_text import NOT_JSON, parse
from shared.dialects.openai.notes import Notes
from shared.gemini.catalog import Capabilities
from shared.gemini.signatures import FoundSignature, SignatureLookup, call_key, content_key, server_key, usable
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import FunctionCall, FunctionResponse, Part

_Key = tuple[str, str]

MISSING_RESULT = {"error": "tool result missing"}


class Result(Struct, frozen=True):
    """A tool message: its raw `content` and where it stands."""

    content: Any
    param: str


class Call(Struct):
    """One call of an assistant message. `call_id` is as the client wrote it; `inline` is the signature it brought;
    `leads` says that it is the first of its step, the only one that the upstream signs."""

    call_id: str
    name: str
    args: dict[str, Any]
    inline: str | None = None
    result: Result | None = None
    leads: bool = False

    @property
    def shown(self) -> str:
        """What a warning calls it: the id without a signature hidden in it, else the name."""
        return carriers.split_id(self.call_id)[0] or self.name


class SignedCall(Struct, frozen=True):
    """What the upstream gave for a call: its signature where this model may read it, and its native id."""

    signature: str | None = None
    native_id: str | None = None


def arguments(value: Any) -> dict[str, Any]:
    """A call's arguments as an object, whatever the model once wrote: nothing is refused, and no call is lost."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        parsed = parse(value)
        if parsed is NOT_JSON:
            return {} if not value.strip() else {"_raw_arguments": value}
        value = parsed
    return dict(value) if isinstance(value, Mapping) else {"value": value}


def calls_of(message: Mapping[str, Any], where: str) -> list[Call]:
    """The calls of an assistant message, `tool_calls` first, then the older `function_call`."""
    listed = message.get("tool_calls")
    found: list[Call] = []
    for position, item in enumerate(sequence(listed, f"{where}.tool_calls") if listed is not None else ()):
        param = f"{where}.tool_calls[{position}]"
        found.append(_call(mapping(item, param), param))
    legacy = message.get("function_call")
    if legacy is not None:
        param = f"{where}.function_call"
        function = mapping(legacy, param)
        found.append(Call("", _name(function.get("name"), f"{param}.name"), arguments(function.get("arguments"))))
    _add_message_signatures(message, found)
    return found


def _call(item: Mapping[str, Any], param: str) -> Call:
    given = item.get("id")
    call_id = string(given, f"{param}.id") if given is not None else ""
    kind = item.get("type")
    if kind == "custom":
        custom = mapping(item.get("custom"), f"{param}.custom")
        text = custom.get("input")
        args: dict[str, Any] = {"input": string(text, f"{param}.custom.input") if text is not None else ""}
        name = _name(custom.get("name"), f"{param}.custom.name")
    elif kind in (None, "function"):
        function = mapping(item.get("function"), f"{param}.function")
        name = _name(function.get("name"), f"{param}.function.name")
        args = arguments(function.get("arguments"))
    else:
        raise invalid("Expected function or custom.", f"{param}.type")
    return Call(call_id, name, args, carriers.of_call(item))


def _name(value: Any, param: str) -> str:
    name = string(value, param)
    if not name:
        raise invalid("A tool call needs the name of its function.", param)
    return name


def _add_message_signatures(message: Mapping[str, Any], calls: Sequence[Call]) -> None:
    if not calls:
        return
    known = carriers.of_message(message, has_calls=True)
    for call in calls:
        call.inline = call.inline or known.by_id.get(call.call_id)
    # Entries that name no call can only mean the first one: the upstream signs no other (Gemini reference, §10).
    if calls[0].inline is None and known.in_order:
        calls[0].inline = known.in_order[0]


class Ledger:
    """All calls of a conversation, found by the results that answer them. Messages are given in their order; time is
    linear in their number."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, list[deque[Call]]] = {}  # the calls of each turn, newest turn last
        self._answered: dict[_Key, Call] = {}
        self._early: list[tuple[_Key, Result, str]] = []

    def add_turn(self, calls: Sequence[Call]) -> None:
        for key, group in _by_key(calls).items():
            self._waiting.setdefault(key, []).append(group)

    def add_result(self, message: Mapping[str, Any], where: str, notes: Notes) -> None:
        """Binds a `tool` or `function` message to the newest call that waits for it; a result that comes before its
        call waits for `close`."""
        by_name = message.get("role") == "function"
        field = "name" if by_name else "tool_call_id"
        given = message.get(field)
        key = _result_key(string(given, f"{where}.{field}") if given is not None else "", message, by_name=by_name)
        result = Result(message.get("content"), f"{where}.content")
        call = self._take(key) or self._answered.get(key)
        if call is None:
            self._early.append((key, result, f"{where}.{field}"))
            return
        if call.result is not None:
            notes.add("tool_result_repeated", call.shown)
        call.result = result
        self._answered[key] = call

    def close(self) -> None:
        """Binds what came early and refuses the first result that no call of the conversation waits for."""
        for key, result, param in self._early:
            call = self._take(key)
            if call is None:
                raise invalid("No tool call of an assistant message has this id.", param)
            call.result = result

    def _take(self, key: _Key) -> Call | None:
        turns = self._waiting.get(key, [])
        while turns:
            group = turns[-1]
            while group and group[0].result is not None:
                group.popleft()
            if group:
                return group[0]
            turns.pop()
        return None


def _by_key(calls: Sequence[Call]) -> dict[_Key, deque[Call]]:
    """The calls of one turn under everything that a result may call them by."""
    groups: dict[_Key, deque[Call]] = {}
    for call in calls:
        keys: list[_Key] = [("name", call.name)]
        if call.call_id:
            keys.append(("id", carriers.split_id(call.call_id)[0]))
        else:
            keys += [("no id", call.name), ("no id", "")]
        for key in keys:
            groups.setdefault(key, deque()).append(call)
    return groups


def _result_key(given: str, message: Mapping[str, Any], *, by_name: bool) -> _Key:
    """Ids come back whole, or without the signature that a bridge had hidden in them, or empty where Google's own
    compatibility endpoint had issued none: then name and order decide."""
    if by_name:
        return "name", given
    if given:
        return "id", carriers.split_id(given)[0]
    name = message.get("name")
    return "no id", name if isinstance(name, str) else ""


def look_up(call: Call, wire_name: str, lookup: SignatureLookup, caps: Capabilities) -> SignedCall:
    """The signature and native id of a call: what the store has for its id, else what the client brought, else what the
    store has for its name and arguments: that of a leading call only, because what it has for those may be of any
    conversation, and an unsigned parallel call has nothing else. A signature of another model family is worthless
    (R44)."""
    if not lookup:  # no hashes for nothing
        return SignedCall(call.inline, None)
    bare = carriers.split_id(call.call_id)[0]
    stored = lookup.get(call_key(bare)) if bare else None
    if stored is not None:
        return SignedCall(usable(stored, caps), _native_id(stored, (call.name, wire_name), caps))
    stored = lookup.get(content_key("", call.name, call.args)) if call.leads else None
    known = call.inline or usable(stored, caps)
    return SignedCall(known, _native_id(stored, (call.name, wire_name), caps) if stored else None)


def _native_id(stored: FoundSignature, names: tuple[str, str], caps: Capabilities) -> str | None:
    """Id and name must match upstream (R47), so an id of a call by another name stays away. `names` are the client's
    and the wire's: the store may hold either."""
    return stored.native_id if caps.call_ids and (not stored.name or stored.name in names) else None


def served_before(call: Call, lookup: SignatureLookup, caps: Capabilities) -> list[Part]:
    """What the upstream's own tools did right before the call: it wants their parts back with ids and signatures."""
    bare = carriers.split_id(call.call_id)[0]
    known = usable(lookup.get(server_key(bare)), caps) if bare else None
    parts = parse(known) if known else None
    return parts if isinstance(parts, list) else []


def call_part(call: Call, signed: SignedCall, names: ToolNames) -> Part:
    function: FunctionCall = {"name": names.to_wire(call.name), "args": call.args}
    if signed.native_id:
        function = {"id": signed.native_id, **function}
    part: Part = {"functionCall": function}
    if signed.signature:
        part["thoughtSignature"] = signed.signature
    return part


def response_part(
    call: Call, signed: SignedCall, names: ToolNames, response: dict[str, Any], media: list[Part]
) -> Part:
    """The `functionResponse` of a call; `media` goes inside it and must be inline."""
    function: FunctionResponse = {"name": names.to_wire(call.name), "response": response}
    if signed.native_id:
        function = {"id": signed.native_id, **function}
    if media:
        function["parts"] = [{"inlineData": part["inlineData"]} for part in media]
    return {"functionResponse": function}


def response_object(text: str) -> dict[str, Any]:
    """A result's text as the object that the upstream demands: a JSON object as it is, everything else as `output`.

    An object that holds `$ref` is wrapped: the upstream takes that key for a reference to a part.
    """
    value = parse(text) if text.strip() else NOT_JSON
    if value is NOT_JSON:
        return {"output": text}
    if isinstance(value, dict) and not _has_reference(value):
        return value
    return {"output": text if isinstance(value, dict) else value}


def _has_reference(value: Any) -> bool:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if "$ref" in item:
                return True
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return False
