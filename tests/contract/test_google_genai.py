"""Google's own Python SDK, unmodified but for its base URL, against the running gateway."""

import base64
import json

import pytest
import websockets
from google import genai
from google.genai import errors, types

FLASH = "gemini-3.8-flash"


@pytest.fixture
def client(gateway, client_key):
    options = types.HttpOptions(base_url=gateway.base_url)
    with genai.Client(api_key=client_key[1], http_options=options) as made:
        yield made


def directive(**keys):
    return "@emulator " + json.dumps(keys)


def tokens(usage):
    return usage.prompt_token_count, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)


def test_generate(client, gateway, client_key):
    answer = client.models.generate_content(model=FLASH, contents="Say hello to the gateway.")
    assert "Say hello to the gateway." in answer.text
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == tokens(answer.usage_metadata)
    assert (row["dialect"], row["endpoint"], row["model_version"]) == ("gemini_native", "native", answer.model_version)
    assert row["cost_nano_usd"] == row["input_tokens"] * 750 + row["output_tokens"] * 3750


def test_stream(client, gateway, client_key, emulator):
    emulator.script({"text": "one two three four five six", "chunks": 4})
    chunks = list(client.models.generate_content_stream(model=FLASH, contents="count"))
    assert "".join(chunk.text or "" for chunk in chunks) == "one two three four five six"
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == tokens(chunks[-1].usage_metadata)
    assert row["stream"] is True


async def test_stream_asynchronously(client):
    async with client.aio as session:
        stream = await session.models.generate_content_stream(model=FLASH, contents="hello again")
        text = "".join([chunk.text or "" async for chunk in stream])
    assert "hello again" in text


def test_chat_calls_a_function_by_itself(client, emulator):
    called = []

    def get_weather(city: str) -> str:
        """The weather of a city."""
        called.append(city)
        return "sunny"

    chat = client.chats.create(model=FLASH, config=types.GenerateContentConfig(tools=[get_weather]))
    emulator.script({"call": {"name": "get_weather", "args": {"city": "Oslo"}}}, {"text": "It is sunny."})
    assert chat.send_message("How is the weather in Oslo?").text == "It is sunny."
    assert called == ["Oslo"]
    emulator.script({"text": "You are welcome."})
    assert chat.send_message("Thanks").text == "You are welcome."
    call = next(p for c in emulator.requests[-1]["body"]["contents"] for p in c["parts"] if "functionCall" in p)
    assert call["thoughtSignature"] and call["functionCall"]["id"]


def test_streamed_chat_calls_functions_in_parallel(client, emulator):
    def lookup(name: str) -> dict[str, str]:
        """Look a name up."""
        return {"found": name}

    calls = [{"name": "lookup", "args": {"name": "a"}}, {"name": "lookup", "args": {"name": "b"}}]
    emulator.script({"call": calls}, {"text": "both"})
    chat = client.chats.create(model=FLASH, config=types.GenerateContentConfig(tools=[lookup]))
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("go")) == "both"
    results = [p for p in emulator.requests[-1]["body"]["contents"][-1]["parts"] if "functionResponse" in p]
    assert [result["functionResponse"]["response"]["result"]["found"] for result in results] == ["a", "b"]


def test_json_by_schema(client):
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    )
    assert isinstance(client.models.generate_content(model=FLASH, contents="a number", config=config).parsed["n"], int)


def test_embed(client, gateway, client_key):
    answer = client.models.embed_content(
        model="gemini-embedding-2", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=8)
    )
    assert [len(embedding.values) for embedding in answer.embeddings] == [8] * len(answer.embeddings)
    (row,) = gateway.row(client_key[0])
    assert row["input_tokens"] > 0 and row["cost_nano_usd"] == row["input_tokens"] * 200


def test_count_tokens(client):
    assert client.models.count_tokens(model=FLASH, contents="How many?").total_tokens > 0


def test_image(client, gateway, client_key):
    answer = client.models.generate_content(model="gemini-3.1-flash-image", contents="a cat")
    (picture,) = [part.inline_data for part in answer.candidates[0].content.parts if part.inline_data]
    assert picture.data.startswith(b"\x89PNG")
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == tokens(answer.usage_metadata)


def test_speech_of_two_speakers(client, gateway, client_key):
    def voice(speaker, name):
        config = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=name))
        return types.SpeakerVoiceConfig(speaker=speaker, voice_config=config)

    speakers = types.MultiSpeakerVoiceConfig(speaker_voice_configs=[voice("Joe", "Charon"), voice("Jane", "Kore")])
    config = types.GenerateContentConfig(
        response_modalities=["AUDIO"], speech_config=types.SpeechConfig(multi_speaker_voice_config=speakers)
    )
    answer = client.models.generate_content(model="gemini-3.8-flash-tts", contents="Joe: hi\nJane: hi", config=config)
    sound = answer.candidates[0].content.parts[0].inline_data
    assert sound.mime_type.startswith("audio/L16") and len(sound.data) > 1000
    (row,) = gateway.row(client_key[0])
    assert row["output_tokens"] == answer.usage_metadata.candidates_token_count


