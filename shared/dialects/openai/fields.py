"""Reading a client's JSON with its types checked. Every refusal is a `GatewayError` that names the JSON path.

`null` means absent everywhere, so the readers below are only given values that are there. Messages never repeat what
the client wrote.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import GatewayError


def invalid(message: str, param: str) -> GatewayError:
    return GatewayError("invalid_request", message, param=param)


def string(value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise invalid("Expected a string here.", param)
    return value


def boolean(value: Any, param: str) -> bool:
    if not isinstance(value, bool):
        raise invalid("Expected true or false here.", param)
    return value


def integer(value: Any, param: str, low: int | None = None, high: int | None = None) -> int:
    """An integer within [low, high]; an integral float counts (`1.0` = 1), a boolean or a numeric string does not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("Expected an integer here.", param)
    if (low is not None and value < low) or (high is not None and value > high):
        raise invalid(f"Expected an integer {_range(low, high)}.", param)
    return value


def number(value: Any, param: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid("Expected a number here.", param)
    if not low <= value <= high:  # false for NaN too
        raise invalid(f"Expected a number {_range(low, high)}.", param)
    return value


def mapping(value: Any, param: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) and not isinstance(value, Mapping):  # the first is what JSON holds, and quick
        raise invalid("Expected an object here.", param)
    return value


def sequence(value: Any, param: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise invalid("Expected an array here.", param)
    return value


def snake(name: str) -> str:
    """`topP` and `top_p` alike as `top_p`: Google's vocabulary arrives in both spellings, mixed within one body."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def either_case(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object's members that are not null, under their snake_case names; the first spelling wins."""
    members: dict[str, Any] = {}
    for name, member in value.items():
        if member is not None:
            members.setdefault(snake(name), member)
    return members


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"of at least {low}"
    if low is None:
        return f"of at most {high}"
    return f"between {low} and {high}"
