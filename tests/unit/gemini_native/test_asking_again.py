"""An answer that says nothing, or that the model failed at, is asked for once more if the client has seen nothing."""

import json

import pytest

from shared.dialects.gemini_native.elements import Gate, candidates_of, shows
from tests.unit.gemini_native.conftest import serve

MODEL = "/v1beta/models/gemini-3.8-flash"
METHODS = ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"]
TOOLS = {"tools": [{"functionDeclarations": [{"name": "f"}]}]}


def say(**more):
    return {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], **more}


def chunks_of(got, method):
    return got.events if "sse" in method else got.json if "stream" in method else [got.json]


def parts_of(chunks):
    return [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]


def text_of(chunks):
    return "".join(part.get("text", "") for part in parts_of(chunks))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "poor",
    [
        {"empty": "no_parts"},
        {"empty": "empty_content"},
        {"empty": "signature_only"},
        {"finish": "MALFORMED_FUNCTION_CALL"},
        {"finish": "MALFORMED_FUNCTION_CALL", "call": {"name": "f", "args": {}}},
        {"finish": "OTHER"},
        {"finish": "MALFORMED_RESPONSE"},
    ],
    ids=str,
)
async def test_a_poor_answer_is_asked_for_again(world, method, poor):
    world.emulator.script(poor, {"text": "here I am"})
    got = await world.post(f"{MODEL}:{method}", say(**TOOLS))
    chunks = chunks_of(got, method)
    assert text_of(chunks) == "here I am"
    assert not [part for part in parts_of(chunks) if "functionCall" in part]
    first, second = world.sent
    assert first["body"] == second["body"]
    row = world.row
    assert (row.attempts, row.finish_reason, row.state, row.status) == (2, "STOP", "done", 200)
    usage = chunks[-1]["usageMetadata"]  # both answers are billed, and both are told
    assert row.input_tokens == usage["promptTokenCount"]
    assert row.output_tokens == usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    assert row.input_tokens % 2 == 0 and row.input_tokens > 0


@pytest.mark.parametrize("method", METHODS)
async def test_the_second_time_it_is_the_answer(world, method):
    world.emulator.script({"empty": "no_parts", "times": 2})
    got = await world.post(f"{MODEL}:{method}", say())
    assert got.status == 200
    assert text_of(chunks_of(got, method)) == ""
    assert len(world.sent) == 2
    assert world.row.finish_reason == "STOP"


@pytest.mark.parametrize("method", METHODS)
async def test_a_fault_keeps_its_word_and_loses_its_calls(world, method):
    """A call that the upstream declares malformed must not run; SDKs run whatever call they are shown."""
    fault = {"finish": "MALFORMED_FUNCTION_CALL", "call": {"name": "f", "args": {}}, "times": 2}
    world.emulator.script(fault)
    chunks = chunks_of(await world.post(f"{MODEL}:{method}", say(**TOOLS)), method)
    assert chunks[-1]["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert not [part for part in parts_of(chunks) if "functionCall" in part]
    assert (len(world.sent), world.row.finish_reason) == (2, "MALFORMED_FUNCTION_CALL")


@pytest.mark.parametrize("method", METHODS)
async def test_what_the_client_has_seen_is_not_asked_for_again(world, method):
    world.emulator.script({"finish": "MALFORMED_RESPONSE", "text": "half an answer"})
    chunks = chunks_of(await world.post(f"{MODEL}:{method}", say()), method)
    assert text_of(chunks) == "half an answer"
    assert chunks[-1]["candidates"][0]["finishReason"] == "MALFORMED_RESPONSE"
    assert len(world.sent) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "step", [{"finish": "SAFETY"}, {"finish": "MAX_TOKENS", "text": ""}, {"block": "SAFETY"}], ids=str
)
async def test_other_ends_without_words_are_answers(world, method, step):
    world.emulator.script(step)
    got = await world.post(f"{MODEL}:{method}", say())
    assert got.status == 200
    assert len(world.sent) == 1


async def test_a_disabled_project_is_the_gateways_own_trouble(world):
    world.emulator.script({"finish": "PUP_LIMITED_DISABLED", "times": 3})
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    assert (got.status, got.json["error"]["status"]) == (502, "UNAVAILABLE")


async def test_parts_that_the_gateway_does_not_know_are_an_answer(world, monkeypatch):
    chunk = {
        "candidates": [
            {"content": {"parts": [{"audioTranscription": {"text": "hm"}}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
    }
    recorded = b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"
    serve(monkeypatch, recorded, "text/event-stream")
    got = await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say())
    assert got.content == recorded
    assert len(world.sent) == 1


async def test_the_second_answer_has_the_dummies_that_the_first_one_missed(world):
    call = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
    result = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
    body = say(**TOOLS)
    body["contents"] += [call, result]
    world.emulator.script({"finish": "MISSING_THOUGHT_SIGNATURE"}, {"text": "now"})
    # a model that does not check signatures before it answers
    got = await world.post("/v1beta/models/gemini-2.5-flash-lite:generateContent", body)
    assert text_of([got.json]) == "now"
    first, second = (row["body"]["contents"][1]["parts"][0] for row in world.sent)
    assert "thoughtSignature" not in first and second["thoughtSignature"]


def test_calls_wait_for_the_end_that_confirms_them():
    def element(*parts, **more):
        return {"candidates": [{"content": {"parts": list(parts)}, **more}]}

    def fed(gate, element, *, settled):
        has_call, has_output = shows(candidates_of(element))
        return gate.feed([element], has_call=has_call, has_output=has_output, settled=settled)

    text, call = element({"text": "I look."}), element({"functionCall": {"name": "f"}}, {"text": "now"})
    last = element({"text": ""}, finishReason="STOP")
    gate = Gate()
    assert fed(gate, text, settled=False) == [text]
    assert fed(gate, call, settled=False) == []
    assert fed(gate, last, settled=True) == [call, last]
    assert fed(gate, text, settled=True) == [text]

    gate = Gate()
    assert fed(gate, call, settled=False) == [] and gate.visible
    (void,) = gate.close(void=True)
    assert void["candidates"][0]["content"]["parts"] == [{"text": "now"}]
