"""The official TypeScript SDK of OpenAI, unmodified, against the running gateway; its side of each test is a scenario
in tests/clients/openai-sdk."""

import base64
import io
import json
import math
import wave

import pytest

from shared.gemini.audio import wav_header
from tests.clients.installation import installed
from tests.contract.test_openai_media import png_size
from tests.contract.test_openai_python import directive, png, say

FLASH, ARGON = "gemini-3.6-flash", "gemini-4-argon"
SENTINEL = "skip_thought_signature_validator"
PICTURE, MASK = (base64.b64encode(png(*size)).decode() for size in ((7, 5), (7, 6)))
SOUND = base64.b64encode(wav_header(48_000, 24_000) + bytes(48_000)).decode()
CITIES = ["Paris", "Zürich", "Rome", "Oslo"]
ROUNDS = [
    {"thoughts": "Two at once.", "call": [{"name": "get_weather", "args": {"city": city}} for city in CITIES[:2]]},
    {"thoughts": "One more.", "text": "So far dry.", "call": {"name": "get_weather", "args": {"city": "Rome"}}},
    {"call": [{"name": "get_weather", "args": {"city": "Oslo"}}, {"name": "get_time", "args": {}}]},
    {"text": "All dry."},
]
PROMPT = f"Weather, please.\n{directive(turns=ROUNDS)}"


@pytest.fixture(scope="session")
def scenarios():
    return ["node", installed("openai-sdk") / "scenarios.mjs"]


def assert_signatures_came_back(emulator):
    assert [record["status"] for record in emulator.requests] == [200] * 4
    assert "thoughtSignature" in json.dumps(emulator.requests[-1]["body"]["contents"])
    assert SENTINEL not in json.dumps([record["body"] for record in emulator.requests])


def assert_metered(row, dialect, endpoint, taken, given, stream=False):
    assert (row["dialect"], row["endpoint"], row["stream"], row["status"]) == (dialect, endpoint, stream, 200)
    assert (row["input_tokens"], row["output_tokens"]) == (taken, given)
    assert row["cost_nano_usd"] > 0


# chat


