"""An output message while it is written."""

from typing import Any

from shared.dialects.openai.answers import token_logprobs
from shared.dialects.openai_responses.text_part import Say, TextPart
from shared.events import Citation, Logprobs


class MessageItem:
    """One text part, or a refusal. `before` counts the visible characters of earlier messages."""

    def __init__(self, item_id: str, output_index: int, before: int, say: Say) -> None:
        self._id = item_id
        self._at = {"item_id": item_id, "output_index": output_index, "content_index": 0}
        self._before = before
        self._say = say
        self._pieces: list[str] = []
        self._annotations: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []
        self._refusal: str | None = None
        self._part: TextPart | None = None
        self.signature: str | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def head(self) -> dict[str, Any]:
        return {"id": self._id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}

    def text_part(self) -> TextPart:
        if self._part is None:
            self._say({**self._at, "part": self._content("")}, "response.content_part.added")
            self._part = TextPart(self._pieces, "response.output_text.delta", self._at, {"logprobs": []})
        return self._part

    def cite(self, citation: Citation) -> None:
        annotation = self.annotation(citation, self._before)
        told = {"annotation_index": len(self._annotations), "annotation": annotation}
        self._say({**self._at, **told}, "response.output_text.annotation.added")
        self._annotations.append(annotation)

    @staticmethod
    def annotation(citation: Citation, before: int) -> dict[str, Any]:
        return {
            "type": "url_citation",
            "start_index": max(0, citation.start - before),
            "end_index": citation.end - before,
            "url": citation.url,
            "title": citation.title,
        }

    def add_logprobs(self, event: Logprobs) -> None:
        self._logprobs += token_logprobs(event)

    def refuse(self, refusal: str) -> None:
        self._refusal = refusal
        say, at = self._say, self._at
        say({**at, "part": {"type": "refusal", "refusal": ""}}, "response.content_part.added")
        say({**at, "delta": refusal}, "response.refusal.delta")
        say({**at, "refusal": refusal}, "response.refusal.done")
        say({**at, "part": {"type": "refusal", "refusal": refusal}}, "response.content_part.done")

    def close(self, status: str, text: str) -> dict[str, Any]:
        """The events of the end of its part, and the finished item; `text` is its own."""
        if self._refusal is not None:
            return {**self.head(), "status": status, "content": [{"type": "refusal", "refusal": self._refusal}]}
        part = self._content(text)
        self._say({**self._at, "text": text, "logprobs": part["logprobs"]}, "response.output_text.done")
        self._say({**self._at, "part": part}, "response.content_part.done")
        return {**self.head(), "status": status, "content": [part]}

    def _content(self, text: str) -> dict[str, Any]:
        logprobs, annotations = list(self._logprobs), list(self._annotations)
        return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}
