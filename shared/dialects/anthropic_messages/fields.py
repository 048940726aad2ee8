"""Reading a client's JSON with its types checked. Every refusal is a `GatewayError` that names the JSON path.

`null` means absent everywhere, so the readers below are only given values that are there. Messages never repeat what
the client wrote; they are worded as the SDKs' users know them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.errors import GatewayError

REQUIRED = "Field required"


def invalid(message: str, param: str, *, reason: str | None = None) -> GatewayError:
    return GatewayError("invalid_request", message, param=param, reason=reason)


def string(value: Any, param: str) -> str:
    if value is None:
        raise invalid(REQUIRED, param)
    if not isinstance(value, str):
        raise invalid("Input should be a valid string", param)
    return value


def filled(value: Any, param: str) -> str:
    text = string(value, param)
    if not text:
        raise invalid("String should have at least 1 character", param)
    return text


def optional_string(value: Any, param: str) -> str:
    return string(value, param) if value is not None else ""


def boolean(value: Any, param: str) -> bool:
    if not isinstance(value, bool):
        raise invalid("Input should be a valid boolean", param)
    return value


def integer(value: Any, param: str, low: int) -> int:
    """An integer of at least `low`; an integral float counts (`1.0` = 1), a boolean or a numeric string does not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("Input should be a valid integer", param)
    if value < low:
        raise invalid(f"Input should be greater than or equal to {low}", param)
    return value


def number(value: Any, param: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid("Input should be a valid number", param)
    if not low <= value <= high:  # false for NaN too
        raise invalid(f"Input should be between {low:g} and {high:g}", param)
    return value


def mapping(value: Any, param: str) -> Mapping[str, Any]:
    if value is None:
        raise invalid(REQUIRED, param)
    if not isinstance(value, dict) and not isinstance(value, Mapping):  # the first is what JSON holds, and quick
        raise invalid("Input should be an object", param)
    return value


def sequence(value: Any, param: str) -> Sequence[Any]:
    if value is None:
        raise invalid(REQUIRED, param)
    if not isinstance(value, list | tuple):
        raise invalid("Input should be a valid array", param)
    return value


def objects(value: Any, param: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of an array, each with its JSON path; nothing for null."""
    for position, item in enumerate(sequence(value, param) if value is not None else ()):
        where = f"{param}[{position}]"
        yield where, mapping(item, where)


def blocks(content: Any, param: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The blocks of a message's `content`, each with its JSON path; a string counts as one text block."""
    if isinstance(content, str):
        yield param, {"type": "text", "text": content}
        return
    yield from objects(content, param)


def loose_objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of what may be an array, without complaint: for looking ahead at what is checked later."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]
