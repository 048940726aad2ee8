"""Request bodies in one spelling: what Google's JSON parser accepts, as canonical camelCase.

The live parser takes camelCase and snake_case at every level, a single object where a list belongs, enum words in any
case, numbers as strings, null for unset. Names it does not know go through unchanged: the upstream's own 400 is the
answer to them. Error paths and texts are Google's: snake_case paths, `contents[0].parts[1].inline_data`.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from shared.dialects.gemini_native.fields import FIELDS
from shared.errors import GatewayError

_HUMP = re.compile(r"(?<!^)([A-Z])")
_Reader = Callable[[Any, str], Any]
_INTEGER = re.compile(r"-?\d{1,19}")


def canonical(message: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` as the canonical `message`. Raises `invalid_request` with the path of what cannot be read; two spellings
    of one field are refused, because only one of them could win."""
    return _message(message, body, "")


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


@cache  # of known fields only
def snake(name: str) -> str:
    return _HUMP.sub(lambda hump: "_" + hump.group(1).lower(), name)


def refused(path: str, text: str) -> GatewayError:
    return GatewayError("invalid_request", text, param=path or None)


@cache
def _readers(name: str) -> Mapping[str, _Reader]:
    return {field: _reader(kind) for field, kind in FIELDS[name].items()}


def _message(name: str, value: Mapping[str, Any], path: str) -> dict[str, Any]:
    readers = _readers(name)
    out: dict[str, Any] = {}
    for key, item in value.items():
        field = key if key in readers else camel(key)
        if field not in readers or (key != field and key != snake(field)):
            out[key] = item
            continue
        at = f"{path}.{snake(field)}" if path else snake(field)
        if field in out or (key != field and value.get(field) is not None):
            raise refused(at, f"Invalid value at '{at}' (oneof), field '{snake(field)}' is already set.")
        if item is not None:
            out[field] = readers[field](item, at)
    return out


@cache
def _reader(kind: str) -> _Reader:
    """What makes a value of this kind canonical, or refuses it at its path."""
    if kind == "free":
        return lambda value, at: value
    if kind.startswith("["):
        return partial(_list, _reader(kind[1:]))
    if kind.startswith("{"):
        return partial(_single, partial(_map, _reader(kind[1:])))
    if kind in FIELDS:
        return partial(_single, partial(_named, kind))
    return partial(_single, _SCALARS[kind])


def _list(each: _Reader, value: Any, at: str) -> list[Any]:
    rows = value if isinstance(value, list) else [value]
    return [each(row, f"{at}[{index}]") for index, row in enumerate(rows) if row is not None]


def _single(read: _Reader, value: Any, at: str) -> Any:
    if isinstance(value, list):
        name = at.rpartition(".")[2]
        raise refused(
            at,
            f"Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Proto field is not repeating, cannot "
            "start list.",
        )
    return read(value, at)


def _map(each: _Reader, value: Any, at: str) -> dict[str, Any]:
    return {key: each(row, f"{at}.{key}") for key, row in _object(value, at).items() if row is not None}


def _named(name: str, value: Any, at: str) -> dict[str, Any]:
    return _message(name, _object(value, at), at)


def _object(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refused(at, f"Invalid value at '{at}': an object is expected.")
    return value


def _string(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise refused(at, f"Invalid value at '{at}' (TYPE_STRING).")
    return value


def _bool(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise refused(at, f"Invalid value at '{at}' (TYPE_BOOL).")
    return value


def _int(value: Any, at: str) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused(at, f"Invalid value at '{at}' (TYPE_INT32).")
    return value


def _number(value: Any, at: str) -> float | int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    # not NaN and not infinite: neither has a JSON form
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        raise refused(at, f"Invalid value at '{at}' (TYPE_FLOAT).")
    return value


def _enum(value: Any, at: str) -> str | int:
    """Words in capitals; numbers, which the parser takes as well, as they are."""
    if isinstance(value, str):
        return value.upper()
    return _int(value, at)


def _tier(value: Any, at: str) -> str | int:
    """The one enum whose words are in lower case on the wire."""
    if isinstance(value, str):
        return value.lower().removeprefix("service_tier_")
    return _int(value, at)


_SCALARS = {"string": _string, "bool": _bool, "int": _int, "number": _number, "enum": _enum, "tier": _tier}
