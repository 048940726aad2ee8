"""Chunks of the upstream, and what the reader makes of them."""

from typing import Any

from shared.events import Citation, End, Event
from shared.gemini.reader import ReplyReader

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 2, "thoughtsTokenCount": 94, "totalTokenCount": 103}


def chunk(*parts: dict[str, Any], finish: Any = None, usage: Any = USAGE, **candidate: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, **candidate}
    if finish is not None:
        inner["finishReason"] = finish
    made: dict[str, Any] = {"candidates": [inner], "modelVersion": "gemini-3.8-flash", "responseId": "r1"}
    return made if usage is None else {**made, "usageMetadata": usage}


def read(*chunks: dict[str, Any]) -> list[Event]:
    reader = ReplyReader()
    return [event for item in chunks for event in reader.feed(item)] + reader.close()


def end_of(*chunks: dict[str, Any]) -> End:
    event = read(*chunks)[-1]
    assert isinstance(event, End)
    return event


def text(value: str, **rest: Any) -> dict[str, Any]:
    return {"text": value, **rest}


def call(name: str = "f", **rest: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"x": 1}, **rest}}


def grounded(*segments: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    supports = [{"segment": segment, "groundingChunkIndices": [0]} for segment in segments]
    web = {"web": {"uri": "https://a.example", "title": "A"}}
    return {"groundingMetadata": {"groundingChunks": [web], "groundingSupports": supports, **metadata}}


def spans(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.start, event.end) for event in events if isinstance(event, Citation)]