def test_a_chat_with_a_picture(play, gateway, client_key):
    url = {"url": f"data:image/png;base64,{PICTURE}"}
    answer = play("chat", request=say([{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": url}]))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert all(piece in choice["message"]["content"] for piece in ("What?", "image/png", "7x5"))
    (row,) = gateway.row(client_key[0])
    usage = answer["usage"]
    assert_metered(row, "openai_chat", "chat", usage["prompt_tokens"], usage["completion_tokens"])


def test_the_chunks_of_a_stream(play, gateway, client_key, emulator):
    emulator.script({"text": "one two three four five six", "chunks": 4})
    chunks = play("stream", request=say("count", stream_options={"include_usage": True}))
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    assert "".join(piece or "" for piece in pieces) == "one two three four five six"
    assert sum(bool(piece) for piece in pieces) == 4
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    usage = chunks[-1]["usage"]
    (row,) = gateway.row(client_key[0])
    assert_metered(row, "openai_chat", "chat", usage["prompt_tokens"], usage["completion_tokens"], stream=True)


def test_the_stream_helper_accumulates_text_thoughts_and_choices(play, emulator):
    emulator.script({"thoughts": "Hm.", "text": "one two three four", "chunks": 4})
    seen = play("stream_helper", request=say("count", reasoning_effort="low"))
    assert "".join(seen["pieces"]) == seen["text"] == "one two three four"
    assert len(seen["pieces"]) == 4
    assert seen["final"]["choices"][0]["message"]["reasoning_content"] == "Hm."
    emulator.script({"text": "a", "chunks": 1}, {"text": "b", "chunks": 1})
    several = play("stream_helper", request=say("two", n=2))["final"]["choices"]
    assert sorted(choice["message"]["content"] for choice in several) == ["a", "b"]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_the_tool_runner_runs_three_rounds(play, gateway, client_key, emulator, model, streamed):
    """The upstream refuses calls without their signature, and no round makes do with a stand-in. This runner sends back
    only what OpenAI's own message has: `extra_content`, and the signature in it, stay behind."""
    seen = play("tools", prompt=PROMPT, model=model, streamed=streamed)
    assert seen["content"] == "All dry."
    assert seen["reasons"] == ["tool_calls", "tool_calls", "tool_calls", "stop"]
    assert sorted(seen["asked"]) == sorted([*CITIES, "time"])
    assert_signatures_came_back(emulator)
    rows = gateway.row(client_key[0], 4)
    assert {(row["status"], row["stream"]) for row in rows} == {(200, streamed)}
    assert sum(row["input_tokens"] for row in rows) == seen["usage"]["prompt_tokens"]
    assert sum(row["output_tokens"] for row in rows) == seen["usage"]["completion_tokens"]


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_rebuilt_calls_find_their_signatures_in_the_store(play, emulator, model, streamed, renamed):
    seen = play("rebuilt", prompt=PROMPT, model=model, streamed=streamed, renamed=renamed)
    assert seen == {"rounds": 3, "content": "All dry."}
    assert_signatures_came_back(emulator)


@pytest.mark.parametrize("scenario", ["parse", "response_parse"])
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_structured_outputs_are_parsed(play, emulator, model, scenario):
    assert play(scenario, model=model) == [True, True]
    configs = [record["body"]["generationConfig"] for record in emulator.requests]
    assert [config["responseMimeType"] for config in configs] == ["application/json"] * 2


def test_headers_tell_the_request_the_cost_and_what_was_ignored(play):
    seen = play("raw", request=say("hi", frequency_penalty=0.5, logit_bias={"1": 1}))
    assert {"ignored:frequency_penalty", "ignored:logit_bias"} <= set(seen["warnings"].split(","))
    assert float(seen["cost"]) > 0
    assert seen["request_id"]
    assert seen["data"]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("helper", [True, False])
@pytest.mark.parametrize(
    "step",
    [{"cut_after": 2}, {"reset_after": 2}, {"error_after": {"chunks": 2, "form": "bare", "status": 503}}],
    ids=str,
)
def test_a_stream_that_breaks_is_an_error_never_an_end(play, gateway, client_key, emulator, step, helper):
    emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 20, **step})
    seen = play("broken", request=say("x"), helper=helper)
    assert "answered" not in seen
    assert seen["kind"] == "APIError"
    assert any(seen["pieces"])
    assert seen["reasons"] == []
    (row,) = gateway.row(client_key[0])
    assert row["cost_nano_usd"] > 0


def test_a_stream_that_its_reader_leaves_is_metered_to_its_end(play, gateway, client_key, emulator):
    emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 200})
    assert play("left", request=say("x"))
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["finish_reason"], row["estimated"]) == (200, "STOP", False)
    assert row["cost_nano_usd"] > 0
    (record,) = emulator.requests
    assert (record["done"], record["disconnected"]) == (True, False)


# responses


def test_a_response(play, gateway, client_key):
    answer = play("response", request={"model": FLASH, "input": "Say hello.", "instructions": "Be brief."})
    assert (answer["status"], answer["model"], answer["instructions"]) == ("completed", FLASH, "Be brief.")
    assert "Say hello." in answer["output_text"]
    (row,) = gateway.row(client_key[0])
    usage = answer["usage"]
    assert_metered(row, "openai_responses", "responses", usage["input_tokens"], usage["output_tokens"])


