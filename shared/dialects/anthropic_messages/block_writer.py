"""Content blocks as stream events: one open at a time, indices without gaps, nothing left open.

The official accumulators index their list of blocks by `index` and merge deltas by type, so order is all they rely on;
this class is the only place that counts and closes blocks.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from shared.json_codec import encode_text

Pair = tuple[str, dict[str, Any]]  # the event's name and its data
Prose = Literal["text", "thinking"]
Citations = tuple[Mapping[str, Any], ...]


class Piece(Struct, frozen=True):
    """New text of an open block, which nearly all events are: `pair` in short."""

    index: int
    kind: Prose
    text: str

    @property
    def pair(self) -> Pair:
        name = "content_block_delta"
        return name, {"type": name, "index": self.index, "delta": {"type": f"{self.kind}_delta", self.kind: self.text}}


class BlockWriter:
    """Writes blocks into a list that `take` empties. `unsigned` makes the envelope of a thought without a signature of
    its own: clients drop thinking whose `signature` is empty."""

    def __init__(self, unsigned: Callable[[], str]) -> None:
        self._unsigned = unsigned
        self._index = -1
        self._open: Prose | None = None
        self._citations: Citations = ()
        self.said = ""  # last, in the open block
        self._pairs: list[Pair | Piece] = []

    @property
    def thinking_open(self) -> bool:
        return self._open == "thinking"

    def take(self) -> list[Pair | Piece]:
        pairs, self._pairs = self._pairs, []
        return pairs

    def text(self, text: str, citations: Citations = ()) -> None:
        """Text of the open run, or of a new one where the citations differ."""
        if self._open != "text" or citations != self._citations:
            self.end()
            self._start({"type": "text", "text": "", "citations": []} if citations else {"type": "text", "text": ""})
            self._open, self._citations = "text", citations
        self._pairs.append(Piece(self._index, "text", text))
        self.said = text

    def fenced(self, info: str, body: str) -> None:
        """A code block inside the text."""
        lead = "" if self._open != "text" or self.said.endswith("\n") else "\n"
        self.text(f"{lead}```{info}\n{body.rstrip()}\n```\n")

    def text_alone(self, text: str) -> None:
        """A text block of its own."""
        self.end()
        self.text(text)
        self.end()

    def thinking(self, text: str = "") -> None:
        """Text of the open thought, or of a new one; without text it only opens."""
        if self._open != "thinking":
            self.end()
            self._start({"type": "thinking", "thinking": "", "signature": ""})
            self._open = "thinking"
        if text:
            self._pairs.append(Piece(self._index, "thinking", text))

    def sign(self, envelope: str) -> None:
        """End the open thought, or an empty one made for it. The signature goes out once and whole: accumulators
        replace it."""
        self.thinking()
        self._delta({"type": "signature_delta", "signature": envelope})
        self._stop()

    def call(self, block: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """A `tool_use` or `server_tool_use` block. Its start never holds the input: accumulators parse the deltas,
        which must make exactly one JSON object."""
        self.end()
        self._start({**block, "input": {}})
        self._delta({"type": "input_json_delta", "partial_json": encode_text(dict(arguments))})
        self._stop()

    def whole(self, block: Mapping[str, Any]) -> None:
        """A block that has no deltas."""
        self.end()
        self._start(dict(block))
        self._stop()

    def end(self) -> None:
        """Close what is open."""
        if self._open == "thinking":
            self.sign(self._unsigned())
        elif self._open == "text":
            for citation in self._citations:
                self._delta({"type": "citations_delta", "citation": dict(citation)})
            self._stop()

    def _start(self, block: dict[str, Any]) -> None:
        self._index += 1
        self._emit("content_block_start", content_block=block)

    def _delta(self, delta: dict[str, Any]) -> None:
        self._emit("content_block_delta", delta=delta)

    def _stop(self) -> None:
        self._open = None
        self._emit("content_block_stop")

    def _emit(self, name: str, **fields: Any) -> None:
        self._pairs.append((name, {"type": name, "index": self._index, **fields}))
