"""Recorded Gemini replies, streamed and whole, read to events.

What an answer must say is computed here from the raw recording, independently of the reader: the text of its parts, its
calls, its finish, its counters. The same reply is read three ways: its wire bytes in one piece, the same bytes cut at
random places, and its parsed chunks.
"""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.errors import GatewayError
from shared.events import BlockDelta, BlockEnd, BlockStart, Citation, End, Event, Media, Start, ToolCall
from shared.gemini.reader import ReplyReader
from shared.gemini.upstream_stream import read_chunk
from shared.sse import SseSplitter

FOLDER = Path(__file__).parent / "gemini_replies"
RECORDINGS = sorted(FOLDER.glob("*.json"))
FINISH_WORDS = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")
FAULTS = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE")


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def wire_bytes(recording: Mapping[str, Any]) -> bytes:
    if "wire" in recording:
        return recording["wire"].encode()
    if "stream" in recording:
        end = "\r\n" if recording["line_end"] == "CRLF" else "\n"
        return "".join(f"data: {payload}{end}{end}" for payload in recording["stream"]).encode()
    return "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks_of(recording)).encode()


def chunks_of(recording: Mapping[str, Any]) -> list[Any]:
    if "wire" in recording:
        text = recording["wire"].replace("\r\n", "\n")
        found, decoder = [], json.JSONDecoder()
        for block in text.split("\n\n"):
            at = 0
            while (start := block.find("{", at)) >= 0:
                value, at = decoder.raw_decode(block, start)
                found.append(value)
        return found
    if "stream" in recording:
        return [json.loads(payload) for payload in recording["stream"]]
    return recording["chunks"] if "chunks" in recording else [recording["unary"]]


def read_chunks(chunks: Iterable[Any]) -> list[Event] | str:
    """Every event, or the kind of the failure that ended the reading."""
    reader, events = ReplyReader(), []
    try:
        for chunk in chunks:
            events += reader.feed(chunk)
        return events + reader.close()
    except GatewayError as error:
        return error.kind


def read_bytes(pieces: Iterable[bytes]) -> list[Event] | str:
    splitter = SseSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()
    return read_chunks(read_chunk(event) for event in events)


def cut(data: bytes, seed: int) -> list[bytes]:
    source, pieces, at = random.Random(seed), [], 0
    largest = source.choice((1, 7, 90, 1500)) if len(data) < 20_000 else 1500
    while at < len(data):
        size = source.randint(1, largest)
        pieces.append(data[at : at + size])
        at += size
    return pieces


class Expected:
    """What the raw chunks say, read naively."""

    def __init__(self, chunks: list[Any]) -> None:
        candidates = [
            candidate for chunk in chunks for candidate in chunk.get("candidates") or [] if not candidate.get("index")
        ]
        self.parts = [part for item in candidates for part in (item.get("content") or {}).get("parts") or []]
        reasons = [item["finishReason"] for item in candidates if item.get("finishReason")]
        self.reason = reasons[-1] if reasons else ""
        if isinstance(self.reason, int):
            self.reason = FINISH_WORDS[self.reason]
        self.text = "".join(part.get("text", "") for part in self.parts if not part.get("thought"))
        self.thoughts = "".join(part.get("text", "") for part in self.parts if part.get("thought"))
        self.calls = [
            (call["name"], call.get("args") or {}, call.get("id"), part.get("thoughtSignature"))
            for part in self.parts
            if (call := part.get("functionCall")) and self.reason not in FAULTS
        ]
        self.signatures = sorted(part["thoughtSignature"] for part in self.parts if part.get("thoughtSignature"))
        usages = [chunk["usageMetadata"] for chunk in chunks if "promptTokenCount" in chunk.get("usageMetadata", {})]
        self.usage = usages[-1] if usages else None
        self.blocked = [
            chunk["promptFeedback"] for chunk in chunks if chunk.get("promptFeedback", {}).get("blockReason")
        ]
        self.error = any("error" in chunk for chunk in chunks)


