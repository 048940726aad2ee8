"""Function calls as output items: each tool's call goes back in the form that the client declared it in."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.openai_responses.options import ToolKind
from shared.events import ToolCall
from shared.json_codec import encode_text

_PREFIX = {
    "function": "fc",
    "custom": "ctc",
    "local_shell": "lsh",
    "shell": "sh",
    "apply_patch": "apc",
}


def item_prefix(kind: ToolKind) -> str:
    return _PREFIX[kind.form]


def call_item(call: ToolCall, kind: ToolKind, item_id: str) -> dict[str, Any]:
    """The whole item, without its status."""
    args = dict(call.args)
    action: dict[str, Any]
    if kind.form == "local_shell":
        action = {"type": "exec", "command": _texts(args.get("command")), "env": _environment(args.get("env"))}
        action |= {
            name: args[name] for name in ("timeout_ms", "user", "working_directory") if args.get(name) is not None
        }
        return {"id": item_id, "type": "local_shell_call", "call_id": call.call_id, "action": action}
    if kind.form == "shell":
        action = {"commands": _texts(args.get("commands"))}
        action |= {name: args.get(name) for name in ("timeout_ms", "max_output_length")}
        return {"id": item_id, "type": "shell_call", "call_id": call.call_id, "action": action}
    if kind.form == "apply_patch":
        return {"id": item_id, "type": "apply_patch_call", "call_id": call.call_id, "operation": _operation(args)}
    item = {"id": item_id, "call_id": call.call_id, "name": kind.name or call.name}
    if kind.namespace is not None:
        item["namespace"] = kind.namespace
    if kind.form == "custom":
        return {**item, "type": "custom_tool_call", "input": _text(args.get("input", ""))}
    return {**item, "type": "function_call", "arguments": encode_text(args)}


def _operation(args: Mapping[str, Any]) -> dict[str, Any]:
    operation = {"type": args.get("type", "update_file"), "path": _text(args.get("path", ""))}
    return operation if operation["type"] == "delete_file" else {**operation, "diff": _text(args.get("diff", ""))}


def _texts(value: Any) -> list[str]:
    """Models write one command as a plain string at times."""
    return [_text(item) for item in value] if isinstance(value, list) else [] if value is None else [_text(value)]


def _environment(value: Any) -> dict[str, str]:
    return {str(name): _text(item) for name, item in value.items()} if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode_text(value)