def test_files(client, gateway, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("The answer is 42.")
    file = client.files.upload(file=path, config=types.UploadFileConfig(display_name="notes"))
    assert (file.display_name, file.state) == ("notes", types.FileState.ACTIVE)
    assert client.files.get(name=file.name).uri == file.uri
    assert [listed.name for listed in client.files.list()] == [file.name]
    assert client.models.generate_content(model=FLASH, contents=["What is it?", file]).text
    stranger = gateway.gwctl("keys", "create", "stranger")["key"]
    with genai.Client(api_key=stranger, http_options=types.HttpOptions(base_url=gateway.base_url)) as other:
        with pytest.raises(errors.ClientError, match="404"):
            other.files.get(name=file.name)
        assert list(other.files.list()) == []
    client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError, match="404"):
        client.files.get(name=file.name)


def test_caches(client):
    cache = client.caches.create(
        model="gemini-3.5-flash-lite", config=types.CreateCachedContentConfig(contents=["a long text"], ttl="300s")
    )
    config = types.GenerateContentConfig(cached_content=cache.name)
    answer = client.models.generate_content(model="gemini-3.5-flash-lite", contents="q", config=config)
    assert answer.usage_metadata.cached_content_token_count == 4096
    client.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="600s"))
    assert cache.name in [listed.name for listed in client.caches.list()]
    client.caches.delete(name=cache.name)


def test_models(client):
    names = [model.name for model in client.models.list(config={"page_size": 5})]
    assert f"models/{FLASH}" in names and len(names) > 5
    assert client.models.get(model=FLASH).input_token_limit == 1_048_576


@pytest.mark.parametrize(
    ("status", "kind", "model"),
    [
        (400, errors.ClientError, FLASH),
        # a model of its own: a credential at its quota rests for this model
        (429, errors.ClientError, "gemini-3.1-flash-lite"),
        (503, errors.ServerError, FLASH),
    ],
)
def test_errors_are_the_sdks_own(client, emulator, status, kind, model):
    emulator.script({"error": {"status": status, "kind": "per-day" if status == 429 else ""}, "times": 3})
    with pytest.raises(kind) as caught:
        client.models.generate_content(model=model, contents="hello")
    assert caught.value.code == status


def test_an_error_in_mid_stream_is_raised(client, emulator):
    emulator.script({"text": "a b c d", "chunks": 4, "error_after": {"chunks": 2, "status": 503}})
    seen = []
    with pytest.raises(errors.APIError) as caught:
        seen.extend(client.models.generate_content_stream(model=FLASH, contents="hello"))
    assert caught.value.code == 503


def test_a_wrong_key_is_unauthenticated(gateway):
    options = types.HttpOptions(base_url=gateway.base_url)
    with genai.Client(api_key="wrong", http_options=options) as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=FLASH, contents="hello")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_a_long_decode_comes_whole(client, gateway, client_key, emulator):
    """The SDK follows the hops of a stream itself: each is a request, and a row, of its own."""
    hops = {"continuation": {"hops": 2, "token": "new"}, "text": "one two three four", "times": 4}
    emulator.script(hops)
    chunks = list(client.models.generate_content_stream(model="gemini-4-argon", contents="long"))
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert len(emulator.requests) == 2
    gateway.row(client_key[0], number=2)


def test_inline_media(client, emulator):
    picture = types.Part.from_bytes(data=base64.b64decode("iVBORw0KGgo="), mime_type="image/png")
    client.models.generate_content(model=FLASH, contents=["What is this?", picture])
    sent = emulator.requests[-1]["body"]["contents"][0]["parts"][1]["inlineData"]
    assert sent["mimeType"] == "image/png"
    assert base64.b64decode(sent["data"], altchars=b"-_") == b"\x89PNG\r\n\x1a\n"


def test_candidates(client, gateway, client_key, emulator):
    emulator.script({"text": "one"}, {"text": "two"})
    config = types.GenerateContentConfig(candidate_count=2)
    answer = client.models.generate_content(model=FLASH, contents="twice", config=config)
    assert [candidate.index for candidate in answer.candidates] == [0, 1]
    assert sorted(candidate.content.parts[0].text for candidate in answer.candidates) == ["one", "two"]
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == tokens(answer.usage_metadata)


def test_an_empty_answer_is_asked_for_again(client, gateway, client_key, emulator):
    emulator.script({"empty": "no_parts"}, {"text": "here I am", "chunks": 2})
    chunks = list(client.models.generate_content_stream(model=FLASH, contents="hello"))
    assert "".join(chunk.text or "" for chunk in chunks) == "here I am"
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == tokens(chunks[-1].usage_metadata)


async def test_live_is_refused_as_the_handshake_goes(gateway, client_key):
    """The path of the SDK's live sessions, which it opens by TLS only."""
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    headers = {"x-goog-api-key": client_key[1]}
    address = gateway.base_url.replace("http", "ws") + path
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(address, additional_headers=headers, proxy=None)
    refusal = caught.value.response
    assert (refusal.status_code, json.loads(refusal.body)["error"]["status"]) == (501, "UNIMPLEMENTED")
