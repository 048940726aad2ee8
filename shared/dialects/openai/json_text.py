"""JSON inside JSON: tool arguments and tool results, which are text that often holds a document of its own.

The body's own guard never saw the inside of these strings, so the same bounds are kept here. What does not keep them is
treated as plain text, never as an error: a call must not be lost because a model once wrote bad arguments.
"""

import json
from typing import Any

MAX_DEPTH = 64
_EXACT = 2**53  # the upstream holds numbers as doubles

NOT_JSON = object()


def parse(text: str) -> Any:
    """The value that `text` spells, or `NOT_JSON` where it is no JSON or none that can be passed on unharmed."""
    try:
        value = _decoded(text)
    except (ValueError, RecursionError):
        return NOT_JSON
    return value if _portable(value) else NOT_JSON


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


_decoded = json.JSONDecoder(parse_constant=_refuse).decode


def _portable(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not _encodable(item):
                    return False
            elif isinstance(item, dict):
                below += item  # its keys, which are words like any other
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif not _plain(item):
                return False
        if not below:
            return True
        level = below
    return False


def _plain(item: Any) -> bool:
    if isinstance(item, float):
        return item - item == 0  # neither infinite nor NaN: `1e999` parses to infinity
    return not isinstance(item, int) or abs(item) <= _EXACT


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else True
