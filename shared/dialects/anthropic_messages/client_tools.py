"""Anthropic's own client tools (bash, text editor, memory, computer) as functions that any model can call.

The API declares them by type alone, since its models know them by heart. A Gemini model does not, so the arguments that
clients expect stand here. Sources: Anthropic's tool pages and the parameter types of its Python SDK 2.10.
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.gemini.types import FunctionDeclaration

Schema = dict[str, Any]

_DATED = r"(bash|text_editor|memory|computer)_(20\d{6})"
_NAMES = {
    "bash": "bash",
    "text_editor": "str_replace_based_edit_tool",
    "memory": "memory",
    "computer": "computer",
}
_COMPUTER_ACTIONS = [
    "key",
    "type",
    "mouse_move",
    "left_click",
    "left_click_drag",
    "right_click",
    "middle_click",
    "double_click",
    "triple_click",
    "left_mouse_down",
    "left_mouse_up",
    "hold_key",
    "scroll",
    "wait",
    "screenshot",
    "cursor_position",
    "zoom",
]


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _whole(description: str) -> Schema:
    return {"type": "integer", "description": description}


def _point(description: str) -> Schema:
    return {
        "type": "array",
        "items": {"type": "integer"},
        "minItems": 2,
        "maxItems": 2,
        "description": description,
    }


def _command(*words: str) -> Schema:
    return {"type": "string", "enum": list(words), "description": "What to do."}


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


_LINES = _point("First and last line to show, counted from 1; -1 as the last means the end of the file.")
_EDITS = {
    "file_text": _text("create: the whole content of the new file."),
    "old_str": _text("str_replace: the text to replace; it must occur exactly once."),
    "new_str": _text("str_replace: the text that takes its place."),
    "insert_line": _whole("insert: the line after which to insert; 0 is the start of the file."),
    "insert_text": _text("insert: the text to insert."),
}

_SCHEMAS: dict[str, Schema] = {
    "bash": _object(
        {
            "command": _text("The command to run."),
            "restart": {"type": "boolean", "description": "True restarts the shell; no command is needed then."},
        }
    ),
    "text_editor": _object(
        {
            "command": _command("view", "create", "str_replace", "insert"),
            "path": _text("Path of the file or directory."),
            **_EDITS,
            "view_range": _LINES,
        },
        "command",
        "path",
    ),
    "memory": _object(
        {
            "command": _command("view", "create", "str_replace", "insert", "delete", "rename"),
            "path": _text("Path below /memories, for every command but rename."),
            **_EDITS,
            "view_range": _LINES,
            "old_path": _text("rename: the present path."),
            "new_path": _text("rename: the new path."),
        },
        "command",
    ),
    "computer": _object(
        {
            "action": {"type": "string", "enum": list(_COMPUTER_ACTIONS), "description": "What to do."},
            "coordinate": _point("Where on the screen, as x and y in pixels."),
            "text": _text("The text to type, or the key or keys to press."),
            "start_coordinate": _point("Where a drag starts, as x and y in pixels."),
            "scroll_direction": {"type": "string", "enum": ["up", "down", "left", "right"]},
            "scroll_amount": _whole("How many clicks of the wheel."),
            "duration": {"type": "number", "description": "Seconds to wait or to hold a key."},
            "region": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 4,
                "maxItems": 4,
                "description": "zoom: left, top, right and bottom of the part of the screen, in pixels.",
            },
        },
        "action",
    ),
}

_DESCRIPTIONS = {
    "bash": "Runs a command in a persistent bash session on the user's machine and returns its output.",
    "text_editor": "Views, creates and edits text files on the user's machine.",
    "memory": (
        "Keeps notes as files below the directory /memories, which outlives this conversation. "
        "View the directory before you start a task."
    ),
    "computer": "Controls a computer with mouse and keyboard and takes screenshots to see the result.",
}


def client_tool(kind: str, tool: Mapping[str, Any]) -> FunctionDeclaration | None:
    """The declaration of a client tool of type `kind` under its usual name; None if the type is none of them.

    The schema still stands as plain JSON Schema, to be put into the form that the model takes.
    """
    dated = re.fullmatch(_DATED, kind)
    if dated is None:
        return None
    word = dated[1]
    description = _DESCRIPTIONS[word]
    if word == "computer":
        description += _screen(tool)
    return {"name": _NAMES[word], "description": description, "parametersJsonSchema": _SCHEMAS[word]}


def _screen(tool: Mapping[str, Any]) -> str:
    width, height = tool.get("display_width_px"), tool.get("display_height_px")
    if not isinstance(width, int) or not isinstance(height, int):
        return ""
    return f" The screen is {width} pixels wide and {height} pixels high."
