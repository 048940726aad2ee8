"""Recorded Gemini replies through the native pass-through: the client gets the bytes that the upstream wrote.

Streams are replayed as they were recorded, whole replies as Google indents them. What may differ is one thing: a stream
recorded with LF comes out with Google's own CRLF. An answer that says nothing is asked for again: here it comes twice,
and its usage is that of both.
"""

import json

import pytest

from tests.golden.test_gemini_replies import FOLDER, chunks_of, load, read_chunks, wire_bytes
from tests.unit.gemini_native.conftest import running_emulator, serve, world

__all__ = ["running_emulator", "world"]

MODEL = "/v1beta/models/gemini-3.8-flash"
SAY = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
RECORDINGS = [(path, load(path)) for path in sorted(FOLDER.glob("*.json"))]
STREAMS = [pytest.param(made, id=path.stem) for path, made in RECORDINGS if {"wire", "stream"} & set(made)]
POOR_ONES = (
    "test_gemini_tool_returning_float__2",
    "direct_binary_audio_google_vertex",
    "unary_success_empty_text_part",
)
POOR, WHOLE = (
    [
        pytest.param(made, id=path.stem)
        for path, made in RECORDINGS
        if "unary" in made and poor == any(name in path.stem for name in POOR_ONES)
    ]
    for poor in (True, False)
)
BARE_ERROR = b'{\n  "error": {'
BROKEN = ("upstream_truncated", "upstream_interrupted", "upstream_truncated")
SILENT = "upstream_truncated"  # of those: broken before anything was said
JSON_TYPE, SSE_TYPE = "application/json; charset=UTF-8", "text/event-stream"


def indented(value) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def in_googles_lines(recorded: bytes) -> bytes:
    """Every line end a CRLF, an empty line last."""
    return b"\r\n".join(line for line in recorded.rstrip(b"\r\n").splitlines()) + b"\r\n\r\n"


def test_there_are_enough_recordings():
    assert len(STREAMS) >= 60 and len(WHOLE) >= 60 and len(POOR) == len(POOR_ONES)


@pytest.mark.parametrize("size", [5, 1 << 20])
@pytest.mark.parametrize("recording", STREAMS)
async def test_a_recorded_stream(world, monkeypatch, recording, size):
    """One that broke keeps what it said before, and its end is the gateway's own error."""
    recorded = wire_bytes(recording)
    # tiny pieces only where that is quick
    serve(monkeypatch, recorded, SSE_TYPE, size if len(recorded) < 4_000 else max(size, 1_500))
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", SAY)
    if read_chunks(chunks_of(recording)) == SILENT:
        assert (got.status, got.json["error"]["status"]) == (502, "UNAVAILABLE")
        return
    assert got.status == 200
    assert got.headers["content-type"] == SSE_TYPE
    wanted = in_googles_lines(recorded.partition(BARE_ERROR)[0])
    if read_chunks(chunks_of(recording)) in BROKEN:
        assert got.content.startswith(wanted)
        *_, bare, event = got.events
        assert bare == event and bare["error"]["code"] >= 499
        assert got.content.removeprefix(wanted).startswith(b'{"error":')
        assert b"ORIGINAL ERROR" not in got.content
    else:
        assert got.content == wanted


def test_few_recordings_are_broken():
    outcomes = [read_chunks(chunks_of(made)) for _, made in RECORDINGS if {"wire", "stream"} & set(made)]
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == list(BROKEN)


def told_twice(reply):
    """The reply with the usage of two, and without calls, which do not count in an answer that failed."""
    (candidate,) = reply["candidates"]
    parts = [part for part in candidate["content"]["parts"] if "functionCall" not in part]
    kept = {name: value for name, value in candidate["content"].items() if name != "parts"}
    content = {**kept, "parts": parts} if parts else kept
    usage = {name: value * 2 for name, value in reply["usageMetadata"].items() if isinstance(value, int)}
    return {**reply, "candidates": [{**candidate, "content": content}], "usageMetadata": usage}


@pytest.mark.parametrize("recording", POOR)
async def test_a_recorded_whole_reply_that_says_nothing(world, monkeypatch, recording):
    serve(monkeypatch, indented(recording["unary"]) + b"\n", JSON_TYPE)
    got = await world.post(f"{MODEL}:generateContent", SAY)
    usage = {name: value for name, value in got.json["usageMetadata"].items() if isinstance(value, int)}
    assert {**got.json, "usageMetadata": usage} == told_twice(recording["unary"])
    assert (got.status, len(world.sent)) == (200, 2)
    assert world.row.input_tokens == usage["promptTokenCount"]


@pytest.mark.parametrize("recording", WHOLE)
async def test_a_recorded_whole_reply(world, monkeypatch, recording):
    recorded = indented(recording["unary"]) + b"\n"
    serve(monkeypatch, recorded, JSON_TYPE)
    got = await world.post(f"{MODEL}:generateContent", SAY)
    assert (got.status, got.content) == (200, recorded)
