"""The body's `tools`, and the tools that the conversation itself adds, removes or loads."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from shared.dialects.anthropic_messages.client_tools import client_tool
from shared.dialects.anthropic_messages.fields import (
    REQUIRED,
    filled,
    invalid,
    loose_objects,
    mapping,
    objects,
    optional_string,
)
from shared.dialects.anthropic_messages.notes import Notes
from shared.dialects.anthropic_messages.server_tools import ServerTools
from shared.gemini.catalog import Capabilities
from shared.gemini.schema import clean_json_schema, openapi_schema
from shared.gemini.types import FunctionDeclaration

_SEARCHES = r"tool_search_tool_(?:regex|bm25)(?:_20\d{6})?"
_ADVISOR = r"advisor_20\d{6}"


class Declared(Struct):
    """What the client declared, under its own names. `declarations` are in the order of the body and ready for the
    wire but for the name; `deferred` are those among them that wait until somebody names them."""

    declarations: dict[str, FunctionDeclaration] = field(default_factory=dict)
    deferred: set[str] = field(default_factory=set)
    strict: set[str] = field(default_factory=set)
    server: ServerTools = field(default_factory=ServerTools)
    loads_all: bool = False  # a tool search of Anthropic's own, which nobody runs here: everything is declared at once

    def offered(self, named: set[str]) -> list[FunctionDeclaration]:
        """The functions that the model is to see; `named` are the deferred ones that history or choice refer to.

        Loaded tools stay flagged as deferred in the body (Claude Code), so the flag alone says nothing.
        """
        others = len(self.declarations) > len(self.deferred) or self.server.wire
        hidden = self.deferred - named if others and not self.loads_all else set()
        return [item for name, item in self.declarations.items() if name not in hidden]


def read_tools(body: Mapping[str, Any], caps: Capabilities, notes: Notes) -> Declared:
    """The tools of the body and of the `tool_addition` and `tool_removal` blocks of its messages, in order. A tool that
    cannot be carried is refused by its JSON path."""
    reader = _Reader(caps, notes)
    for where, tool in objects(body.get("tools"), "tools"):
        reader.read(tool, where)
    for where, block in _changes(body.get("messages")):
        reader.change(block, where)
    return reader.declared


def declares_none(body: Mapping[str, Any]) -> bool:
    """Whether neither the body nor its messages speak of any tool to be declared."""
    return body.get("tools") is None and next(_changes(body.get("messages")), None) is None


def referenced_tools(body: Mapping[str, Any]) -> set[str]:
    """The names in every `tool_reference` of the history: tools that a search has loaded."""
    names: set[str] = set()
    for message in loose_objects(body.get("messages")):
        for block in loose_objects(message.get("content")):
            if block.get("type") == "tool_result":
                listed = loose_objects(block.get("content"))
            elif block.get("type") == "tool_search_tool_result" and isinstance(block.get("content"), Mapping):
                listed = loose_objects(block["content"].get("tool_references"))
            else:
                continue
            names.update(name for item in listed if (name := reference_name(item)))
    return names


def reference_name(block: Mapping[str, Any]) -> str:
    """The tool that a `tool_reference` names, or "": results spell it `tool_name`, additions `name`."""
    if block.get("type") != "tool_reference":
        return ""
    return next((name for key in ("tool_name", "name") if isinstance(name := block.get(key), str)), "")


def _changes(messages: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for position, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if isinstance(block, dict) and block.get("type") in ("tool_addition", "tool_removal"):
                yield f"messages[{position}].content[{index}]", block


class _Reader:
    def __init__(self, caps: Capabilities, notes: Notes) -> None:
        self.declared = Declared()
        self._caps = caps
        self._notes = notes
        self._taken: set[str] = set()
        self._removed: dict[str, FunctionDeclaration] = {}

    def read(self, tool: Mapping[str, Any], where: str) -> None:
        kind = tool.get("type")
        if kind in (None, "custom"):
            self._custom(tool, where)
        elif not isinstance(kind, str):
            raise invalid("Input should be a valid string", f"{where}.type")
        elif (name := self.declared.server.read(tool, where)) is not None:
            self._claim(name)
        elif (function := client_tool(kind, tool)) is not None:
            self._client(function, tool, where)
        elif re.fullmatch(_SEARCHES, kind):
            self.declared.loads_all = True
        elif re.fullmatch(_ADVISOR, kind):
            self._notes.add("tool_dropped", kind)
        else:
            raise invalid("Tools of this type are not supported", f"{where}.type")

    def change(self, block: Mapping[str, Any], where: str) -> None:
        """A tool added or removed in mid-conversation; the latest word counts. A tool is added by its name, or by a
        definition in the form of an entry of `tools`."""
        param = f"{where}.tool"
        tool = mapping(block.get("tool"), param)
        if tool.get("type") == "tool_definition":
            param = f"{param}.definition"
            tool = mapping(tool.get("definition"), param)
        named = reference_name(tool)
        name = named or filled(tool.get("name"), f"{param}.name")
        declarations, server = self.declared.declarations, self.declared.server
        self.declared.deferred.discard(name)
        if block["type"] == "tool_removal":
            if name in declarations:
                self._removed[name] = declarations.pop(name)
            server.remove(name)
        elif named:
            if name in self._removed:
                declarations[name] = self._removed.pop(name)
            server.restore(name)
        elif name not in declarations and name not in server.names:
            self._forget(name)
            self.read(tool, param)
            self.declared.deferred.discard(name)

    def _forget(self, name: str) -> None:
        """What was removed under a name that a new definition takes."""
        self._removed.pop(name, None)
        self.declared.server.removed.pop(name, None)
        self.declared.strict.discard(name)
        self._taken.discard(name)

    def _custom(self, tool: Mapping[str, Any], where: str) -> None:
        param = f"{where}.input_schema"
        if tool.get("input_schema") is None:
            raise invalid(REQUIRED, param)
        declaration: FunctionDeclaration = {"name": filled(tool.get("name"), f"{where}.name")}
        description = optional_string(tool.get("description"), f"{where}.description")
        examples = tool.get("input_examples")
        if isinstance(examples, list) and examples:
            shown = json.dumps(examples, ensure_ascii=False, separators=(",", ":"))
            description = f"{description}\n\nExamples of its input: {shown}".lstrip()
        if description:
            declaration["description"] = description
        declaration.update(self._parameters(mapping(tool["input_schema"], param), param))
        self._declare(declaration, tool)

    def _client(self, function: FunctionDeclaration, tool: Mapping[str, Any], where: str) -> None:
        name = tool.get("name")
        declaration: FunctionDeclaration = {
            "name": filled(name, f"{where}.name") if name is not None else function["name"],
            "description": function["description"],
        }
        declaration.update(self._parameters(function["parametersJsonSchema"], where))
        self._declare(declaration, tool)

    def _parameters(self, schema: Mapping[str, Any], param: str) -> FunctionDeclaration:
        cleaned = clean_json_schema(schema, param=param)
        if cleaned.get("type", "object") != "object":
            raise invalid("Input should be a schema of type 'object'", f"{param}.type")
        if self._caps.json_schema:
            return {"parametersJsonSchema": {**cleaned, "type": "object"}}
        # The older field refuses an object without properties.
        return {"parameters": openapi_schema(schema, param=param)} if cleaned.get("properties") else {}

    def _declare(self, declaration: FunctionDeclaration, tool: Mapping[str, Any]) -> None:
        name = declaration["name"]
        self._claim(name)
        self.declared.declarations[name] = declaration
        if tool.get("defer_loading") is True:
            self.declared.deferred.add(name)
        if tool.get("strict") is True:
            self.declared.strict.add(name)

    def _claim(self, name: str) -> None:
        if name in self._taken:
            raise invalid("Tool names must be unique", "tools")
        self._taken.add(name)