@pytest.mark.parametrize("scenario", ["response_stream", "response_helper"])
def test_a_streamed_response(play, gateway, client_key, emulator, scenario):
    emulator.script({"text": "one two three four", "chunks": 4, "thoughts": ["Think first."]})
    reasoning = {"effort": "low", "summary": "auto"}
    seen = play(scenario, request={"model": FLASH, "input": "count", "reasoning": reasoning})
    events = seen["events"] if scenario == "response_helper" else seen
    final = seen["final"] if scenario == "response_helper" else events[-1]["response"]
    types = [event["type"] for event in events]
    assert (types[0], types[-1]) == ("response.created", "response.completed")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    pieces = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert (len(pieces), "".join(pieces)) == (4, "one two three four")
    assert [item["type"] for item in final["output"]] == ["reasoning", "message"]
    assert final["output"][0]["summary"][0]["text"].strip() == "Think first."
    assert final["output"][1]["content"][0]["text"] == "one two three four"
    (row,) = gateway.row(client_key[0])
    usage = final["usage"]
    assert_metered(row, "openai_responses", "responses", usage["input_tokens"], usage["output_tokens"], stream=True)


def test_responses_follow_one_another(play, emulator):
    seen = play("response_chain", inputs=["one", "two", "three"])
    words = [part["text"] for turn in emulator.requests[2]["body"]["contents"] for part in turn["parts"]]
    assert words == ["one", "Echo: one", "two", "Echo: two", "three"]
    first, second, third = seen["answers"]
    assert (second["previous_response_id"], third["previous_response_id"]) == (first["id"], second["id"])
    assert seen["kept"]["output"] == third["output"]
    assert [item["content"][0]["text"] for item in seen["items"]] == ["three"]
    assert seen["gone"]["kind"] == "NotFoundError"
    assert (seen["unknown"]["kind"], seen["unknown"]["code"]) == ("BadRequestError", "previous_response_not_found")


@pytest.mark.parametrize(
    "step", [{"cut_after": 2}, {"error_after": {"chunks": 2, "form": "bare", "status": 503}}], ids=str
)
def test_a_streamed_response_that_breaks_has_failed(play, emulator, step):
    emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 20, **step})
    seen = play("response_broken", request={"model": FLASH, "input": "x"})
    types = [event["type"] for event in seen["events"]]
    assert "response.output_text.delta" in types
    assert "response.completed" not in types
    assert types[-1] == "response.failed"
    assert (seen["kept"]["status"], seen["kept"]["error"]["code"]) == ("failed", "server_error")


def test_a_response_in_the_background(play, gateway, client_key):
    seen = play("response_background", request={"model": FLASH, "input": "later"})
    assert (seen["queued"]["status"], seen["queued"]["output"]) == ("queued", [])
    assert (seen["answer"]["status"], seen["answer"]["id"]) == ("completed", seen["queued"]["id"])
    assert seen["answer"]["output_text"] == "Echo: later"
    (row,) = gateway.row(client_key[0])
    assert row["output_tokens"] == seen["answer"]["usage"]["output_tokens"]


def test_a_conversation(play, emulator):
    seen = play("response_conversation", inputs=["one", "two"])
    said = [item["content"][0]["text"] for item in seen["items"] if item["type"] == "message"]
    assert said == ["one", "Echo: one", "two", "Echo: two"]
    assert seen["counted"]["input_tokens"] > 4


@pytest.mark.parametrize("keeping", ["previous response", "all items", "carried items"])
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_a_tool_loop_over_responses(play, emulator, model, keeping):
    seen = play("response_tools", prompt=PROMPT, model=model, keeping=keeping)
    assert (seen["rounds"], seen["text"]) == (3, "All dry.")
    assert seen["asked"] == [*CITIES, "time"]
    assert_signatures_came_back(emulator)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_the_tool_runner_for_responses(play, emulator, model, streamed):
    seen = play("response_runner", prompt=PROMPT, model=model, streamed=streamed)
    assert (seen["status"], seen["text"]) == ("completed", "All dry.")
    assert seen["asked"] == [*CITIES, "time"]
    assert_signatures_came_back(emulator)


# embeddings, images, audio