def said(events: list[Event], kind: str) -> str:
    kinds = {event.index: event.kind for event in events if isinstance(event, BlockStart)}
    return "".join(event.text for event in events if isinstance(event, BlockDelta) and kinds[event.index] == kind)


def signatures(events: list[Event]) -> list[str]:
    found = [getattr(event, "signature", None) for event in events]
    found += [event.part.get("thoughtSignature") for event in events if hasattr(event, "part")]
    return sorted(signature for signature in found if signature)


def test_there_are_enough_recordings_of_every_kind() -> None:
    forms = [key for path in RECORDINGS for key in ("wire", "stream", "chunks", "unary") if key in load(path)]
    assert len(RECORDINGS) >= 160
    assert sum(form in ("wire", "stream") for form in forms) >= 80
    assert forms.count("unary") >= 80
    assert forms.count("chunks") >= 10


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recorded_reply(path: Path) -> None:
    recording = load(path)
    assert recording["source"] and recording["license"]
    chunks = chunks_of(recording)
    expected = Expected(chunks)
    events = read_chunks(chunks)
    data = wire_bytes(recording)
    assert read_bytes([data]) == events
    for seed in range(3):
        assert read_bytes(cut(data, seed)) == events
    if expected.error:
        assert events == "upstream_interrupted"
        return
    if not expected.reason and not expected.blocked:
        assert events == "upstream_truncated"
        return
    assert isinstance(events, list)
    check(events, expected)


def check(events: list[Event], expected: Expected) -> None:
    assert isinstance(events[0], Start)
    end = events[-1]
    assert isinstance(end, End)
    assert sum(isinstance(event, Start | End) for event in events) == 2
    assert said(events, "text") == expected.text
    assert said(events, "reasoning") == expected.thoughts
    calls = [
        (event.name, dict(event.args), event.native_id, event.signature)
        for event in events
        if isinstance(event, ToolCall)
    ]
    assert calls == expected.calls
    if expected.reason not in FAULTS:
        assert signatures(events) == expected.signatures
    media = [part["inlineData"]["data"] for part in expected.parts if "inlineData" in part]
    assert [event.data for event in events if isinstance(event, Media)] == media
    assert end.reason == (expected.reason or expected.blocked[-1]["blockReason"])
    assert end.prompt_blocked == (not expected.reason)
    check_blocks(events)
    check_citations(events, expected.text)
    check_usage(end, expected.usage)


def check_blocks(events: list[Event]) -> None:
    """Indexes count up without gaps; one block is open at a time, and every one is closed."""
    open_block, following = None, 0
    for event in events:
        match event:
            case BlockStart():
                assert open_block is None
                assert event.index == following
                open_block, following = event.index, following + 1
            case BlockDelta():
                assert event.index == open_block
                assert event.text
            case BlockEnd():
                assert event.index == open_block
                open_block = None
            case _ if hasattr(event, "index"):
                assert open_block is None
                assert event.index == following
                following += 1
    assert open_block is None


def check_citations(events: list[Event], text: str) -> None:
    for event in events:
        if isinstance(event, Citation):
            assert 0 <= event.start < event.end <= len(text)
            assert event.url or event.title


def check_usage(end: End, metadata: Mapping[str, Any] | None) -> None:
    usage = end.usage
    if metadata is None:
        assert usage.estimated
        return
    count = metadata.get
    assert not usage.estimated
    assert usage.prompt_tokens == count("promptTokenCount", 0)
    assert usage.cached_tokens == count("cachedContentTokenCount", 0)
    assert usage.reasoning_tokens == count("thoughtsTokenCount", 0)
    parts = sum(count(f"{name}TokenCount", 0) for name in ("prompt", "candidates", "thoughts", "toolUsePrompt"))
    if parts == count("totalTokenCount"):
        assert usage.input_total + usage.output_total == count("totalTokenCount")
