"""Google's own JavaScript SDK, unmodified but for its base URL, against the running gateway; its side of each test is a
scenario in tests/clients/google-genai."""

import base64

import pytest

from tests.clients.installation import installed

FLASH = "gemini-3.8-flash"


@pytest.fixture(scope="session")
def scenarios():
    return ["node", installed("google-genai") / "scenarios.mjs"]


def say(contents, model=FLASH, **config):
    return {"model": model, "contents": contents} | ({"config": config} if config else {})


def tokens(usage):
    return usage["promptTokenCount"], usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)


def metered(row):
    return row["input_tokens"], row["output_tokens"]


def test_generate(play, gateway, client_key):
    answer = play("generate", request=say("Say hello to the gateway.", systemInstruction="Be brief.", temperature=0.5))
    assert "Say hello to the gateway." in answer["text"]
    assert answer["finish"] == "STOP"
    (row,) = gateway.row(client_key[0])
    assert metered(row) == tokens(answer["usage"])
    assert (row["dialect"], row["endpoint"], row["model_version"]) == ("gemini_native", "native", answer["version"])
    assert row["cost_nano_usd"] == row["input_tokens"] * 750 + row["output_tokens"] * 3750


def test_stream(play, gateway, client_key, emulator):
    emulator.script({"text": "one two three four five six", "chunks": 4})
    answer = play("stream", request=say("count"))
    assert (answer["text"], answer["finish"]) == ("one two three four five six", "STOP")
    assert answer["chunks"] >= 4
    (row,) = gateway.row(client_key[0])
    assert metered(row) == tokens(answer["usage"])
    assert row["stream"] is True


@pytest.mark.parametrize("streamed", [True, False])
def test_a_chat_calls_functions(play, gateway, client_key, emulator, streamed):
    """The upstream refuses a 3.x conversation whose calls came back without their signatures."""
    calls = [{"name": "get_weather", "args": {"city": city}} for city in ("Oslo", "Rome")]
    emulator.script({"call": calls, "thoughts": "Hm."}, {"text": "It is sunny."}, {"text": "You are welcome."})
    seen = play("chat", model=FLASH, prompt="How is the weather?", streamed=streamed)
    assert seen["asked"] == ["Oslo", "Rome"]
    assert (seen["text"], seen["thanks"]) == ("It is sunny.", "You are welcome.")
    assert streamed or seen["history"] == 6  # a stream is kept chunk by chunk
    parts = [part for content in emulator.requests[-1]["body"]["contents"] for part in content["parts"]]
    sent = [part for part in parts if "functionCall" in part]
    assert [part["functionCall"]["args"]["city"] for part in sent] == ["Oslo", "Rome"]
    assert sent[0]["thoughtSignature"] and all(part["functionCall"]["id"] for part in sent)
    assert len(gateway.row(client_key[0], number=3)) == 3


def test_a_tool_of_the_sdk_is_called_by_itself(play, emulator):
    emulator.script({"call": {"name": "get_weather", "args": {"city": "Oslo"}}}, {"text": "It is sunny."})
    assert play("automatic", model=FLASH, prompt="Weather?") == {"asked": ["Oslo"], "text": "It is sunny."}
    assert len(emulator.requests) == 2


def test_embed(play, gateway, client_key):
    sizes = play("embed", model="gemini-embedding-001", contents=["a", "b", "c"], size=8)
    assert sizes == [8, 8, 8]
    (row,) = gateway.row(client_key[0])
    assert row["input_tokens"] > 0
    assert row["cost_nano_usd"] == row["input_tokens"] * 150


def test_more_embeddings_than_one_batch_takes(play, gateway, client_key, emulator):
    texts = [f"text number {number}" for number in range(130)]
    assert play("embed", model="gemini-embedding-001", contents=texts, size=8) == [8] * 130
    batches = [call for call in emulator.requests if call["path"].endswith(":batchEmbedContents")]
    assert sorted(len(call["body"]["requests"]) for call in batches) == [30, 100]
    (row,) = gateway.row(client_key[0])
    assert row["input_tokens"] >= 130


def test_count_tokens(play, gateway, client_key):
    assert play("count", request=say("How many?")) > 0
    assert gateway.rows(client_key[0]) == []


def test_image(play, gateway, client_key):
    picture = play("image", model="gemini-3.1-flash-image", prompt="a cat")
    assert picture["type"] == "image/png"
    assert base64.b64decode(picture["data"]).startswith(b"\x89PNG")
    (row,) = gateway.row(client_key[0])
    assert metered(row) == tokens(picture["usage"])


def test_speech(play, gateway, client_key):
    sound = play("speech", model="gemini-3.8-flash-tts", prompt="Say hi", voice="Kore")
    assert sound["type"].startswith("audio/L16")
    assert sound["bytes"] > 1000
    (row,) = gateway.row(client_key[0])
    assert metered(row) == tokens(sound["usage"])


def test_files(play, gateway):
    stranger = gateway.gwctl("keys", "create", "stranger-of-files")["key"]
    seen = play("files", model=FLASH, text="The answer is 42.", stranger=stranger)
    assert (seen["file"]["display"], seen["file"]["size"]) == ("notes", "17")
    assert seen["listed"] == [seen["file"]["name"]]
    assert seen["text"]
    assert seen["same"] is True
    assert (seen["theirs"], seen["gone"]) == (404, 404)


def test_models(play):
    names = play("models")
    assert f"models/{FLASH}" in names
    assert len(names) == len(set(names)) > 5


def test_refusals_are_the_sdks_own(play, gateway, client_key):
    seen = play("refusals", model=FLASH)
    assert (seen["key"]["kind"], seen["key"]["status"]) == ("ApiError", 401)
    assert seen["key"]["error"]["status"] == "UNAUTHENTICATED"
    assert (seen["model"]["status"], seen["model"]["error"]["status"]) == (404, "NOT_FOUND")
    assert gateway.rows(client_key[0]) == []


def test_trouble_of_the_upstream_is_told(play, emulator):
    emulator.script({"error": 503, "times": 3})
    seen = play("refused", request=say("x"))
    assert (seen["status"], seen["error"]["status"]) == (503, "UNAVAILABLE")


@pytest.mark.parametrize("pace_ms", [0, 100])
def test_a_stream_that_breaks_is_an_error(play, gateway, client_key, emulator, pace_ms):
    """Whether the error arrives together with a chunk or alone."""
    fault = {"error_after": {"chunks": 2, "status": 503}, "pace_ms": pace_ms}
    emulator.script({"text": "a b c d", "chunks": 4, **fault})
    seen = play("broken", request=say("x"))
    assert "answered" not in seen
    assert seen["status"] == 503
    (row,) = gateway.row(client_key[0])
    assert row["cost_nano_usd"] > 0