def test_embeddings_packed_and_plain_are_the_same(play, gateway, client_key):
    seen = play("embeddings", request={"model": "gemini-embedding-2", "input": ["a", "b"], "dimensions": 128})
    assert [len(vector) for vector in seen["packed"]] == [128, 128]
    for packed, plain in zip(seen["packed"], seen["plain"], strict=True):
        assert packed == pytest.approx(plain, abs=1e-7)
        assert math.hypot(*packed) == pytest.approx(1.0, abs=1e-5)
    assert seen["packed"][0] != seen["packed"][1]
    for row in gateway.row(client_key[0], 2):
        assert_metered(row, "openai_media", "embeddings", seen["usage"]["prompt_tokens"], 0)


def sizes(answer):
    return [png_size(base64.b64decode(image["b64_json"])) for image in answer["data"]]


def test_pictures(play, gateway, client_key):
    answer = play("images", request={"model": "gpt-image-1", "prompt": "a red square", "n": 2, "size": "1536x1024"})
    assert sizes(answer) == [(24, 16)] * 2
    (row,) = gateway.row(client_key[0])
    usage = answer["usage"]
    assert_metered(row, "openai_media", "images", usage["input_tokens"], usage["output_tokens"])


def test_a_stream_of_drafts_and_a_picture(play, emulator):
    emulator.script({"image": {"count": 3}})
    events = play("images_stream", request={"model": "gpt-image-1", "prompt": "a cat", "partial_images": 2})
    kinds = [event["type"] for event in events]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event["partial_image_index"] for event in events[:2]] == [0, 1]
    assert png_size(base64.b64decode(events[-1]["b64_json"])) == (16, 16)
    assert events[-1]["usage"]["output_tokens"] > 0


def test_an_edit_of_two_pictures_with_a_mask(play, emulator):
    request = {"model": "gpt-image-1", "prompt": "make it blue"}
    answer = play("images_edit", request=request, image=PICTURE, mask=MASK)
    assert sizes(answer) == [(16, 16)]
    parts = emulator.requests[0]["body"]["contents"][0]["parts"]
    assert [part["inlineData"]["data"] for part in parts[:3]] == [PICTURE, PICTURE, MASK]
    assert "make it blue" in parts[3]["text"]


def test_an_edit_that_streams(play):
    (event,) = play("images_edit_stream", request={"model": "gpt-image-1", "prompt": "blue"}, image=PICTURE)
    assert event["type"] == "image_edit.completed"
    assert png_size(base64.b64decode(event["b64_json"])) == (16, 16)


