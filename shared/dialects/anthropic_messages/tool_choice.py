"""Which tools the model may, must or must not call: `tool_choice` and what follows from it for the request."""

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from shared.dialects.anthropic_messages.fields import boolean, filled, invalid, mapping
from shared.dialects.anthropic_messages.notes import Notes
from shared.dialects.anthropic_messages.tools import Declared, declares_none, read_tools, referenced_tools
from shared.gemini.catalog import ResolvedModel
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import FunctionDeclaration, Tool, ToolConfig

_NONE: frozenset[str] = frozenset()
_MODES = {"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}


class Choice(Struct, frozen=True):
    """`mode` is Gemini's word, empty where the client did not say, which means AUTO. `name` is the one tool to call."""

    mode: str = ""
    name: str = ""
    single: bool = False  # no parallel calls


class ToolPlan(Struct, frozen=True):
    """What the request says about tools. `names` also renames what only the history calls. `built_ins` are Gemini's
    tools that are sent, `server_tools` Anthropic's words for those of them that the client declared. `mixed`: they
    stand beside functions, so the upstream shows and wants back its own calls. `forced`: a function must be called."""

    names: ToolNames
    tools: list[Tool]
    config: ToolConfig | None
    wire_names: frozenset[str]
    built_ins: frozenset[str]
    server_tools: frozenset[str]
    blocked_domains: tuple[str, ...]
    hint: str
    single_call: bool
    mixed: bool
    forced: bool


def read_choice(value: Any) -> Choice:
    """The body's `tool_choice`."""
    if value is None:
        return Choice()
    choice = mapping(value, "tool_choice")
    kind = choice.get("type")
    if not isinstance(kind, str) or kind not in _MODES:
        raise invalid("Input should be 'auto', 'any', 'tool' or 'none'", "tool_choice.type")
    single = choice.get("disable_parallel_tool_use")
    return Choice(
        _MODES[kind],
        filled(choice.get("name"), "tool_choice.name") if kind == "tool" else "",
        single is not None and boolean(single, "tool_choice.disable_parallel_tool_use"),
    )


def plan_tools(body: Mapping[str, Any], model: ResolvedModel, notes: Notes) -> ToolPlan:
    """The request's tools. Raises invalid_request for a choice of a tool that nobody declared."""
    if not model.search and body.get("tool_choice") is None and declares_none(body):
        return _no_tools()
    caps = model.capabilities
    declared = read_tools(body, caps, notes)
    choice = _checked(read_choice(body.get("tool_choice")), declared)
    named = referenced_tools(body) | {choice.name} if declared.deferred else set()
    functions = declared.offered(named)
    server = {} if choice.mode == "NONE" else dict(declared.server.wire)
    if functions and server and not caps.builtin_with_tools:
        for word, wire in server.items():
            notes.add("search_dropped" if word == "web_search" else "tool_dropped", f"{wire}_with_functions")
        server = {}
    built_ins = list(server.values())
    if model.search and "googleSearch" not in built_ins and (caps.builtin_with_tools or not functions):
        built_ins.append("googleSearch")  # asked for by the model's name
    names = ToolNames(item["name"] for item in functions)
    wired: list[FunctionDeclaration] = [{**item, "name": names.to_wire(item["name"])} for item in functions]
    mixed = bool(wired and built_ins)
    strict = bool(functions) and all(item["name"] in declared.strict for item in functions)
    return ToolPlan(
        names=names,
        tools=_wire_tools(wired, built_ins),
        config=_config(choice, names, strict=strict, mixed=mixed) if wired else None,
        wire_names=frozenset(item["name"] for item in wired),
        built_ins=frozenset(built_ins),
        server_tools=frozenset(server),
        blocked_domains=tuple(declared.server.blocked) if server else (),
        hint=declared.server.hint() if server else "",
        single_call=choice.single,
        mixed=mixed,
        forced=bool(wired) and choice.mode == "ANY",
    )


def _no_tools() -> ToolPlan:
    return ToolPlan(ToolNames(), [], None, _NONE, _NONE, _NONE, (), "", single_call=False, mixed=False, forced=False)


def _checked(choice: Choice, declared: Declared) -> Choice:
    if choice.name in declared.server.names:
        return Choice(single=choice.single)  # the upstream cannot be made to use one of its own tools
    if choice.name and choice.name not in declared.declarations:
        raise invalid("This tool is not among the declared tools", "tool_choice.name")
    return choice


def _wire_tools(declarations: list[FunctionDeclaration], built_ins: list[str]) -> list[Tool]:
    """One kind per Tool object: functions first, then each built-in tool by itself."""
    tools: list[Tool] = [{"functionDeclarations": declarations}] if declarations else []
    return [*tools, *(cast(Tool, {wire: {}}) for wire in built_ins)]


def _config(choice: Choice, names: ToolNames, *, strict: bool, mixed: bool) -> ToolConfig | None:
    """None where the client said nothing and the upstream's default, AUTO, is right."""
    mode = choice.mode
    if mode in ("", "AUTO") and (strict or mixed):
        mode = "VALIDATED"
    config: ToolConfig = {}
    if mode:
        config["functionCallingConfig"] = {"mode": mode}
    if choice.name:
        config["functionCallingConfig"]["allowedFunctionNames"] = [names.to_wire(choice.name)]
    if mixed:
        config["includeServerSideToolInvocations"] = True
    return config or None
