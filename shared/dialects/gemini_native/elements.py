"""The objects of a reply on their way to the client, and the gate that an answer passes before it is one."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.dialects.gemini_native.reading import parsed

# parts are told by what they hold; these fields only say something about it
_SIDE_FIELDS = frozenset({"text", "thought", "thoughtSignature", "partMetadata"})

Chunk = Mapping[str, Any]
Element = bytes | Chunk  # one JSON object of a reply: the bytes it came in, or what the gateway has made of it
Elements = list[Element]  # several together: what one wake-up brings is carried on as one


def chunk_of(element: Element) -> Chunk:
    return parsed(element) if isinstance(element, bytes) else element


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

    def feed(self, elements: Elements, *, has_call: bool, has_output: bool, settled: bool) -> Elements:
        """What may leave now. `has_call` and `has_output` tell what is in the elements, `settled` that the upstream has
        named a reason for the end that is no fault."""
        if self.visible and not self._held and not has_call:
            return elements
        self._held += elements
        self._calls = self._calls or has_call
        self.visible = self.visible or has_output or (self._calls and settled)
        if not self.visible or (self._calls and not settled):
            return []
        return self.close(void=False)

    def close(self, *, void: bool) -> Elements:
        """What is still held; without its calls where the answer's end makes them `void`."""
        held, self._held, self._calls = self._held, [], False
        return [_without_calls(element) for element in held] if void else held


def candidates_of(chunk: Chunk) -> list[Mapping[str, Any]]:
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


def shows(candidates: Iterable[Mapping[str, Any]]) -> tuple[bool, bool]:
    """Whether there is a call in them, and whether there is other output."""
    has_call = has_output = False
    for candidate in candidates:
        for part in parts_of(candidate):
            if is_call(part):
                has_call = True
            elif part.get("text") or not _SIDE_FIELDS.issuperset(part):
                has_output = True
    return has_call, has_output


def is_call(part: Mapping[str, Any]) -> bool:
    return "functionCall" in part


def _without_calls(element: Element) -> Element:
    chunk = chunk_of(element)
    candidates = candidates_of(chunk)
    has_call, _ = shows(candidates)
    if not has_call:
        return element
    kept = [with_parts(row, [part for part in parts_of(row) if not is_call(part)]) for row in candidates]
    return {**chunk, "candidates": kept}
