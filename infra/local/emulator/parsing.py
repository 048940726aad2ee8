"""Request bytes -> a canonical camelCase body, or Google's parse error.

Accepts what the live JSON parser accepts: both spellings of a field, lower-case and numeric enums, a single object for
a repeated field, both base64 alphabets, numbers as strings, null as unset. Field names and types come from
`fields.json`; positions typed `free` there (function args, JSON schemas, ...) are carried untouched.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path
from typing import Any

from infra.local.emulator import errors

FIELDS: dict[str, dict[str, str]] = {
    name: table
    for name, table in json.loads((Path(__file__).parent / "fields.json").read_text("utf-8")).items()
    if not name.startswith("_")
}

PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta"

# Fields of one oneof: the parser refuses the second that is set.
ONEOFS = {
    "Part": (
        "data",
        (
            "text",
            "inlineData",
            "fileData",
            "functionCall",
            "functionResponse",
            "executableCode",
            "codeExecutionResult",
            "toolCall",
            "toolResponse",
            "audioTranscription",
        ),
    ),
    "FunctionResponsePart": ("data", ("inlineData", "fileData")),
}

_INT = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m.group(1).lower(), name)


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def loads(raw: bytes) -> Any:
    """Parsed JSON of a request body; a 400 in Google's words when it is none."""
    try:
        return json.loads(raw.decode("utf-8")) if raw.strip() else {}
    except UnicodeDecodeError:
        raise errors.invalid("Invalid JSON payload received. Invalid UTF-8.") from None  # plausible
    except ValueError as exc:
        at = getattr(exc, "pos", 0)
        line = raw.decode("utf-8")[at : at + 60].split("\n")[0]
        raise errors.invalid(f"Invalid JSON payload received. Unexpected token.\n{line}\n^") from None
    except RecursionError:
        raise errors.invalid(
            "Invalid JSON payload received. Message too deep. Max recursion depth reached for key."
        ) from None


def parse(message: str, value: Any) -> dict[str, Any]:
    """`value` as a canonical `message`; raises one Refusal that lists every violation."""
    if not isinstance(value, dict):
        raise errors.invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    walker = _Walker()
    out = walker.message(message, value, "")
    if walker.violations:
        raise errors.bad_request(walker.violations)
    return out


class _Walker:
    """One walk over a body; collects violations instead of stopping at the first, as the live parser does."""

    def __init__(self) -> None:
        self.violations: list[tuple[str, str]] = []

    def message(self, name: str, value: dict[str, Any], path: str) -> dict[str, Any]:
        table = FIELDS[name]
        out: dict[str, Any] = {}
        for key, item in value.items():
            field = key if key in table else camel(key)
            if field not in table or (key != field and key != snake(field)):
                self.violations.append(errors.unknown_field(path, key))
                continue
            if item is None:
                continue
            at = f"{path}.{snake(field)}" if path else snake(field)
            if field in out:
                text = f"Invalid value at '{at}' (oneof), field '{snake(field)}' is already set."
                self.violations.append((path, text))
                continue
            out[field] = self.field(table[field], item, at, path, key)
        self._check_oneof(name, out, path)
        return out

    def _check_oneof(self, name: str, out: dict[str, Any], path: str) -> None:
        if name not in ONEOFS:
            return
        group, members = ONEOFS[name]
        present = [member for member in members if member in out]
        for extra in present[1:]:
            text = f"oneof field '{group}' is already set. Cannot set '{extra}'"
            self.violations.append(errors.bad_value(path, "oneof", text))

    def field(self, kind: str, value: Any, at: str, parent: str, key: str) -> Any:
        if kind.startswith("["):
            rows = value if isinstance(value, list) else [value]
            return [self.field(kind[1:], row, f"{at}[{i}]", at, key) for i, row in enumerate(rows) if row is not None]
        if kind == "free":
            return value
        if isinstance(value, list):
            self.violations.append(errors.not_repeating(parent, key))
            return None
        if kind.startswith("{"):
            return self._map(kind[1:], value, at)
        if kind in FIELDS:
            if isinstance(value, dict):
                return self.message(kind, value, at)
            self.violations.append(errors.bad_value(at, f"{PACKAGE}.{kind}", json.dumps(value)))
            return None
        return self.scalar(kind, value, at)

    def _map(self, kind: str, value: Any, at: str) -> Any:
        if not isinstance(value, dict):
            self.violations.append(errors.bad_value(at, "map", json.dumps(value)))
            return None
        return {
            key: self.field(kind, row, f"{at}[{i}].value", f"{at}[{i}]", "value")
            for i, (key, row) in enumerate(value.items())
            if row is not None
        }

    def scalar(self, kind: str, value: Any, at: str) -> Any:
        if isinstance(value, dict):
            self.violations.append(
                (at, f"Invalid value at '{at}' ({_type(kind)}), Starting an object on a scalar field")
            )
            return None
        try:
            return _read_scalar(kind, value)
        except _Misfit as exc:
            note = str(exc)
            shown = note or json.dumps(value, ensure_ascii=False)
            label = f"{PACKAGE}.{_enum_name(at)}" if kind.startswith("enum:") else _type(kind)
            self.violations.append(errors.bad_value(at, label, shown))
            return None


class _Misfit(ValueError):
    """A JSON value that does not fit a scalar field; the text, when not empty, replaces the value in the message."""


def _type(kind: str) -> str:
    return f"TYPE_{kind.upper()}"


def _enum_name(path: str) -> str:
    """The enum's type name in the error text, derived from its field: `...parameters.type` -> Type."""
    name = camel(re.sub(r"\[\d+\]$", "", path).rsplit(".", 1)[-1])
    return name[:1].upper() + name[1:]


def _read_scalar(kind: str, value: Any) -> Any:
    if kind.startswith("enum:"):
        return _read_enum(kind[5:].split("|"), value)
    if kind == "bytes":
        return _read_bytes(value)
    if kind in _INT:
        return _read_int(kind, value)
    if kind in ("float", "double"):
        return _read_float(value)
    if kind == "bool":
        if not isinstance(value, bool):
            raise _Misfit
        return value
    if not isinstance(value, str):  # string, duration, timestamp
        raise _Misfit
    return value


def _read_enum(names: list[str], value: Any) -> str:
    if isinstance(value, bool):
        raise _Misfit
    if isinstance(value, int | float) and value == int(value) and 0 <= value < len(names):
        return names[int(value)]
    for name in names:
        if isinstance(value, str) and value.upper() == name.upper():
            return name
    raise _Misfit


def _read_bytes(value: Any) -> str:
    if not isinstance(value, str):
        raise _Misfit
    plain = value.replace("-", "+").replace("_", "/").rstrip("=\n")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise _Misfit(f'Base64 decoding failed for "{value[:60]}"') from None
    return value


def _read_int(kind: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Misfit
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise _Misfit from None
    low, high = _INT[kind]
    if (isinstance(value, float) and number != value) or not low <= number <= high:
        raise _Misfit
    return number


def _read_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Misfit
    try:
        return float(value)
    except ValueError:
        raise _Misfit from None


def decode_bytes(value: str) -> bytes:
    """Bytes of a base64 field that `parse` has already accepted."""
    plain = value.replace("-", "+").replace("_", "/").rstrip("=\n")
    return base64.b64decode(plain + "=" * (-len(plain) % 4))
