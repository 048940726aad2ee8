"""One chunk script per family: where text, thoughts, calls, signatures, finish and counters stand."""

from __future__ import annotations

from typing import Any

import pytest

TOOLS = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
THINK = {"thinkingConfig": {"includeThoughts": True}}
BEFORE_2_0_DIED = 1767225600.0  # 2026-01-01
LONG = "words and more words " * 10


def parts(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    return list(chunk["candidates"][0]["content"]["parts"])


def usage(chunk: dict[str, Any]) -> dict[str, Any]:
    return dict(chunk["usageMetadata"])


def adds_up(chunk: dict[str, Any]) -> bool:
    row = usage(chunk)
    summands = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount")
    return bool(row["totalTokenCount"] == sum(row.get(name, 0) for name in summands))


FAMILIES = ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.8-flash", "gemini-4-argon"]


@pytest.mark.parametrize("model", FAMILIES)
def test_every_chunk_repeats_the_frame_and_its_usage_adds_up(upstream: Any, say: Any, model: str) -> None:
    upstream.server.set_clock(BEFORE_2_0_DIED)
    chunks = upstream.stream(model, say(LONG)).chunks
    assert len({(chunk["responseId"], chunk["modelVersion"]) for chunk in chunks}) == 1
    assert all(adds_up(chunk) for chunk in chunks)
    assert "".join(part["text"] for chunk in chunks for part in parts(chunk)) == f"Echo: {LONG}"
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None] * (len(chunks) - 1) + ["STOP"]


def test_2_0_text(upstream: Any, say: Any) -> None:
    upstream.server.set_clock(BEFORE_2_0_DIED)
    chunks = upstream.stream("gemini-2.0-flash", say(LONG)).chunks
    assert all("candidatesTokenCount" not in usage(chunk) for chunk in chunks[:-1])
    assert usage(chunks[0])["promptTokenCount"] > usage(chunks[-1])["promptTokenCount"]
    assert usage(chunks[-1])["candidatesTokensDetails"][0]["modality"] == "TEXT"
    assert parts(chunks[-1])[0]["text"]
    assert all("index" not in chunk["candidates"][0] for chunk in chunks)


def test_2_0_call(upstream: Any, say: Any) -> None:
    upstream.server.set_clock(BEFORE_2_0_DIED)
    (chunk,) = upstream.stream("gemini-2.0-flash", say("f", tools=TOOLS)).chunks
    assert parts(chunk) == [{"functionCall": {"name": "f", "args": {}}}]
    assert chunk["candidates"][0]["finishReason"] == "STOP"


def test_2_5_thoughts_then_text_then_stop(upstream: Any, say: Any) -> None:
    chunks = upstream.stream("gemini-2.5-flash", say(LONG, generationConfig=THINK)).chunks
    thoughts = [chunk for chunk in chunks if parts(chunk)[0].get("thought")]
    assert thoughts == chunks[: len(thoughts)]
    assert len(thoughts) == 2
    counts = [usage(chunk)["thoughtsTokenCount"] for chunk in chunks]
    assert counts == sorted(counts)
    assert parts(chunks[-1])[0]["text"]
    assert len({usage(chunk)["promptTokenCount"] for chunk in chunks}) == 1


def test_2_5_call(upstream: Any, say: Any) -> None:
    (chunk,) = upstream.stream("gemini-2.5-flash", say("f then g", tools=TOOLS)).chunks
    first, second = parts(chunk)
    assert first["functionCall"] == {"name": "f", "args": {}}
    assert len(first["thoughtSignature"]) > 100
    assert second == {"functionCall": {"name": "g", "args": {}}}
    candidate = chunk["candidates"][0]
    assert list(candidate) == ["content", "finishReason", "index", "finishMessage"]
    assert candidate["finishMessage"] == "Model generated function call(s)."


def test_3_text_ends_with_a_signed_empty_part(upstream: Any, say: Any) -> None:
    chunks = upstream.stream("gemini-3.8-flash", say(LONG, generationConfig=THINK)).chunks
    assert [bool(parts(chunk)[0].get("thought")) for chunk in chunks[:3]] == [True, True, False]
    assert list(usage(chunks[0])) == ["promptTokenCount", "totalTokenCount", "promptTokensDetails", "serviceTier"]
    (last,) = parts(chunks[-1])
    assert last["text"] == ""
    assert len(last["thoughtSignature"]) > 100
    assert usage(chunks[-1]) == usage(chunks[-2])


@pytest.mark.parametrize(("model", "ids"), [("gemini-3-flash-preview", False), ("gemini-3.8-flash", True)])
def test_3_call_then_empty_text(upstream: Any, say: Any, model: str, ids: bool) -> None:
    call, end = upstream.stream(model, say("f", tools=TOOLS)).chunks
    (part,) = parts(call)
    assert part["thoughtSignature"]
    assert "finishReason" not in call["candidates"][0]
    assert parts(end) == [{"text": ""}]
    assert end["candidates"][0]["finishReason"] == "STOP"
    assert "finishMessage" not in end["candidates"][0]
    assert ("id" in part["functionCall"]) is ids
    if ids:
        assert len(part["functionCall"]["id"]) == 8


def test_parallel_calls_in_successive_chunks(upstream: Any, say: Any) -> None:
    upstream.server.script({"call": [{"name": "f"}, {"name": "g", "args": {"x": 1}}], "split": True})
    first, second, end = upstream.stream("gemini-3.8-flash", say("x", tools=TOOLS)).chunks
    assert "thoughtSignature" in parts(first)[0]
    assert "thoughtSignature" not in parts(second)[0]
    assert parts(second)[0]["functionCall"]["args"] == {"x": 1}
    assert parts(end) == [{"text": ""}]


