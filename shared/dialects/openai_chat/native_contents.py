"""Gemini-shaped `contents` in a chat body, in either case (a vendor's dialect, OpenAI dialect reference §29.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.dialects.openai import carriers
from shared.dialects.openai.content import video_metadata
from shared.dialects.openai.fields import either_case, invalid, mapping, sequence, string
from shared.dialects.openai.turns import Turn, alternate
from shared.gemini.catalog import Capabilities
from shared.gemini.parts import media_part
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import Content, FunctionCall, FunctionResponse, Part


def read_contents(value: Any, names: ToolNames, caps: Capabilities) -> list[Content]:
    """Canonical, alternating contents. A missing role is the user's; invalid_request names the JSON path."""
    turns: list[Turn] = []
    for position, item in enumerate(_listed(value, "contents")):
        where = f"contents[{position}]"
        content = mapping(item, where)
        role = content.get("role")
        if role not in (None, "user", "model"):
            raise invalid("Expected user or model.", f"{where}.role")
        parts = _parts(content.get("parts"), f"{where}.parts", names, caps)
        turns.append(Turn("model" if role == "model" else "user", parts))
    contents = alternate(turns)
    if not contents:
        raise invalid("The contents hold nothing that can be sent.", "contents")
    return contents


def read_system(value: Any, param: str) -> list[Part]:
    """`system_instruction`: a content of text parts, or a plain string."""
    if isinstance(value, str):
        return [{"text": value}] if value else []
    texts: list[Part] = []
    for position, item in enumerate(_listed(mapping(value, param).get("parts"), f"{param}.parts")):
        where = f"{param}.parts[{position}]"
        text = string(mapping(item, where).get("text"), f"{where}.text")
        if text:
            texts.append({"text": text})
    return texts


def _listed(value: Any, param: str) -> Sequence[Any]:
    """Google's servers take a single object for an array."""
    return [value] if isinstance(value, Mapping) else sequence(value, param)


def _parts(value: Any, param: str, names: ToolNames, caps: Capabilities) -> list[Part]:
    parts: list[Part] = []
    for position, item in enumerate(_listed(value, param)):
        where = f"{param}[{position}]"
        members = either_case(mapping(item, where))
        kinds = [kind for kind in _READERS if kind in members]
        if len(kinds) != 1:
            raise invalid(f"Expected exactly one of {', '.join(_READERS)}.", where)
        part = _READERS[kinds[0]](members[kinds[0]], f"{where}.{kinds[0]}", names, caps)
        signature = carriers.signature(members.get("thought_signature"))
        if signature:
            part["thoughtSignature"] = signature
        if members.get("thought") is True:
            part["thought"] = True
        if "video_metadata" in members:
            part["videoMetadata"] = video_metadata(members["video_metadata"], f"{where}.video_metadata")
        if part.get("text") != "" and not (part.get("thought") and not signature):
            parts.append(part)
    return parts


def _text(value: Any, where: str, names: ToolNames, caps: Capabilities) -> Part:
    return {"text": string(value, where)}


def _inline_data(value: Any, where: str, names: ToolNames, caps: Capabilities) -> Part:
    blob = either_case(mapping(value, where))
    mime = string(blob.get("mime_type"), f"{where}.mime_type")
    return media_part(string(blob.get("data"), f"{where}.data"), mime=mime, param=f"{where}.data")


def _file_data(value: Any, where: str, names: ToolNames, caps: Capabilities) -> Part:
    file = either_case(mapping(value, where))
    mime = string(file["mime_type"], f"{where}.mime_type") if "mime_type" in file else None
    return media_part(string(file.get("file_uri"), f"{where}.file_uri"), mime=mime, param=f"{where}.file_uri")


def _function_call(value: Any, where: str, names: ToolNames, caps: Capabilities) -> Part:
    members = either_case(mapping(value, where))
    args = mapping(members.get("args", {}), f"{where}.args")
    call: FunctionCall = {"name": _name(members, where, names), "args": dict(args)}
    native_id = _native_id(members, where, caps)
    return {"functionCall": {"id": native_id, **call} if native_id else call}


def _function_response(value: Any, where: str, names: ToolNames, caps: Capabilities) -> Part:
    members = either_case(mapping(value, where))
    response = mapping(members.get("response", {}), f"{where}.response")
    answer: FunctionResponse = {"name": _name(members, where, names), "response": dict(response)}
    native_id = _native_id(members, where, caps)
    return {"functionResponse": {"id": native_id, **answer} if native_id else answer}


def _name(members: Mapping[str, Any], where: str, names: ToolNames) -> str:
    name = string(members.get("name"), f"{where}.name")
    if not name:
        raise invalid("A function needs a name.", f"{where}.name")
    return names.to_wire(name)


def _native_id(members: Mapping[str, Any], where: str, caps: Capabilities) -> str:
    given = string(members["id"], f"{where}.id") if "id" in members else ""
    return given if caps.call_ids else ""


_READERS: dict[str, Callable[[Any, str, ToolNames, Capabilities], Part]] = {
    "text": _text,
    "inline_data": _inline_data,
    "file_data": _file_data,
    "function_call": _function_call,
    "function_response": _function_response,
}
