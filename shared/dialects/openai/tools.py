"""Tools and tool choice: OpenAI's declarations, custom tools and legacy functions, and Gemini's own tools in every
clothing, as Gemini's `tools` and `toolConfig`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from shared.dialects.openai.built_ins import BUILT_INS, CLOTHED, TYPED, built_in
from shared.dialects.openai.fields import either_case, invalid, mapping, sequence, snake, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Given, Parameters
from shared.gemini.catalog import Capabilities
from shared.gemini.schema import clean_json_schema, openapi_schema
from shared.gemini.types import FunctionDeclaration, Tool

MAX_TOOLS = 512
DECLARING = frozenset(["tools", "functions", "google_tools"])


class Declared(Struct):
    """What the client declared, under its own names. `declarations` keeps the order of the body."""

    declarations: dict[str, FunctionDeclaration] = field(default_factory=dict)
    built_ins: dict[str, dict[str, Any]] = field(default_factory=dict)
    clothed: set[str] = field(default_factory=set)  # names of functions that are built-in tools
    custom: set[str] = field(default_factory=set)
    strict: bool = False
    legacy: bool = False


def read_tools(params: Parameters, caps: Capabilities, notes: Notes) -> Declared:
    """The body's `tools` (or legacy `functions`), and `google.tools`. A tool that cannot be carried is refused by its
    JSON path."""
    reader = _Reader(caps, notes)
    tools, functions = params.get("tools"), params.get("functions")
    if tools:
        for param, item in _items(tools):
            reader.tool(item, param)
    if functions and tools and tools.value:
        notes.ignored(functions.path)
    elif functions:
        reader.declared.legacy = True
        for param, item in _items(functions):
            reader.function(item, param)
    google = params.get("google_tools")
    if google:
        for param, item in _items(google):
            reader.raw(item, param)
    return reader.declared


def _items(given: Given) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tools of a list, each with its JSON path; Google's servers take a single object for a list."""
    single = given.path.endswith("google.tools") and isinstance(given.value, Mapping)
    for position, item in enumerate([given.value] if single else _bounded(given.value, given.path)):
        yield f"{given.path}[{position}]", mapping(item, f"{given.path}[{position}]")


def _bounded(value: Any, param: str) -> Sequence[Any]:
    items = sequence(value, param)
    if len(items) > MAX_TOOLS:
        raise invalid(f"More than {MAX_TOOLS} tools.", param)
    return items


