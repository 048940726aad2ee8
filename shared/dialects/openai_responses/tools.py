"""The tools of a Responses body in the chat form that OpenAI's shared vocabulary reads, and how their calls go back."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from shared.dialects.openai.fields import integer, invalid, mapping, sequence, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai_responses.options import ToolForm, ToolKind
from shared.gemini.catalog import ResolvedModel

NAMESPACE_MARK = "__"
# Sent by default by agents, and without a counterpart upstream.
_DROPPED = frozenset({"tool_search", "programmatic_tool_calling"})
# Dated and preview names of one tool: `web_search_preview_2025_03_11`.
_SEARCH = "web_search"
_BUILT_IN = (_SEARCH, "code_interpreter")
_REFUSED = ("file_search", "mcp", "computer")

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_MILLISECONDS = {"type": "integer", "description": "Time limit in milliseconds."}

# Tools whose schema OpenAI's models know by heart; the members are those of the typed items (openai-python 3.54.0).
_KNOWN: Mapping[ToolForm, tuple[str, Mapping[str, Any], list[str]]] = {
    "local_shell": (
        "Runs one command on the user's machine and returns its output.",
        {
            "command": {**_TEXTS, "description": "The program and its arguments."},
            "env": {"type": "object", "additionalProperties": _TEXT, "description": "Environment variables."},
            "timeout_ms": _MILLISECONDS,
            "user": {**_TEXT, "description": "The user to run as."},
            "working_directory": {**_TEXT, "description": "The directory to run in."},
        },
        ["command"],
    ),
    "shell": (
        "Runs shell commands, each in a shell of its own, and returns their outputs.",
        {
            "commands": {**_TEXTS, "description": "The command lines."},
            "timeout_ms": _MILLISECONDS,
            "max_output_length": {"type": "integer", "description": "Characters of output to return at most."},
        },
        ["commands"],
    ),
    "apply_patch": (
        "Creates, updates or deletes one file. `diff` is a V4A diff; for create_file every line of it starts with +.",
        {
            "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            "path": {**_TEXT, "description": "The file, relative to the working directory."},
            "diff": {**_TEXT, "description": "Not for delete_file."},
        },
        ["type", "path"],
    ),
}


class ShapedTools(Struct):
    """`paths` holds the JSON path in the client's body of each tool in `chat`."""

    chat: list[Mapping[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    kinds: dict[str, ToolKind] = field(default_factory=dict)
    images: Mapping[str, Any] | None = None  # the image tool's `image_config`, where images are asked for

    def add(self, tool: Mapping[str, Any], path: str) -> None:
        self.chat.append(tool)
        self.paths.append(path)


def shape_tools(tools: Any, further: Iterable[tuple[str, Any]], model: ResolvedModel, notes: Notes) -> ShapedTools:
    """The body's `tools` and those of `additional_tools` items, each of which comes with its JSON path."""
    shaped = ShapedTools()
    lists = [("tools", tools), *further]
    for path, listed in lists:
        for position, item in enumerate(sequence(listed, path) if listed is not None else ()):
            where = f"{path}[{position}]"
            _shape(mapping(item, where), where, shaped, model, notes)
    return shaped


def _shape(item: Mapping[str, Any], where: str, shaped: ShapedTools, model: ResolvedModel, notes: Notes) -> None:
    kind = item.get("type")
    if not isinstance(kind, str):
        shaped.add(item, where)  # a tool object in Gemini's own words
    elif kind == "custom":
        _custom(item, where, shaped, None)
    elif kind == "namespace":
        _namespace(item, where, shaped, model, notes)
    elif kind.startswith(_SEARCH):
        _note_search_options(item, where, notes)
        shaped.add({"type": _SEARCH}, where)
    elif kind == "image_generation":
        if "IMAGE" in model.capabilities.modalities:
            from shared.dialects.openai_responses.images import drawn  # few models draw, and each cold start would pay

            shaped.images = drawn(item, where, model, notes)
        else:
            notes.add("tool_dropped", kind)
    elif kind in _DROPPED:
        notes.add("tool_dropped", kind)
    elif kind.startswith(_REFUSED):
        raise invalid("The gateway has no tool of this type.", f"{where}.type")
    elif kind in _KNOWN:
        _known(kind, where, shaped)
    else:
        shaped.add(item, where)


def _custom(item: Mapping[str, Any], where: str, shaped: ShapedTools, namespace: str | None) -> None:
    """The chat form nests what is flat here."""
    name = string(item.get("name"), f"{where}.name")
    long = full_name(name, namespace)
    members = {"name": long, "description": item.get("description"), "format": item.get("format")}
    shaped.add({"type": "custom", "custom": members}, where)
    shaped.kinds[long] = ToolKind("custom", name, namespace)


def _namespace(item: Mapping[str, Any], where: str, shaped: ShapedTools, model: ResolvedModel, notes: Notes) -> None:
    """Gemini knows no groups: each tool is declared under a name that holds both."""
    namespace = string(item.get("name"), f"{where}.name")
    if not namespace:
        raise invalid("A namespace needs a name.", f"{where}.name")
    about = item.get("description")
    for position, value in enumerate(sequence(item.get("tools"), f"{where}.tools")):
        at = f"{where}.tools[{position}]"
        tool = mapping(value, at)
        if tool.get("type") == "custom":
            _custom(tool, at, shaped, namespace)
            continue
        if tool.get("type", "function") != "function":
            _shape(tool, at, shaped, model, notes)
            continue
        name = string(tool.get("name"), f"{at}.name")
        own = tool.get("description")
        texts = [text for text in (own, about if not own else None) if isinstance(text, str) and text]
        long = full_name(name, namespace)
        shaped.add({**tool, "type": "function", "name": long, "description": "\n".join(texts)}, at)
        shaped.kinds[long] = ToolKind("function", name, namespace)


def full_name(name: str, namespace: Any) -> str:
    return f"{namespace}{NAMESPACE_MARK}{name}" if isinstance(namespace, str) and namespace else name


def _known(kind: str, where: str, shaped: ShapedTools) -> None:
    for form, (description, properties, required) in _KNOWN.items():
        if form == kind:
            parameters = {"type": "object", "properties": dict(properties), "required": required}
            shaped.add({"type": "function", "name": form, "description": description, "parameters": parameters}, where)
            shaped.kinds[form] = ToolKind(form, form)


def _note_search_options(item: Mapping[str, Any], where: str, notes: Notes) -> None:
    """Google Search cannot be narrowed to domains or places."""
    filters = item.get("filters")
    for name, value in filters.items() if isinstance(filters, Mapping) else ():
        if value:
            notes.add("ignored", f"{where}.filters.{name}")
    if item.get("user_location"):
        notes.add("ignored", f"{where}.user_location")


def shape_choice(choice: Any, shaped: ShapedTools) -> Any:
    """`tool_choice` in the chat form; choosing one of the upstream's own tools leaves `shaped` that one only."""
    if choice == "required" and shaped.images is not None and not shaped.chat:
        return "auto"
    if choice is None or not isinstance(choice, Mapping):
        return choice
    kind = choice.get("type")
    if kind == "allowed_tools":
        return _allowed(choice, shaped)
    named = _named(choice)
    if isinstance(named, Mapping) and named.get("type") in ("function", "custom"):
        return named
    if isinstance(kind, str) and (kind.startswith(_SEARCH) or kind == "code_interpreter"):
        return _built_ins_alone({_SEARCH if kind.startswith(_SEARCH) else kind}, shaped)
    if kind == "image_generation":
        return "auto"
    return choice


def _named(item: Any) -> Any:
    """A tool of a namespace, or one that OpenAI knows by its type, under the name it is declared by."""
    if not isinstance(item, Mapping):
        return item
    if isinstance(item.get("type"), str) and item["type"] in _KNOWN:
        return {"type": "function", "name": item["type"]}
    if item.get("type") in ("function", "custom") and isinstance(item.get("name"), str):
        return {"type": item["type"], "name": full_name(item["name"], item.get("namespace"))}
    return item


def _allowed(choice: Mapping[str, Any], shaped: ShapedTools) -> Any:
    """The upstream's own tools stand beside functions and are not chosen among them: those not allowed go."""
    listed = choice.get("tools")
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return choice
    kinds = [item.get("type") for item in listed if isinstance(item, Mapping)]
    allowed = {_SEARCH if kind.startswith(_SEARCH) else kind for kind in kinds if isinstance(kind, str)}
    named = [_named(item) for item in listed]
    functions = [item for item in named if not isinstance(item, Mapping) or item.get("type") in ("function", "custom")]
    if allowed and not functions and allowed <= {*_BUILT_IN, "image_generation"}:
        return _built_ins_alone(allowed, shaped)
    _keep(shaped, [tool for tool in shaped.chat if tool.get("type") not in _BUILT_IN or tool["type"] in allowed])
    return {**choice, "tools": functions}


def _built_ins_alone(wanted: Collection[str], shaped: ShapedTools) -> str:
    """The upstream cannot be made to use a tool of its own; it is left no other."""
    kept = [tool for tool in shaped.chat if tool.get("type") in wanted]
    if not kept and "image_generation" not in wanted:
        raise invalid("The tool choice names a tool that is not declared.", "tool_choice")
    _keep(shaped, kept)
    return "auto"


def _keep(shaped: ShapedTools, kept: list[Mapping[str, Any]]) -> None:
    shaped.paths = [path for tool, path in zip(shaped.chat, shaped.paths, strict=True) if any(tool is k for k in kept)]
    shaped.chat = kept


def check_max_tool_calls(value: Any) -> None:
    """A cap on the calls of built-in tools; the upstream runs those and cannot be told."""
    if value is not None:
        integer(value, "max_tool_calls", 1)
