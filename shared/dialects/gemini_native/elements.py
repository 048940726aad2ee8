"""The objects of a reply on their way to the client, and the gate that an answer passes before it is one."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

# parts are told by what they hold; these fields only say something about it
_SIDE_FIELDS = frozenset({"text", "thought", "thoughtSignature", "partMetadata"})


class Element(Struct, frozen=True):
    """One JSON object of a reply. `raw` are its bytes as they came, None where the gateway changed `chunk`."""

    chunk: Mapping[str, Any]
    raw: bytes | None


class Run(Element, frozen=True):
    """Objects that differ in their text alone. `chunk` says what they say together, and is for reading only: whoever
    changes or shows objects takes them `apart`. `raw` is None."""

    raws: tuple[bytes, ...] = ()


Elements = list[Element]  # several together: what one wake-up brings is carried on as one


class Gate:
    """Holds objects back as long as the answer could still be asked for again, or its calls be declared void.

    The upstream puts a call and the reason MALFORMED_FUNCTION_CALL into different chunks, and such a call must not run
    although it can be read (NousResearch/hermes-agent#83886). `visible`: the answer holds more than signatures, empty
    text and calls that do not count.
    """

    def __init__(self) -> None:
        self.visible = False
        self._calls = False  # some are held
        self._held: Elements = []

    def feed(self, element: Element, *, settled: bool) -> Elements:
        """What may leave now. `settled`: the upstream has named a reason for the end that is no fault."""
        has_call = _has_call(element.chunk)
        if self.visible and not self._held and not has_call:
            return [element]
        self._held.append(element)
        self._calls = self._calls or has_call
        self.visible = self.visible or _has_output(element.chunk) or (self._calls and settled)
        if not self.visible or (self._calls and not settled):
            return []
        return self.close(void=False)

    def close(self, *, void: bool) -> Elements:
        """What is still held; without its calls where the answer's end makes them `void`."""
        held, self._held, self._calls = self._held, [], False
        return [_without_calls(element) for element in held] if void else held


def candidates_of(chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = chunk.get("candidates")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def parts_of(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def with_parts(candidate: Mapping[str, Any], parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The candidate with other parts; without the list where none are left, as the upstream writes it."""
    content = candidate.get("content")
    kept = {name: value for name, value in content.items() if name != "parts"} if isinstance(content, Mapping) else {}
    return {**candidate, "content": {"parts": parts, "role": "model", **kept} if parts else kept}


def _parts(chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part for candidate in candidates_of(chunk) for part in parts_of(candidate)]


def _has_call(chunk: Mapping[str, Any]) -> bool:
    return any(map(_is_call, _parts(chunk)))


def _has_output(chunk: Mapping[str, Any]) -> bool:
    return any(part.get("text") or not _SIDE_FIELDS.issuperset(part) for part in _parts(chunk) if not _is_call(part))


def _is_call(part: Mapping[str, Any]) -> bool:
    return "functionCall" in part


def _without_calls(element: Element) -> Element:
    if not _has_call(element.chunk):
        return element
    kept = [
        with_parts(row, [part for part in parts_of(row) if not _is_call(part)]) for row in candidates_of(element.chunk)
    ]
    return Element({**element.chunk, "candidates": kept}, None)
