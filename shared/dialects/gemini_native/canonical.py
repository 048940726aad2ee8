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
_INTEGER = re.compile(r"-?\d{1,19}")
# where a value stands: the place above, and below it a field, the index in a list, or the key of a map as a tuple;
# spelled out only where something is refused
_Place = tuple[Any, str | int | tuple[str]] | None
_Reader = Callable[[Any, _Place], Any]


def canonical(message: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` as the canonical `message`. Raises `invalid_request` with the path of what cannot be read; two spellings
    of one field are refused, because only one of them could win."""
    return _message(message, body, None)


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


def _message(name: str, value: Any, at: _Place) -> dict[str, Any]:
    readers = _readers(name)
    out: dict[str, Any] = {}
    for key, item in _object(value, at).items():
        field = key if key in readers else camel(key)
        if field not in readers or (key != field and key != snake(field)):
            out[key] = item
            continue
        if field in out or (key != field and value.get(field) is not None):
            path = _path((at, field))
            raise refused(path, f"Invalid value at '{path}' (oneof), field '{snake(field)}' is already set.")
        if item is not None:
            out[field] = readers[field](item, (at, field))
    return out


@cache
def _reader(kind: str) -> _Reader:
    """What makes a value of this kind canonical, or refuses it at its place."""
    if kind == "free":
        return lambda value, at: value
    if kind.startswith("["):
        return partial(_list, _reader(kind[1:]))
    if kind.startswith("{"):
        return partial(_map, _reader(kind[1:]))
    if kind in FIELDS:
        return partial(_message, kind)
    return _SCALARS[kind]


def _list(each: _Reader, value: Any, at: _Place) -> list[Any]:
    rows = value if isinstance(value, list) else [value]
    return [each(row, (at, index)) for index, row in enumerate(rows) if row is not None]


def _map(each: _Reader, value: Any, at: _Place) -> dict[str, Any]:
    return {key: each(row, (at, (key,))) for key, row in _object(value, at).items() if row is not None}


def _object(value: Any, at: _Place) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _misfit(value, at, ": an object is expected.")
    return value


def _string(value: Any, at: _Place) -> str:
    if not isinstance(value, str):
        raise _misfit(value, at, " (TYPE_STRING).")
    return value


def _bool(value: Any, at: _Place) -> bool:
    if not isinstance(value, bool):
        raise _misfit(value, at, " (TYPE_BOOL).")
    return value


def _int(value: Any, at: _Place) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _misfit(value, at, " (TYPE_INT32).")
    return value


def _number(value: Any, at: _Place) -> float | int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    # not NaN and not infinite: neither has a JSON form
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        raise _misfit(value, at, " (TYPE_FLOAT).")
    return value


def _enum(value: Any, at: _Place) -> str | int:
    """Words in capitals; numbers, which the parser takes as well, as they are."""
    if isinstance(value, str):
        return value.upper()
    return _int(value, at)


def _tier(value: Any, at: _Place) -> str | int:
    """The one enum whose words are in lower case on the wire."""
    if isinstance(value, str):
        return value.lower().removeprefix("service_tier_")
    return _int(value, at)


def _misfit(value: Any, place: _Place, expected: str) -> GatewayError:
    at = _path(place)
    if not isinstance(value, list):
        return refused(at, f"Invalid value at '{at}'{expected}")
    name = at.rpartition(".")[2]
    return refused(
        at,
        f"Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Proto field is not repeating, cannot "
        "start list.",
    )


def _path(place: _Place) -> str:
    steps: list[str] = []
    while place is not None:
        place, step = place
        if isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            steps.append("." + (snake(step) if isinstance(step, str) else step[0]))
    return "".join(reversed(steps)).removeprefix(".")


_SCALARS = {"string": _string, "bool": _bool, "int": _int, "number": _number, "enum": _enum, "tier": _tier}
