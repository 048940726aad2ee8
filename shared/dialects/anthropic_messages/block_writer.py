"""Content blocks in their order: one open at a time, indices without gaps, nothing left open.

The official accumulators index their list of blocks by `index` and merge deltas by type, so order is all they rely on;
this class is the only place that counts and closes blocks.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from shared.dialects.anthropic_messages.outputs import Output

Prose = Literal["text", "thinking"]
Citations = tuple[Mapping[str, Any], ...]


class BlockWriter:
    """Writes blocks to `output`, which the first one begins. `opening` makes the message without blocks, `unsigned`
    the envelope of a thought without a signature of its own: clients drop thinking whose `signature` is empty."""

    def __init__(self, output: Output, opening: Callable[[], dict[str, Any]], unsigned: Callable[[], str]) -> None:
        self._output = output
        self._opening = opening
        self._unsigned = unsigned
        self._begun = False
        self._index = -1
        self._open: Prose | None = None
        self._citations: Citations = ()

    @property
    def thinking_open(self) -> bool:
        return self._open == "thinking"

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._output.begin(self._opening())

    def text(self, text: str, citations: Citations = ()) -> None:
        """Text of the open run, or of a new one where the citations differ."""
        if self._open != "text" or citations != self._citations:
            self.end()
            self._start({"type": "text", "text": "", "citations": []} if citations else {"type": "text", "text": ""})
            self._open, self._citations = "text", citations
        self._output.text(text)

    def fenced(self, info: str, body: str) -> None:
        """A code block inside the text."""
        lead = "" if self._open != "text" or self._output.said.endswith("\n") else "\n"
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
            self._output.text(text)

    def sign(self, envelope: str) -> None:
        """End the open thought, or an empty one made for it. The signature goes out once and whole: accumulators
        replace it."""
        self.thinking()
        self._output.delta({"type": "signature_delta", "signature": envelope})
        self._stop()

    def call(self, block: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """A `tool_use` or `server_tool_use` block. Its start never holds the input: accumulators parse the deltas,
        which must make exactly one JSON object."""
        self.end()
        self._start({**block, "input": {}})
        self._output.input(arguments)
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
                self._output.delta({"type": "citations_delta", "citation": dict(citation)})
            self._stop()

    def _start(self, block: dict[str, Any]) -> None:
        self.begin()
        self._index += 1
        self._output.start(self._index, block)

    def _stop(self) -> None:
        self._open = None
        self._output.stop()
