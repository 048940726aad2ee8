"""CONTINUATION: joined for clients that do not know it, left alone for those that do."""

import json

import pytest

from infra.local.emulator import answers
from infra.local.emulator.faults import Playback, Write
from shared.gateway.settings import Settings
from shared.limit_state import LimitState
from tests.unit.gemini_native.conftest import opened

MODEL = "/v1beta/models/gemini-4-argon"
HOPS = {"continuation": {"hops": 3, "token": "new"}, "text": "one two three four five six", "times": 3}
SDK = {"x-goog-api-client": "google-genai-sdk/3.4.0 gl-python/3.13.0"}


def say(**more):
    return {"contents": [{"role": "user", "parts": [{"text": "long"}]}], **more}


def text_of(chunks):
    parts = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


@pytest.mark.parametrize("query", ["", "?alt=sse"])
async def test_hops_are_one_stream(world, query):
    world.emulator.script(HOPS)
    got = await world.post(f"{MODEL}:streamGenerateContent{query}", say())
    chunks = got.events if query else got.json
    assert len(world.sent) == 3
    reasons = [chunk["candidates"][0].get("finishReason") for chunk in chunks]
    assert [reason for reason in reasons if reason] == ["STOP"]
    assert len({chunk["responseId"] for chunk in chunks}) == 1
    first, *later = [row["body"] for row in world.sent]
    assert all({**first, "continuationToken": body["continuationToken"]} == body for body in later)
    usage = chunks[-1]["usageMetadata"]
    row = world.row
    assert row.input_tokens == usage["promptTokenCount"]
    assert row.output_tokens == usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    assert text_of(chunks)


async def test_hops_are_one_whole_answer(world):
    world.emulator.script(HOPS)
    got = await world.post(f"{MODEL}:generateContent", say())
    assert len(world.sent) == 3
    (candidate,) = got.json["candidates"]
    assert candidate["finishReason"] == "STOP" and "continuationToken" not in candidate
    assert got.json["usageMetadata"]["promptTokenCount"] == world.row.input_tokens
    texts = [part for part in candidate["content"]["parts"] if set(part) == {"text"}]
    assert len(texts) <= 2


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
async def test_a_client_that_sends_a_token_follows_the_hops_itself(world, method):
    world.emulator.script(HOPS)
    first = await world.post("/v1beta/models/gemini-4-argon:streamGenerateContent?alt=sse", say(), headers=SDK)
    token = first.events[-1]["candidates"][0]["continuationToken"]
    got = await world.post(f"{MODEL}:{method}", say(continuation_token=token))
    last = got.events[-1] if "stream" in method else got.json
    assert last["candidates"][0]["finishReason"] == "CONTINUATION"
    assert world.sent[-1]["body"]["continuationToken"] == token
    assert len(world.sent) == 2


async def test_the_setting_turns_it_off(running_emulator):
    running_emulator.reset()
    async with opened(running_emulator, Settings(max_hops=0)) as world:
        world.emulator.script(HOPS)
        got = await world.post(f"{MODEL}:generateContent", say())
        assert got.json["candidates"][0]["finishReason"] == "CONTINUATION"


async def test_a_hop_that_brings_nothing_is_the_last(world):
    world.emulator.script({**HOPS, "continuation": {"hops": 3, "token": "same"}})
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    reasons = [chunk["candidates"][0].get("finishReason") for chunk in got.events]
    assert [reason for reason in reasons if reason] == ["CONTINUATION"]
    assert world.row.finish_reason == "CONTINUATION"


@pytest.mark.parametrize("query", ["", "?alt=sse"])
async def test_a_silent_upstream_is_bridged_by_bytes_that_say_nothing(running_emulator, query):
    running_emulator.reset()
    async with opened(running_emulator, Settings(heartbeat_s=0.05)) as world:
        world.emulator.script({"text": "one two", "chunks": 2, "silence_after": {"chunks": 1, "ms": 300}})
        got = await world.post(f"/v1beta/models/gemini-3.8-flash:streamGenerateContent{query}", say())
    filler = b"\r\n\r\n\r\n" if query else b"}\n\n\n"
    assert filler in got.content
    # cut as the Go and JavaScript SDKs cut, which leave out empty events only
    chunks = [json.loads(event[6:]) for event in got.content.split(b"\r\n\r\n") if event] if query else got.json
    assert text_of(chunks) == "one two"


def chunk(text, finish=None, **more):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
    ending = {"finishReason": finish} if finish else {}
    return {"candidates": [candidate | ending], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}