def test_thoughts_only_when_asked_for(upstream: Any, say: Any) -> None:
    upstream.server.script({"thoughts": "Hm.", "times": 2})
    hidden = upstream.unary("gemini-3.8-flash", say("x"))
    shown = upstream.unary("gemini-3.8-flash", say("x", generationConfig=THINK))
    assert not any(part.get("thought") for part in hidden.candidate["content"]["parts"])
    assert shown.candidate["content"]["parts"][0] == {"text": "Hm.", "thought": True}
    assert hidden.json["usageMetadata"]["thoughtsTokenCount"] > 0


def test_thinking_tokens_follow_the_config(upstream: Any, say: Any) -> None:
    def thought(level: str) -> int:
        config = {"thinkingConfig": {"thinkingLevel": level}}
        got = upstream.unary("gemini-3.6-flash", say("x", generationConfig=config))
        return int(got.json["usageMetadata"].get("thoughtsTokenCount", 0))

    counts = [thought(level) for level in ("MINIMAL", "LOW", "MEDIUM", "HIGH")]
    assert counts[0] == 0
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
def test_unary_is_the_fold_of_the_stream(upstream: Any, say: Any, model: str) -> None:
    body = say(LONG, generationConfig=THINK)
    unary, chunks = upstream.unary(model, body), upstream.stream(model, body).chunks
    said = {True: "", False: ""}
    for part in (part for chunk in chunks for part in parts(chunk)):
        said[bool(part.get("thought"))] += part["text"]
    folded = unary.candidate["content"]["parts"]
    assert [part["text"] for part in folded] == [said[True], said[False]]
    assert unary.json["usageMetadata"] == usage(chunks[-1])
    assert "thoughtSignature" in folded[1]


def test_unary_call_carries_the_finish_message(upstream: Any, say: Any) -> None:
    candidate = upstream.unary("gemini-3.8-flash", say("f", tools=TOOLS)).candidate
    assert candidate["finishReason"] == "STOP"
    assert candidate["finishMessage"] == "Model generated function call(s)."


def test_unsigned_switch(upstream: Any, say: Any) -> None:
    upstream.server.script({"unsigned": True, "text": "x"}, {"unsigned": True, "call": {"name": "f"}})
    for body in (say("x"), say("x", tools=TOOLS)):
        assert b"thoughtSignature" not in upstream.stream("gemini-3.8-flash", body).raw


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
def test_search(upstream: Any, say: Any, model: str) -> None:
    chunks = upstream.stream(model, say("wer hät's gewußt? " * 8, tools=[{"googleSearch": {}}])).chunks
    assert all(chunk["candidates"][0]["groundingMetadata"] == {} for chunk in chunks[:-1])
    assert parts(chunks[-1])[0]["text"] == ""
    metadata = chunks[-1]["candidates"][0]["groundingMetadata"]
    text = "".join(part["text"] for chunk in chunks for part in parts(chunk)).encode()
    first, second = metadata["groundingSupports"]
    assert "startIndex" not in first["segment"]
    for support in (first, second):
        segment = support["segment"]
        assert text[segment.get("startIndex", 0) : segment["endIndex"]].decode() == segment["text"]
        assert support["groundingChunkIndices"][0] < len(metadata["groundingChunks"])
    assert usage(chunks[-1])["toolUsePromptTokenCount"] > 0
    assert adds_up(chunks[-1])


def test_counters_restart_between_server_side_steps(upstream: Any, say: Any) -> None:
    upstream.server.script({"code": {"code": "print(1)\n" * 20, "output": "1\n"}, "text": "Let me compute. " * 20})
    chunks = upstream.stream("gemini-2.5-flash", say("x", tools=[{"codeExecution": {}}])).chunks
    counts = [usage(chunk).get("candidatesTokenCount", 0) for chunk in chunks]
    assert counts != sorted(counts)
    assert counts[-1] == max(counts)
    assert adds_up(chunks[-1])
    kinds = [next(iter(part)) for chunk in chunks for part in parts(chunk)]
    assert kinds[-2:] == ["executableCode", "codeExecutionResult"]


def test_server_side_tool_parts_next_to_functions(upstream: Any, say: Any) -> None:
    upstream.server.script({"search": True, "call": {"name": "f"}})
    flag = {"includeServerSideToolInvocations": True}
    body = say("x", tools=[*TOOLS, {"googleSearch": {}}], toolConfig=flag)
    made = upstream.unary("gemini-3.8-flash", body).candidate["content"]["parts"]
    assert [next(iter(part)) for part in made] == ["toolCall", "toolResponse", "functionCall"]
    assert made[0]["toolCall"]["id"] == made[1]["toolResponse"]["id"]
    assert all(part["thoughtSignature"] for part in made)
    assert upstream.unary("gemini-3.8-flash", {"contents": [*body["contents"], {"role": "model", "parts": made}, {
        "role": "user",
        "parts": [{"functionResponse": {"name": "f", "id": made[2]["functionCall"]["id"], "response": {}}}],
    }], "tools": TOOLS}).status == 200  # fmt: skip


def test_a_streamed_voice_comes_in_pieces(upstream: Any, say: Any) -> None:
    upstream.server.set_clock(BEFORE_2_0_DIED)
    body = say("A sentence that takes a while to be spoken aloud.", generationConfig={"responseModalities": ["AUDIO"]})
    model = "gemini-3.1-flash-tts-preview"
    chunks = upstream.stream(model, body).chunks
    pieces = [part["inlineData"]["data"] for chunk in chunks for part in parts(chunk) if "inlineData" in part]
    assert len(pieces) > 1
    (whole,) = upstream.unary(model, body).candidate["content"]["parts"]
    assert "".join(pieces) == whole["inlineData"]["data"]