def test_speech_as_wav(play, gateway, client_key, emulator):
    request = {"model": "tts-1", "voice": "nova", "input": "Hello there.", "response_format": "wav"}
    answer = play("speech", request=request)
    assert answer["type"] == "audio/wav"
    with wave.open(io.BytesIO(base64.b64decode(answer["sound"]))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        assert sound.getnframes() / 24_000 == pytest.approx(0.34, abs=0.01)
    voice = emulator.requests[0]["body"]["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]
    assert voice == {"voiceName": "Leda"}
    (row,) = gateway.row(client_key[0])
    assert (row["endpoint"], row["status"], row["cost_nano_usd"] > 0) == ("audio", 200, True)


def test_a_transcript(play, gateway, client_key, emulator):
    emulator.script({"text": "Hello there."})
    answer = play("transcript", request={"model": "gpt-4o-transcribe", "prompt": "Zoë"}, sound=SOUND)
    assert answer["text"] == "Hello there."
    parts = emulator.requests[0]["body"]["contents"][0]["parts"]
    assert [part["inlineData"]["data"] for part in parts if "inlineData" in part] == [SOUND]
    (row,) = gateway.row(client_key[0])
    usage = answer["usage"]
    assert_metered(row, "openai_media", "audio", usage["input_tokens"], usage["output_tokens"])


def test_a_transcript_that_streams(play, emulator):
    emulator.script({"text": "one two three four", "chunks": 3})
    events = play("transcript_stream", request={"model": "gpt-4o-transcribe"}, sound=SOUND)
    assert [event["type"] for event in events] == ["transcript.text.delta"] * 3 + ["transcript.text.done"]
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"] == "one two three four"


# models, errors, tries


def test_models_are_listed_and_found(play):
    seen = play("models")
    assert {FLASH, ARGON, "gemini-embedding-001"} <= set(seen["ids"])
    assert len(seen["ids"]) == len(set(seen["ids"]))
    assert (seen["one"]["id"], seen["one"]["object"]) == (FLASH, "model")
    assert (seen["missing"]["kind"], seen["missing"]["code"]) == ("NotFoundError", "model_not_found")


def test_refusals_have_the_sdks_classes_codes_and_params(play, gateway, client_key, request):
    narrow = gateway.gwctl("keys", "create", request.node.name, "--endpoints", "embeddings")["key"]
    seen = play("refusals", narrow=narrow)
    assert {name: (one["kind"], one["status"]) for name, one in seen.items()} == {
        "key": ("AuthenticationError", 401),
        "model": ("NotFoundError", 404),
        "part": ("BadRequestError", 400),
        "range": ("BadRequestError", 400),
        "endpoint": ("PermissionDeniedError", 403),
        "size": ("APIError", 413),
        "response": ("BadRequestError", 400),
        "voice": ("BadRequestError", 400),
    }
    assert {name: one["param"] for name, one in seen.items() if one["status"] in (400, 404)} == {
        "model": "model",
        "part": "messages[0].content[0].type",
        "range": "temperature",
        "response": "input",
        "voice": "voice",
    }
    assert (seen["key"]["code"], seen["model"]["code"]) == ("invalid_api_key", "model_not_found")
    assert all(one["request_id"] for one in seen.values())
    assert gateway.rows(client_key[0]) == []


def test_what_the_sdk_tries_again_and_what_not(play, gateway, client_key, emulator):
    emulator.script({"error": 503, "times": 3})
    overloaded = play("retried", request=say("again"), retries=0)
    assert (overloaded["kind"], overloaded["status"]) == ("InternalServerError", 503)
    emulator.reset()
    emulator.script({"error": 503, "times": 9})
    again = play("retried", request=say("again"), retries=1)  # the gateway tried it three times, the SDK once
    assert (again["status"], again["should_retry"], len(emulator.requests)) == (503, "false", 3)
    emulator.reset()
    emulator.script({"error": {"status": 429, "kind": "per-day"}})
    # a model of its own: the credential rests for it
    spent = play("retried", request=say("x", "gemini-3.1-pro-preview-customtools"), retries=2)
    assert (spent["kind"], spent["code"], spent["should_retry"]) == ("RateLimitError", "insufficient_quota", "false")
    assert len(emulator.requests) == 1
    rows = gateway.row(client_key[0], 3)
    assert sorted(row["status"] for row in rows) == [429, 503, 503]
    assert not any(row["cost_nano_usd"] for row in rows)


@pytest.mark.parametrize(("streamed", "model"), [(False, "gemini-3.7-flash"), (True, "gemini-3.8-flash")])
def test_the_sdk_waits_as_long_as_the_upstream_asked(play, emulator, streamed, model):
    emulator.script({"error": {"status": 429, "retry": 1}, "times": 3})
    seen = play("retried", request=say("patience", model), retries=1, streamed=streamed)
    assert seen["answered"]
    assert seen["seconds"] >= 3  # twice in the gateway, once in the SDK
    assert [record["status"] for record in emulator.requests] == [429, 429, 429, 200]


def test_every_way_in(play):
    assert play("entrances", request=say("hello")) == {
        "slash": "stop",
        "google": "stop",
        "organization": "stop",
        "header": "stop",
        "function": "stop",
        "two_keys": 401,
    }
