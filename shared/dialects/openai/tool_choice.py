"""Which tools the model may, must or must not call: `tool_choice` and what follows from it for the request."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.openai.fields import invalid, mapping, sequence, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.tools import Declared, wire_tools
from shared.gemini.catalog import Capabilities
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import FunctionDeclaration, Tool, ToolConfig

_NONE: frozenset[str] = frozenset()
# OpenAI's word -> Gemini's mode. `any` is Mistral's and Anthropic's word for `required`.
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "any": "ANY"}


class Choice(Struct, frozen=True):
    """`mode` is empty where the client did not say, which means AUTO. `only` limits the choice to these client names;
    `param` is where the client said so."""

    mode: str = ""
    only: tuple[str, ...] = ()
    param: str = "tool_choice"


class ToolPlan(Struct, frozen=True):
    """What the request says about tools. `forced`: the model must call a function (mode ANY)."""

    names: ToolNames
    tools: list[Tool]
    config: ToolConfig | None
    wire_names: frozenset[str]
    forced: bool
    built_ins: frozenset[str]

    @property
    def served(self) -> bool:
        """Whether the upstream runs tools of its own beside the client's, and wants back what they did."""
        return self.config is not None and "includeServerSideToolInvocations" in self.config


def read_choice(tool_choice: Any, function_call: Any) -> Choice:
    """The body's `tool_choice`, or the legacy `function_call`; None where absent."""
    if tool_choice is None:
        return _legacy_choice(function_call)
    param = "tool_choice"
    if isinstance(tool_choice, str):
        if tool_choice not in MODES:
            raise invalid("Expected auto, none, required, or an object that names a tool.", param)
        return Choice(MODES[tool_choice])
    choice = mapping(tool_choice, param)
    kind = choice.get("type")
    if kind == "allowed_tools":
        return _allowed_tools(choice, param)
    if kind in ("function", "custom"):
        return Choice("ANY", (_tool_name(choice, param),))
    if isinstance(kind, str) and kind in MODES:
        return Choice(MODES[kind])
    raise invalid("Expected function, custom or allowed_tools.", f"{param}.type")


def _legacy_choice(function_call: Any) -> Choice:
    if function_call is None:
        return Choice()
    param = "function_call"
    if isinstance(function_call, str):
        if function_call not in ("auto", "none"):
            raise invalid("Expected auto, none, or an object with a name.", param)
        return Choice(MODES[function_call], param=param)
    name = string(mapping(function_call, param).get("name"), f"{param}.name")
    return Choice("ANY", (name,), param)


def _allowed_tools(choice: Mapping[str, Any], param: str) -> Choice:
    if choice.get("allowed_tools") is not None:
        param = f"{param}.allowed_tools"
        choice = mapping(choice["allowed_tools"], param)
    mode = choice.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise invalid("Expected auto or required.", f"{param}.mode")
    names: list[str] = []
    for position, item in enumerate(sequence(choice.get("tools"), f"{param}.tools")):
        where = f"{param}.tools[{position}]"
        names.append(_tool_name(mapping(item, where), where))
    if not names:
        raise invalid("At least one tool is needed.", f"{param}.tools")
    return Choice(MODES[mode], tuple(dict.fromkeys(names)))


def _tool_name(item: Mapping[str, Any], param: str) -> str:
    """The name in `{"type": T, T: {"name"}}` or in the flat `{"type": T, "name"}`."""
    kind = "custom" if item.get("type") == "custom" else "function"
    inner = item.get(kind)
    if inner is None and "name" in item:
        return string(item["name"], f"{param}.name")
    return string(mapping(inner, f"{param}.{kind}").get("name"), f"{param}.{kind}.name")


def plan_tools(declared: Declared, choice: Choice, caps: Capabilities, notes: Notes, *, search: bool) -> ToolPlan:
    """The request's tools. `search` adds Google Search that was asked for outside of `tools`."""
    if not (declared.declarations or declared.built_ins or search or choice.only or choice.mode == "ANY"):
        return no_tools()
    names = ToolNames(declared.declarations)
    choice = _checked(choice, declared, notes)
    built_ins = dict(declared.built_ins) if choice.mode != "NONE" else {}
    if search:
        built_ins.setdefault("googleSearch", {})
    declarations = _subset(declared, choice)
    if declarations and built_ins and not caps.builtin_with_tools:
        for wire in built_ins:
            notes.add("search_dropped" if wire == "googleSearch" else "tool_dropped", f"{wire}_with_functions")
        built_ins = {}
    wired: list[FunctionDeclaration] = [{**item, "name": names.to_wire(item["name"])} for item in declarations]
    return ToolPlan(
        names=names,
        tools=wire_tools(wired, built_ins),
        config=_config(choice, declared, names, mixed=bool(built_ins)) if wired else None,
        wire_names=frozenset(item["name"] for item in wired),
        forced=bool(wired) and choice.mode == "ANY",
        built_ins=frozenset(built_ins),
    )


def no_tools() -> ToolPlan:
    return ToolPlan(ToolNames(), [], None, _NONE, forced=False, built_ins=_NONE)


def _checked(choice: Choice, declared: Declared, notes: Notes) -> Choice:
    """The choice against what is declared; an unknown name or a demand without tools is refused."""
    named_built_ins = [name for name in choice.only if name in declared.clothed]
    unknown = [name for name in choice.only if name not in declared.declarations and name not in declared.clothed]
    if unknown:
        raise invalid("The tool choice names a tool that is not declared.", choice.param)
    if choice.mode == "ANY" and not declared.declarations and not declared.built_ins:
        raise invalid("A tool choice needs tools.", choice.param)
    if named_built_ins or (choice.mode == "ANY" and not declared.declarations):
        notes.ignored(choice.param)  # the upstream cannot be made to use one of its own tools
        only = tuple(name for name in choice.only if name not in declared.clothed)
        return Choice(choice.mode if only else "", only, choice.param)
    return choice


def _subset(declared: Declared, choice: Choice) -> list[FunctionDeclaration]:
    """`allowedFunctionNames` goes with mode ANY only, so a subset to choose freely from is all that is declared."""
    if choice.mode != "ANY" and choice.only:
        return [item for name, item in declared.declarations.items() if name in choice.only]
    return list(declared.declarations.values())


def _config(choice: Choice, declared: Declared, names: ToolNames, *, mixed: bool) -> ToolConfig | None:
    """None where the client said nothing and the upstream's default, AUTO, is right."""
    mode = choice.mode
    if mode in ("", "AUTO") and (declared.strict or mixed):
        mode = "VALIDATED"
    config: ToolConfig = {}
    if mode:
        config["functionCallingConfig"] = {"mode": mode}
    if mode == "ANY" and choice.only:
        config["functionCallingConfig"]["allowedFunctionNames"] = [names.to_wire(name) for name in choice.only]
    if mixed:
        config["includeServerSideToolInvocations"] = True
    return config or None