class _Reader:
    def __init__(self, caps: Capabilities, notes: Notes) -> None:
        self.declared = Declared()
        self._caps = caps
        self._notes = notes

    def tool(self, item: Mapping[str, Any], param: str) -> None:
        kind = item.get("type")
        if kind == "function":
            flat = item.get("function") is None and "name" in item  # the Responses form
            self.function(item if flat else item.get("function"), param if flat else f"{param}.function")
        elif kind == "custom":
            self._custom(item.get("custom"), f"{param}.custom")
        elif isinstance(kind, str) and kind in TYPED:
            self.declared.built_ins.setdefault(TYPED[kind], {})
        elif kind is None:
            self.raw(item, param)
        else:
            raise invalid("This is no tool type that the gateway knows.", f"{param}.type")

    def function(self, value: Any, param: str) -> None:
        function = mapping(value, param)
        name = _name(function, param)
        parameters = function.get("parameters")
        if name in CLOTHED and _without_parameters(parameters):
            self.declared.clothed.add(name)
            self.declared.built_ins.setdefault(CLOTHED[name], {})
            return
        declaration: FunctionDeclaration = {"name": name}
        description = _description(function, param)
        if description:
            declaration["description"] = description
        if not _without_parameters(parameters):
            schema = mapping(parameters, f"{param}.parameters")
            declaration.update(self._parameters(schema, f"{param}.parameters"))
        self.declared.strict = self.declared.strict or function.get("strict") is True
        self._declare(declaration, f"{param}.name")

    def _custom(self, value: Any, param: str) -> None:
        """A tool that takes free text becomes a function with one string; its grammar can only be told in words."""
        custom = mapping(value, param)
        name = _name(custom, param)
        grammar = custom.get("format")
        texts = [_description(custom, param)]
        if grammar is not None:
            texts.append(_grammar(mapping(grammar, f"{param}.format"), f"{param}.format"))
        declaration: FunctionDeclaration = {"name": name}
        description = "\n\n".join(text for text in texts if text)
        if description:
            declaration["description"] = description
        schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        declaration.update(self._parameters(schema, param))
        self.declared.custom.add(name)
        self._declare(declaration, f"{param}.name")

    def raw(self, item: Mapping[str, Any], param: str) -> None:
        """A tool object in Gemini's own words, in either case."""
        members = either_case(item)
        known = [name for name in members if name in BUILT_INS or name == "function_declarations"]
        if not known:
            raise invalid("This is no tool that the gateway knows.", f"{param}.type")
        for name in known:
            where = f"{param}.{name}"
            if name in BUILT_INS:
                wire, config = built_in(name, members[name], where)
                self.declared.built_ins[wire] = config
                continue
            for position, function in enumerate(_bounded(members[name], where)):
                self._raw_function(either_case(mapping(function, f"{where}[{position}]")), f"{where}[{position}]")

    def _raw_function(self, function: Mapping[str, Any], param: str) -> None:
        schema = function.get("parameters_json_schema", function.get("parameters"))
        self.function({**function, "parameters": schema}, param)

    def _parameters(self, schema: Mapping[str, Any], param: str) -> FunctionDeclaration:
        if not self._caps.json_schema:
            return {"parameters": openapi_schema(schema, param=param)}
        cleaned = clean_json_schema(schema, param=param)
        if cleaned.get("type", "object") != "object":
            raise invalid("The schema of a function's parameters must be an object.", param)
        return {"parametersJsonSchema": {**cleaned, "type": "object"}}

    def _declare(self, declaration: FunctionDeclaration, param: str) -> None:
        known = self.declared.declarations.get(declaration["name"])
        if known is not None and known != declaration:
            raise invalid("Two different tools have this name.", param)
        if known is not None:
            self._notes.add("tool_repeated", declaration["name"])
        self.declared.declarations[declaration["name"]] = declaration


def _name(function: Mapping[str, Any], param: str) -> str:
    name = string(function.get("name"), f"{param}.name")
    if not name:
        raise invalid("A tool needs a name.", f"{param}.name")
    return name


def _description(function: Mapping[str, Any], param: str) -> str:
    value = function.get("description")
    return string(value, f"{param}.description") if value is not None else ""


def _without_parameters(parameters: Any) -> bool:
    if parameters is None:
        return True
    return isinstance(parameters, Mapping) and not parameters.get("properties") and not _composed(parameters)


def _composed(schema: Mapping[str, Any]) -> bool:
    return any(schema.get(word) for word in ("$ref", "anyOf", "oneOf", "allOf", "additionalProperties")) or (
        schema.get("type", "object") not in ("object", "OBJECT", ["object"])
    )


def _grammar(given: Mapping[str, Any], param: str) -> str:
    if given.get("type") in (None, "text"):
        return ""
    inner = given.get("grammar")
    grammar = mapping(inner, f"{param}.grammar") if inner is not None else given
    definition = string(grammar.get("definition"), f"{param}.grammar.definition")
    syntax = snake(string(grammar.get("syntax", "lark"), f"{param}.grammar.syntax"))
    return f"The input must match this {syntax} grammar:\n{definition}"


def wire_tools(declarations: Sequence[FunctionDeclaration], built_ins: Mapping[str, Mapping[str, Any]]) -> list[Tool]:
    """One kind per Tool object: functions first, then each built-in tool by itself."""
    tools: list[Tool] = [{"functionDeclarations": list(declarations)}] if declarations else []
    for wire, config in built_ins.items():
        tools.append({wire: dict(config)})  # type: ignore[misc]  # the keys are those of `Tool`
    return tools
