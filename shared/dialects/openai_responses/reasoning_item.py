"""A reasoning item while it is written: summaries of thoughts, each a part of its own."""

from collections.abc import Callable
from typing import Any

Say = Callable[..., None]


class ReasoningItem:
    def __init__(self, item_id: str, output_index: int, say: Say) -> None:
        self._id = item_id
        self._index = output_index
        self._say = say
        self._summary: list[dict[str, str]] = []
        self.pieces: list[str] | None = None  # of the open part

    def head(self) -> dict[str, Any]:
        return {"id": self._id, "type": "reasoning", "summary": [], "status": "in_progress"}

    def begin_part(self) -> None:
        self.end_part()
        self.pieces = []
        self._tell("part.added", part={"type": "summary_text", "text": ""})

    def delta(self, text: str) -> None:
        if self.pieces is not None:
            self.pieces.append(text)
            self._tell("text.delta", delta=text)

    def end_part(self) -> None:
        if self.pieces is None:
            return
        part = {"type": "summary_text", "text": "".join(self.pieces)}
        self._tell("text.done", text=part["text"])
        self._tell("part.done", part=part)
        self._summary.append(part)
        self.pieces = None

    def close(self, status: str, encrypted: str | None) -> dict[str, Any]:
        """The finished item; `encrypted` is what the client carries for the gateway."""
        self.end_part()
        item = {**self.head(), "summary": self._summary, "status": status}
        return item if encrypted is None else {**item, "encrypted_content": encrypted}

    def _tell(self, kind: str, **members: Any) -> None:
        at = {"item_id": self._id, "output_index": self._index, "summary_index": len(self._summary)}
        self._say(f"response.reasoning_summary_{kind}", **at, **members)
