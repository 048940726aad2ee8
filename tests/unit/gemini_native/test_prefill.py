"""A last turn of the model: newer models refuse it, so they are asked to go on, and what they repeat is cut."""

import json
import random
from datetime import date

import pytest

from shared.dialects.gemini_native.elements import chunk_of
from shared.dialects.gemini_native.request import read_generate
from shared.gateway.native_echo import EchoCut
from shared.gemini.catalog import resolve

METHODS = ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"]
BEGINNING = "Once upon a time"


def say(*parts):
    return {
        "contents": [
            {"role": "user", "parts": [{"text": "Tell me a story."}]},
            {"role": "model", "parts": list(parts) or [{"text": "thinking", "thought": True}, {"text": BEGINNING}]},
        ]
    }


def text_of(got, method):
    chunks = got.events if "sse" in method else got.json if "stream" in method else [got.json]
    parts = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-4-argon"])
async def test_newer_models_are_asked_to_go_on(world, method, model):
    world.emulator.script({"text": f"{BEGINNING}, there was a fox.", "chunks": 6})
    got = await world.post(f"/v1beta/models/{model}:{method}", say())
    assert text_of(got, method) == ", there was a fox."
    assert got.headers["x-gateway-warnings"] == "prefill:continued"
    sent = world.sent[-1]["body"]["contents"]
    assert [content["role"] for content in sent] == ["user", "model", "user"]
    assert sent[:2] == say()["contents"]


def test_a_model_that_nobody_knows_yet_is_a_newer_one():
    native = read_generate(say(), resolve("gemini-9-flash", date(2026, 11, 22)))
    assert [content["role"] for content in native.request["contents"]] == ["user", "model", "user"]
    assert native.echo_prefix == BEGINNING


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", [", there was a fox.", "Once more", "Once upon a", "A fox!"])
async def test_what_is_no_repetition_stays_whole(world, method, answer):
    world.emulator.script({"text": answer, "chunks": 3})
    assert text_of(await world.post(f"/v1beta/models/gemini-3.8-flash:{method}", say()), method) == answer


async def test_older_models_go_on_by_themselves(world):
    world.emulator.script({"text": f"{BEGINNING}, there was a fox."})
    got = await world.post("/v1beta/models/gemini-2.5-flash-lite:generateContent", say())
    assert text_of(got, "generateContent") == f"{BEGINNING}, there was a fox."
    assert len(world.sent[-1]["body"]["contents"]) == 2


async def test_a_call_without_its_result_is_the_upstreams_to_refuse(world):
    got = await world.post(
        "/v1beta/models/gemini-3.8-flash:generateContent", say({"functionCall": {"name": "f", "args": {}}})
    )
    assert got.status == 400
    assert len(world.sent[-1]["body"]["contents"]) == 2


async def test_a_later_hop_that_the_client_asks_for_is_the_same_request(world):
    world.emulator.script({"continuation": {"hops": 2, "token": "new"}, "text": "one two three four", "times": 2})
    sdk = {"x-goog-api-client": "google-genai-sdk/3.4.0 gl-python/3.13.0"}
    path = "/v1beta/models/gemini-4-argon:streamGenerateContent?alt=sse"
    first = await world.post(path, say(), headers=sdk)
    token = first.events[-1]["candidates"][0]["continuationToken"]
    second = await world.post(path, {**say(), "continuationToken": token}, headers=sdk)
    assert second.events[-1]["candidates"][0]["finishReason"] == "STOP"
    one, two = (row["body"] for row in world.sent)
    assert two == {**one, "continuationToken": token}


@pytest.mark.parametrize("prefix", ["", "ab", "abcabc", "abcabcabc!"])
@pytest.mark.parametrize("seed", range(5))
def test_chunking_never_matters(prefix, seed):
    text, chance = "abcabcabc", random.Random(seed)
    chunks, rest = [], text
    while rest:
        size = chance.randint(1, 4)
        chunks.append({"candidates": [{"content": {"parts": [{"text": rest[:size]}], "role": "model"}}]})
        rest = rest[size:]
    chunks.append({"candidates": [{"finishReason": "STOP"}]})
    cut = EchoCut(prefix)
    out = [cut.feed(chunk) for chunk in chunks]
    parts = [p for e in out if e for p in e["candidates"][0].get("content", {}).get("parts", [])]
    assert "".join(part["text"] for part in parts) == text.removeprefix(prefix)
    assert all(part["text"] for part in parts)
    assert out[-1] is not None and out[-1]["candidates"][0]["finishReason"] == "STOP"


def test_signatures_thoughts_and_calls_keep_their_places():
    def cut(*parts):
        chunk = {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP"}]}
        return EchoCut("abc").feed(json.dumps(chunk).encode())

    thought, call = {"text": "abc", "thought": True}, {"functionCall": {"name": "f"}}
    signed = {"text": "abc", "thoughtSignature": "s"}
    made = cut(thought, signed, {"text": "abc"})
    assert made["candidates"][0]["content"]["parts"] == [thought, {**signed, "text": ""}, {"text": "abc"}]
    made = cut({"text": "ab"}, call, {"text": "abc"})
    assert chunk_of(made)["candidates"][0]["content"]["parts"] == [{"text": "ab"}, call, {"text": "abc"}]
    assert isinstance(cut({"text": "xyz"}), bytes)