FIRST = [chunk("one "), chunk("two", "CONTINUATION", continuationToken="dDE=")]
BUSY = {"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}}
REFUSED = {"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}


def play(monkeypatch, query, *hops):
    """The upstream answers these hops in turn, each as (status, chunks), as the query asks; the last again and again.
    Returns the list of calls."""
    calls = []

    def answer(*asked):
        status, chunks = hops[min(len(calls), len(hops) - 1)]
        calls.append(asked)
        objects = [json.dumps(one).encode() for one in chunks]
        if query and status == 200:
            content = b"".join(b"data: " + one + b"\r\n\r\n" for one in objects)
            return answers.Answer(Playback([Write(content)]), 200, "text/event-stream")
        return answers.Answer(Playback([Write(b"[" + b",".join(objects) + b"]")]), status, "application/json")

    monkeypatch.setattr(answers, "generate_content", answer)
    return calls


@pytest.mark.parametrize("query", ["", "?alt=sse"])
async def test_a_hop_that_begins_with_an_error_is_asked_for_again(world, monkeypatch, query):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    calls = play(monkeypatch, query, (200, FIRST), (200, [BUSY]), (200, [chunk(" three", "STOP")]))
    got = await world.post(f"{MODEL}:streamGenerateContent{query}", say())
    chunks = got.events if query else got.json
    assert text_of(chunks) == "one two three" and len(calls) == 3
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert (world.row.input_tokens, world.row.output_tokens, world.row.state) == (10, 4, "done")


@pytest.mark.parametrize("query", ["", "?alt=sse"])
@pytest.mark.parametrize("refusal", [(400, [REFUSED]), (200, [REFUSED]), (503, [BUSY]), (200, [BUSY])])
async def test_a_hop_that_is_refused_leaves_the_ending_of_the_one_before(world, monkeypatch, query, refusal):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    play(monkeypatch, query, (200, FIRST), refusal)
    got = await world.post(f"{MODEL}:streamGenerateContent{query}", say())
    chunks = got.events if query else got.json
    assert text_of(chunks) == "one two"
    assert [one["candidates"][0].get("finishReason") for one in chunks] == [None, None, "CONTINUATION"]
    assert chunks[-1]["candidates"][0]["continuationToken"] == "dDE="
    assert chunks[-1]["usageMetadata"] == FIRST[-1]["usageMetadata"]
    assert (world.row.finish_reason, world.row.output_tokens) == ("CONTINUATION", 2)


async def test_a_hop_that_broke_leaves_no_earlier_ending(world, monkeypatch):
    broke = [chunk(" three"), chunk("", continuationToken="dDI="), BUSY]
    calls = play(monkeypatch, "?alt=sse", (200, FIRST), (200, broke), (400, [REFUSED]))
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    assert len(calls) == 3 and b"CONTINUATION" not in got.content
    assert b'"error"' in got.content


COVERED = [chunk("one "), chunk("two", continuationToken="dDE=")]


@pytest.mark.parametrize("query", ["", "?alt=sse"])
@pytest.mark.parametrize("hops", [[COVERED], [FIRST, []], [FIRST, [chunk("")]], [FIRST, [], [chunk("")]]])
async def test_a_hop_that_ends_without_a_word_goes_on_where_nothing_is_lost(world, monkeypatch, query, hops):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    calls = play(monkeypatch, query, *((200, hop) for hop in hops), (200, [chunk(" three", "STOP")]))
    got = await world.post(f"{MODEL}:streamGenerateContent{query}", say())
    chunks = got.events if query else got.json
    assert text_of(chunks) == "one two three" and len(calls) == len(hops) + 1
    assert [one["candidates"][0].get("finishReason") for one in chunks][-1] == "STOP"


async def test_a_hop_that_says_nothing_is_asked_for_three_times(world, monkeypatch):
    monkeypatch.setattr("shared.gateway.recovery._BACKOFF_S", 0.001)
    calls = play(monkeypatch, "?alt=sse", (200, FIRST), (200, [chunk("")]))
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    assert len(calls) == 4 and b'"error"' in got.content


@pytest.mark.parametrize(("left_nano", "calls_paid"), [(None, 5), (10**10, 5), (8 * 10**8, 2), (0, 1)])
async def test_hops_end_where_a_hard_budget_does(world, monkeypatch, left_nano, calls_paid):
    """Each reads 100,000 tokens for $0.20 and writes 10,000 for $0.10; what is left lies behind the reservation."""
    usage = {"promptTokenCount": 100_000, "candidatesTokenCount": 10_000, "totalTokenCount": 110_000}
    hops = [
        (200, [chunk("x ", "CONTINUATION", continuationToken=f"t{i}") | {"usageMetadata": usage, "modelVersion": ""}])
        for i in range(6)
    ]
    world.ledger.limits = LimitState(budget_remaining_nano=left_nano)
    calls = play(monkeypatch, "?alt=sse", *hops)
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    assert len(calls) == calls_paid
    assert got.events[-1]["candidates"][0]["finishReason"] == "CONTINUATION"
    assert world.row.cost_nano == calls_paid * 300_000_000
