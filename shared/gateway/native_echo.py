"""An answer that goes on after the client's own beginning, without the beginning where the model repeats it."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.gemini_native.elements import Element, candidates_of, chunk_of, parts_of, with_parts
from shared.gateway.shaping import StripEcho


class EchoCut:
    """The chunks of one answer without the text `prefix` at its start, or as they came where it does not stand there.

    Text is held back as long as it could be the prefix.
    """

    def __init__(self, prefix: str, *, whole: bool = False) -> None:
        """`whole`: the answer is one chunk, and nothing can be held back from it."""
        self._filter: StripEcho | None = StripEcho(prefix) if prefix else None
        self._whole = whole

    @property
    def over(self) -> bool:
        """Whether whatever comes now passes as it is."""
        return self._filter is None

    def feed(self, element: Element) -> Element | None:
        """None: nothing of this chunk is left."""
        chunk = chunk_of(element)
        rows = candidates_of(chunk)
        if self._filter is None or not rows:
            return element
        before = parts_of(rows[0])
        ends = self._whole or "finishReason" in rows[0]
        after = self._parts(before, ends=ends)
        if after == before:
            return element
        if not after and not ends:
            return None
        candidates = [with_parts(rows[0], after), *rows[1:]]
        return {**chunk, "candidates": candidates}

    def _parts(self, parts: list[Mapping[str, Any]], *, ends: bool) -> list[Mapping[str, Any]]:
        out: list[Mapping[str, Any]] = []
        for part in parts:
            text = part.get("text")
            if part.get("thought") or self._filter is None:
                out.append(part)
            elif isinstance(text, str):
                kept = self._filter.feed(text)
                if kept or not text or "thoughtSignature" in part:
                    out.append(part if kept == text else {**part, "text": kept})
            else:
                out += [*self._rest(), part]
        if ends:
            out += self._rest()
        return out

    def _rest(self) -> list[Mapping[str, Any]]:
        """The beginning is over: what was held is part of the answer."""
        held, self._filter = self._filter.flush() if self._filter else "", None
        return [{"text": held}] if held else []
