"""A reasoning item while it is written: summaries of thoughts, each a part of its own."""

from typing import Any

from shared.dialects.openai_responses.text_part import Say, TextPart


class ReasoningItem:
    def __init__(self, item_id: str, output_index: int, say: Say) -> None:
        self._id = item_id
        self._index = output_index
        self._say = say
        self._summary: list[dict[str, str]] = []
        self.part: TextPart | None = None  # the open one

    def head(self) -> dict[str, Any]:
        return {"id": self._id, "type": "reasoning", "summary": [], "status": "in_progress"}

    def begin_part(self) -> None:
        self.end_part()
        at = self._at()
        self._say({**at, "part": {"type": "summary_text", "text": ""}}, "response.reasoning_summary_part.added")
        self.part = TextPart([], "response.reasoning_summary_text.delta", at)

    def end_part(self) -> None:
        if self.part is None:
            return
        at, text = self._at(), "".join(self.part.pieces)
        part = {"type": "summary_text", "text": text}
        self._say({**at, "text": text}, "response.reasoning_summary_text.done")
        self._say({**at, "part": part}, "response.reasoning_summary_part.done")
        self._summary.append(part)
        self.part = None

    def close(self, status: str, encrypted: str | None) -> dict[str, Any]:
        """The finished item; `encrypted` is what the client carries for the gateway."""
        self.end_part()
        item = {**self.head(), "summary": self._summary, "status": status}
        return item if encrypted is None else {**item, "encrypted_content": encrypted}

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index, "summary_index": len(self._summary)}
