"""What the upstream says about a proto Schema (`parameters`, `responseSchema`) that parses but makes no sense.

JSON Schema positions (`parametersJsonSchema`, `responseJsonSchema`) are free-form: unsupported keywords are ignored
there, so only their shape is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from infra.local.emulator.errors import Refusal, invalid

EMPTY_OBJECT = "should be non-empty for OBJECT type"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


def check_schema(schema: dict[str, Any], path: str, *, empty_root: bool = False) -> None:
    """Raises the 400 that lists every semantic fault of a canonical Schema found at `path`.

    `empty_root`: an OBJECT without properties is fine at the top, as recorded function declarations show.
    """
    faults = list(_faults(schema, f"* GenerateContentRequest.{path}"))
    if empty_root and not schema.get("properties"):
        faults = [fault for fault in faults if not fault.endswith(f"{path}.properties: {EMPTY_OBJECT}")]
    if faults:
        raise invalid("".join(fault + "\n" for fault in faults))


def _faults(schema: dict[str, Any], path: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind is None and not schema.get("anyOf"):
        yield f"{path}.type: must be specified when not using one_of, any_of or all_of fields"
    yield from _keyword_faults(schema, kind, path)
    properties = schema.get("properties") or {}
    for name, child in properties.items():
        yield from _faults(child, f"{path}.properties[{name}]")
    for i, child in enumerate(schema.get("anyOf") or []):
        yield from _faults(child, f"{path}.any_of[{i}]")
    if isinstance(schema.get("items"), dict):
        yield from _faults(schema["items"], f"{path}.items")


def _keyword_faults(schema: dict[str, Any], kind: str | None, path: str) -> Iterator[str]:
    yield from _object_faults(schema, kind, path)
    if kind == "ARRAY" and not isinstance(schema.get("items"), dict):
        yield f"{path}.items: missing field."
    if schema.get("enum"):
        if kind not in ("STRING", None):
            yield f"{path}.enum: only allowed for STRING type"
        for i, value in enumerate(schema["enum"]):
            if value == "":
                yield f"{path}.enum[{i}]: cannot be empty"
    if kind == "STRING" and schema.get("format") not in (None, "", "enum", "date-time"):
        yield f"{path}.format: only 'enum' and 'date-time' are supported for STRING type"


def _object_faults(schema: dict[str, Any], kind: str | None, path: str) -> Iterator[str]:
    properties = schema.get("properties") or {}
    if kind == "OBJECT":
        if not properties:
            yield f"{path}.properties: {EMPTY_OBJECT}"
        for i, name in enumerate(schema.get("required") or []):
            if name not in properties:
                yield f"{path}.required[{i}]: property is not defined"
    elif kind is not None:
        for word in ("properties", "required"):
            if schema.get(word):
                yield f"{path}.{word}: only allowed for OBJECT type"


def check_declarations(tools: list[dict[str, Any]]) -> None:
    """Names, duplicates and schemas of every functionDeclaration."""
    seen: set[str] = set()
    for t, tool in enumerate(tools):
        for d, declaration in enumerate(tool.get("functionDeclarations") or []):
            path = f"tools[{t}].function_declarations[{d}]"
            check_name(declaration.get("name", ""), path)
            if declaration["name"] in seen:
                raise invalid(f"Duplicate function declaration found: {declaration['name']}")
            seen.add(declaration["name"])
            check_pair(declaration, "parameters", "parametersJsonSchema", path)
            check_pair(declaration, "response", "responseJsonSchema", path)


def check_name(name: str, path: str) -> None:
    if not NAME.fullmatch(name):
        raise invalid(
            f"* GenerateContentRequest.{path}.name: Invalid function name. Must start with a letter or an underscore. "
            "Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a "
            "maximum length of 128.\n"
        )


def check_pair(owner: dict[str, Any], proto: str, free: str, path: str) -> None:
    """A proto schema and its JSON Schema twin: only one of them, and each of the right shape."""
    snake_proto, snake_free = _SNAKE[proto], _SNAKE[free]
    if proto in owner and free in owner:
        raise both_set(path, snake_proto, snake_free)
    if proto in owner:
        check_schema(owner[proto], f"{path}.{snake_proto}", empty_root=proto == "parameters")
    if free in owner and not isinstance(owner[free], dict | bool):
        raise invalid(f"* GenerateContentRequest.{path}.{snake_free}: schema must be an object\n")


def both_set(path: str, first: str, second: str) -> Refusal:
    return invalid(f"* GenerateContentRequest.{path}: only one of {first} and {second} may be set\n")


_SNAKE = {
    "parameters": "parameters",
    "parametersJsonSchema": "parameters_json_schema",
    "response": "response",
    "responseJsonSchema": "response_json_schema",
    "responseSchema": "response_schema",
}
