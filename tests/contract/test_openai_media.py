"""The official Python SDK on embeddings, images and audio, against the running gateway."""

import base64
import io
import json
import math
import struct
import wave
import zlib

import httpx2
import openai
import pytest

from shared.gemini.audio import wav_header
from tests.unit.openai_media.mp3 import mp3_seconds

WAV = wav_header(48_000, 24_000) + bytes(48_000)
SPOKEN = 16_318  # bytes of PCM that the emulated model makes of "Hello there."
FLASH_IMAGE_NANO = 60_000  # a token of a picture of gemini-3.1-flash-image
TIMED = {"language": "German", "segments": [{"start": 0.0, "end": 0.75, "text": "Guten Tag.", "speaker": "A"}]}


@pytest.fixture
def client(gateway, client_key):
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1], max_retries=0) as made:
        yield made


@pytest.fixture
def post(gateway, client_key):
    """Requests that the SDK would not send."""
    with httpx2.Client(base_url=gateway.base_url, headers={"authorization": f"Bearer {client_key[1]}"}) as http:
        yield http.post


def png_size(data: bytes) -> tuple[int, int]:
    """Decodes every chunk and row of an 8-bit RGB PNG."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        chunks[kind] = body
        at += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)
    assert b"IEND" in chunks
    return width, height


def one_row(gateway, client_key, endpoint, stream=False):
    (row,) = gateway.row(client_key[0])
    assert (row["endpoint"], row["dialect"], row["stream"]) == (endpoint, "openai_media", stream)
    return row


# ---------------------------------------------------------------------------------------------------------- embeddings


def test_embeddings_as_the_sdk_asks_by_itself(client, gateway, client_key, emulator):
    answer = client.embeddings.create(model="gemini-embedding-001", input="hello world")
    assert json.loads(json.dumps(emulator.requests[0]["body"]))["requests"][0]["model"] == "models/gemini-embedding-001"
    assert len(answer.data[0].embedding) == 3072
    assert math.hypot(*answer.data[0].embedding) == pytest.approx(1.0, abs=1e-5)
    row = one_row(gateway, client_key, "embeddings")
    assert row["input_tokens"] == answer.usage.prompt_tokens == answer.usage.total_tokens == 3
    assert (row["output_tokens"], row["cost_nano_usd"], row["estimated"], row["status"]) == (0, 3 * 150, False, 200)


def test_base64_and_floats_are_the_same_vectors(client, post):
    floats = client.embeddings.create(model="gemini-embedding-2", input=["a", "b"], encoding_format="float")
    packed = client.embeddings.create(model="gemini-embedding-2", input=["a", "b"])
    for one, other in zip(floats.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
    wire = post("/v1/embeddings", json={"model": "gemini-embedding-2", "input": "a", "encoding_format": "base64"})
    assert len(base64.b64decode(wire.json()["data"][0]["embedding"])) == 4 * 3072
    absent = post("/v1/embeddings", json={"model": "gemini-embedding-2", "input": "a"}).json()
    assert isinstance(absent["data"][0]["embedding"], list)


def test_batches_beyond_a_hundred_come_back_in_order(client, gateway, client_key, emulator):
    texts = [f"text {number}" for number in range(230)]
    answer = client.embeddings.create(model="gemini-embedding-2", input=texts, dimensions=128)
    sent = [record["body"]["requests"] for record in emulator.requests if "batchEmbed" in record["path"]]
    assert sorted(len(batch) for batch in sent) == [30, 100, 100]
    assert [row.index for row in answer.data] == list(range(230))
    for number in (0, 99, 100, 229):
        alone = client.embeddings.create(model="gemini-embedding-2", input=texts[number], dimensions=128)
        assert alone.data[0].embedding == pytest.approx(answer.data[number].embedding, abs=1e-6)
    rows = gateway.row(client_key[0], 5)
    assert sum(row["input_tokens"] == answer.usage.prompt_tokens for row in rows) == 1
    assert all(row["cost_nano_usd"] == row["input_tokens"] * 200 for row in rows)


@pytest.mark.parametrize(
    ("model", "size"),
    [("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072), ("text-embedding-004", 768)],
)
def test_the_names_that_clients_know(client, model, size):
    answer = client.embeddings.create(model=model, input=["a"])
    assert (len(answer.data[0].embedding), answer.model) == (size, model)


def test_a_model_without_usage_is_counted_and_else_estimated(client, gateway, client_key, emulator):
    emulator.script({"error": 503, "match": {"method": "countTokens"}, "times": 3})
    wire = client.embeddings.with_raw_response.create(model="gemini-embedding-001", input="twelve chars")
    assert wire.headers["x-gateway-warnings"] == "estimated:usage"
    assert wire.parse().usage.prompt_tokens == 3
    assert one_row(gateway, client_key, "embeddings")["estimated"] is True


def test_a_thousand_arrays_of_tokens(client):
    answer = client.embeddings.create(model="gemini-embedding-2", input=[[9906, 1917] * 80] * 1000, dimensions=128)
    assert len(answer.data) == 1000


def test_tokens_are_embedded_like_their_text(client):
    texts = client.embeddings.create(model="gemini-embedding-2", input=["Hello world"])
    tokens = client.embeddings.create(model="gemini-embedding-2", input=[[9906, 1917]])
    assert tokens.data[0].embedding == texts.data[0].embedding


@pytest.mark.parametrize("value", [[100_300], "", []])
def test_embeddings_that_are_refused(client, gateway, client_key, value):
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="gemini-embedding-001", input=value)
    assert refused.value.param == "input"


def test_an_upstream_failure_keeps_its_kind_and_pays_nothing(client, gateway, client_key, emulator):
    emulator.script({"error": 400, "match": {"method": "batchEmbedContents"}})
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="gemini-embedding-2", input="a")
    row = one_row(gateway, client_key, "embeddings")
    assert (row["status"], row["cost_nano_usd"]) == (400, 0)


def test_a_busy_upstream_is_asked_again(client, emulator):
    emulator.script({"error": 503, "match": {"method": "batchEmbedContents"}})
    assert client.embeddings.create(model="gemini-embedding-2", input="a").data
    assert [record["status"] for record in emulator.requests] == [503, 200]


# -------------------------------------------------------------------------------------------------------------- images


def test_pictures(client, gateway, client_key, emulator):
    answer = client.images.generate(prompt="a red square", model="gpt-image-1", n=2, size="1536x1024")
    assert [png_size(base64.b64decode(image.b64_json)) for image in answer.data] == [(24, 16)] * 2
    assert (answer.size, answer.output_format, answer.usage.output_tokens) == ("1536x1024", "png", 2 * 1290)
    assert answer.usage.output_tokens_details.image_tokens == 2 * 1290
    assert len(emulator.requests) == 2
    row = one_row(gateway, client_key, "images")
    assert (row["input_tokens"], row["output_tokens"], row["model"]) == (6, 2580, "gemini-3.1-flash-image")
    assert row["cost_nano_usd"] == 6 * 500 + 2580 * FLASH_IMAGE_NANO


def test_a_picture_without_a_model_and_with_an_url_asked_for(client):
    wire = client.images.with_raw_response.generate(prompt="a cat", response_format="url")
    assert wire.headers["x-gateway-warnings"] == "adjusted:response_format=b64_json"
    assert float(wire.headers["x-gateway-cost-usd"]) > 0.07
    assert png_size(base64.b64decode(wire.parse().data[0].b64_json)) == (16, 16)


def test_a_stream_of_drafts_and_a_picture(client, gateway, client_key, emulator):
    emulator.script({"image": {"count": 3}})
    events = list(client.images.generate(prompt="a cat", stream=True, partial_images=2, size="1024x1024"))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert len({event.b64_json for event in events}) == 3
    assert png_size(base64.b64decode(events[-1].b64_json)) == (16, 16)
    row = one_row(gateway, client_key, "images", stream=True)
    assert row["output_tokens"] == events[-1].usage.output_tokens == 3 * 1290
    assert row["input_tokens"] == events[-1].usage.input_tokens


def test_an_edit_of_two_pictures_with_a_mask(client, emulator, gateway, client_key):
    picture = base64.b64decode(client.images.generate(prompt="a cat").data[0].b64_json)
    emulator.reset()
    files = [("a.png", picture), ("b.png", picture)]
    answer = client.images.edit(image=files, mask=("m.png", picture), prompt="make it blue", model="dall-e-2", n=1)
    assert png_size(base64.b64decode(answer.data[0].b64_json)) == (16, 16)
    parts = emulator.requests[0]["body"]["contents"][0]["parts"]
    assert [base64.b64decode(part["inlineData"]["data"]) == picture for part in parts[:3]] == [True] * 3
    assert "make it blue" in parts[3]["text"]
    assert answer.usage.input_tokens_details.image_tokens == 3 * 258
    edit = gateway.row(client_key[0], 2)
    assert {row["endpoint"] for row in edit} == {"images"}


def test_an_edit_that_streams_and_a_variation(client):
    picture = base64.b64decode(client.images.generate(prompt="a cat").data[0].b64_json)
    events = list(client.images.edit(image=picture, prompt="blue", stream=True))
    assert [event.type for event in events] == ["image_edit.completed"]
    with pytest.warns(DeprecationWarning):
        varied = client.images.create_variation(image=picture, n=2)
    assert len(varied.data) == 2


def test_what_succeeds_is_answered(client, gateway, client_key, emulator):
    emulator.script({"finish": "IMAGE_SAFETY"})
    wire = client.images.with_raw_response.generate(prompt="two cats", n=2)
    assert len(wire.parse().data) == 1
    assert wire.headers["x-gateway-warnings"] == "incomplete:1/2"
    assert one_row(gateway, client_key, "images")["status"] == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"finish": "IMAGE_SAFETY"}, "moderation_blocked"),
        ({"block": "PROHIBITED_CONTENT"}, "moderation_blocked"),
        ({"text": "I would rather not."}, "image_generation_user_error"),
        ({"finish": "NO_IMAGE", "times": 2}, "image_generation_user_error"),
    ],
)
def test_no_picture_is_a_400_with_its_code(client, gateway, client_key, emulator, step, code, stream):
    emulator.script(step)
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a cat", stream=stream)
    assert (refused.value.code, refused.value.type) == (code, "image_generation_user_error")
    if "text" in step:
        assert "I would rather not." in refused.value.message
    assert one_row(gateway, client_key, "images", stream)["status"] == 400


def test_one_failure_of_two_leaves_a_stream_whole(client, gateway, client_key, emulator):
    emulator.script({"error": 400})
    events = list(client.images.generate(prompt="two cats", n=2, stream=True))
    assert [event.type for event in events] == ["image_generation.completed"]
    assert one_row(gateway, client_key, "images", stream=True)["output_tokens"] == 1290


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_failure_of_all_keeps_its_kind(client, emulator, stream):
    emulator.script({"error": {"status": 429, "kind": "per-day"}, "times": 9})
    with pytest.raises(openai.RateLimitError) as refused:
        client.images.generate(prompt="two cats", n=2, stream=stream)
    assert refused.value.code == "insufficient_quota"


def test_a_budget_below_a_picture_is_not_spent(gateway, request, emulator):
    made = gateway.gwctl("keys", "create", request.node.name, "--budget-usd", "0.05")
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=made["key"], max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(prompt="a cat")
        assert refused.value.code == "insufficient_quota"
        assert client.embeddings.create(model="gemini-embedding-2", input="a cat").data
    assert [record["path"].rpartition(":")[2] for record in emulator.requests] == ["batchEmbedContents"]


def test_images_without_a_picture_to_edit(post):
    answer = post("/v1/images/edits", json={"prompt": "blue"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")
    wrong = post("/v1/images/generations", json={"prompt": "x", "output_format": "webp"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "output_format")


# -------------------------------------------------------------------------------------------------------------- speech


def test_speech_as_wav(client, gateway, client_key, emulator):
    answer = client.audio.speech.create(model="tts-1", voice="nova", input="Hello there.", response_format="wav")
    assert answer.response.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        assert sound.getnframes() / 24_000 == pytest.approx(0.34, abs=0.01)
    voice = emulator.requests[0]["body"]["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]
    assert voice == {"voiceName": "Leda"}
    row = one_row(gateway, client_key, "audio")
    assert (row["input_tokens"], row["model"]) == (3, "gemini-3.8-flash-tts")
    assert row["cost_nano_usd"] == 3 * 500 + row["output_tokens"] * 9_000 > 0


def test_speech_as_mp3_and_by_default(client):
    pytest.importorskip("lameenc")
    for wanted in ({"response_format": "mp3"}, {}):
        answer = client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Hello there.", **wanted)
        assert answer.response.headers["content-type"] == "audio/mpeg"
        assert mp3_seconds(answer.content) == pytest.approx(0.34, abs=0.15)


def test_raw_speech_streams_to_the_caller(client):
    with client.audio.speech.with_streaming_response.create(
        model="gemini-3.8-flash-tts", voice="Puck", input="Hello there.", response_format="pcm"
    ) as answer:
        pcm = b"".join(answer.iter_bytes())
    assert answer.headers["content-type"] == "audio/pcm"
    assert len(pcm) == SPOKEN


def test_speech_of_a_model_that_streams(client, gateway, client_key, emulator):
    emulator.set_state("gemini-3.1-flash-tts-preview", "alive")
    answer = client.audio.speech.create(
        model="gemini-3.1-flash-tts-preview", voice="alloy", input="Hello there.", response_format="wav"
    )
    assert "streamGenerateContent" in emulator.requests[0]["path"]
    assert answer.content[:4] == b"RIFF"
    assert "content-length" not in answer.response.headers
    assert len(answer.content) == 44 + SPOKEN
    assert one_row(gateway, client_key, "audio", stream=True)["status"] == 200


def test_a_stream_of_sound_that_breaks_is_not_whole(client, gateway, client_key, emulator):
    emulator.set_state("gemini-3.1-flash-tts-preview", "alive")
    emulator.script({"audio": True, "error_after": {"chunks": 1, "form": "data", "status": 503}})
    with pytest.raises(Exception, match=r"peer closed|incomplete|Connection"):
        client.audio.speech.create(
            model="gemini-3.1-flash-tts-preview", voice="alloy", input="Hello there.", response_format="pcm"
        )
    row = one_row(gateway, client_key, "audio", stream=True)
    assert row["finish_reason"] == "upstream_interrupted"


def test_speech_as_events(client, gateway, client_key):
    answer = client.audio.speech.create(
        model="tts-1", voice="alloy", input="Hello there.", response_format="pcm", stream_format="sse"
    )
    assert answer.response.headers["content-type"].startswith("text/event-stream")
    rows = [json.loads(line.removeprefix("data: ")) for line in answer.content.decode().strip().split("\n\n")]
    assert {row["type"] for row in rows[:-1]} == {"speech.audio.delta"}
    assert len(b"".join(base64.b64decode(row["audio"]) for row in rows[:-1])) == SPOKEN
    row = one_row(gateway, client_key, "audio", stream=True)
    assert rows[-1]["usage"] == {
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "total_tokens": row["input_tokens"] + row["output_tokens"],
    }


def test_events_of_sound_that_break_end_with_an_error(client, emulator):
    emulator.set_state("gemini-3.1-flash-tts-preview", "alive")
    emulator.script({"audio": True, "error_after": {"chunks": 1, "form": "data", "status": 503}})
    answer = client.audio.speech.create(
        model="gemini-3.1-flash-tts-preview",
        voice="alloy",
        input="Hello there.",
        response_format="pcm",
        stream_format="sse",
    )
    rows = [json.loads(line.removeprefix("data: ")) for line in answer.content.decode().strip().split("\n\n")]
    assert rows[0]["type"] == "speech.audio.delta"
    assert rows[-1]["error"]["code"] == "stream_interrupted"


@pytest.mark.parametrize(
    ("more", "param"), [({"response_format": "opus"}, "response_format"), ({"voice": "nobody"}, "voice")]
)
def test_speech_that_is_refused(client, more, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": "x"} | more)
    assert refused.value.param == param


# ------------------------------------------------------------------------------------------------------- transcription


def test_a_transcript(client, gateway, client_key, emulator):
    emulator.script({"text": "Hello there."})
    answer = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.wav", WAV), prompt="Zoë")
    assert answer.text == "Hello there."
    sent = emulator.requests[0]["body"]["contents"][0]["parts"]
    assert base64.b64decode(sent[1]["inlineData"]["data"]) == WAV
    assert (answer.usage.type, answer.usage.input_token_details.audio_tokens) == ("tokens", 48)
    row = one_row(gateway, client_key, "audio")
    assert row["input_tokens"] == answer.usage.input_tokens
    assert row["output_tokens"] == answer.usage.output_tokens


def test_a_repeated_form_is_billed_once(client, gateway, client_key, emulator):
    """Every try of a client draws another boundary."""

    def ask(prompt="same"):
        named = {"idempotency-key": "recording-7"}
        transcriptions = client.audio.transcriptions
        return transcriptions.create(model="whisper-1", file=("a.wav", WAV), prompt=prompt, extra_headers=named)

    ask()
    with pytest.raises(openai.ConflictError) as repeated:
        ask()
    assert repeated.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.UnprocessableEntityError):
        ask(prompt="another")
    assert len(emulator.requests) == 1
    one_row(gateway, client_key, "audio")


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ("text", "Hello there.\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:00,750\nGuten Tag.\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.750\nGuten Tag.\n\n"),
    ],
)
def test_transcripts_as_text(client, emulator, wanted, answer):
    emulator.script({"text": "Hello there."} if wanted == "text" else {"json": TIMED})
    wire = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=("a.wav", WAV), response_format=wanted
    )
    assert wire.headers["content-type"] == "text/plain; charset=utf-8"
    assert wire.parse() == answer


def test_transcripts_with_times_and_speakers(client, emulator):
    emulator.script({"json": TIMED}, {"json": TIMED})
    verbose = client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", WAV), response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert (verbose.language, verbose.duration, verbose.text) == ("german", 1.0, "Guten Tag.")
    assert [(row.id, row.start, row.end, row.text) for row in verbose.segments] == [(0, 0.0, 0.75, "Guten Tag.")]
    speakers = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("a.wav", WAV),
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    assert [(row.speaker, row.text) for row in speakers.segments] == [("A", "Guten Tag.")]


def test_a_transcript_that_streams(client, gateway, client_key, emulator):
    emulator.script({"text": "one two three four", "chunks": 3})
    events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.wav", WAV), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 3 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == "one two three four"
    row = one_row(gateway, client_key, "audio", stream=True)
    assert row["output_tokens"] == events[-1].usage.output_tokens


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's word for this endpoint
def test_translations(client, emulator):
    emulator.script({"text": "Good day."}, {"json": TIMED})
    answer = client.audio.translations.create(model="whisper-1", file=("a.wav", WAV))
    assert answer.text == "Good day."
    assert "English" in emulator.requests[0]["body"]["contents"][0]["parts"][0]["text"]
    verbose = client.audio.translations.create(model="whisper-1", file=("a.wav", WAV), response_format="verbose_json")
    assert (verbose.language, verbose.text) == ("english", "Guten Tag.")


def test_a_transcript_that_the_upstream_blocks_or_botches(client, emulator):
    emulator.script({"finish": "SAFETY"}, {"text": "no JSON"})
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", WAV))
    assert refused.value.code == "content_filter"
    with pytest.raises(openai.InternalServerError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", WAV), response_format="srt")
    assert refused.value.code == "malformed_transcript"


# ---------------------------------------------------------------------------------------------------- forms and routes


def test_broken_forms_are_400_in_openais_shape(post):
    for content_type, body in (
        ("multipart/form-data", b""),
        (f"multipart/form-data; boundary={'x' * 71}", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" * 129 + b"--x--",
        ),
    ):
        answer = post("/v1/audio/transcriptions", content=body, headers={"content-type": content_type})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_other_kinds_of_body_are_415_and_large_ones_413(post):
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/variations"):
        for body in ({"json": {}}, {"json": {"model": "whisper-1"}}, {"data": {"model": "whisper-1"}}):
            answer = post(path, **body)  # `data` alone is a form of the other kind, which was told to be JSON
            assert answer.status_code == 415
            assert "must be multipart/form-data" in answer.json()["error"]["message"]
    files = {"file": ("a.wav", WAV + bytes(6_000_000))}
    large = post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files=files)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "path",
    ["embeddings", "images/generations", "images/edits", "images/variations", "audio/speech", "audio/transcriptions"],
)
def test_every_path_asks_for_a_key_and_for_post(gateway, path):
    with httpx2.Client(base_url=gateway.base_url) as http:
        missing = http.post(f"/v1/{path}", json={})
        assert (missing.status_code, missing.json()["error"]["code"]) == (401, "invalid_api_key")
        wrong = http.get(f"/v1/{path}")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["embeddings", "audio/speech"])
def test_a_body_without_a_model(post, path):
    answer = post(f"/v1/{path}", json={"input": "x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


def test_an_unknown_model_is_404(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.embeddings.create(model="nonexistent", input="x")
    assert refused.value.code == "model_not_found"


def test_a_key_without_the_endpoint_is_403(gateway, request):
    made = gateway.gwctl("keys", "create", request.node.name, "--endpoints", "embeddings")
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=made["key"], max_retries=0) as client:
        assert client.embeddings.create(model="gemini-embedding-2", input="x").data
        with pytest.raises(openai.PermissionDeniedError):
            client.images.generate(prompt="x")


def test_googles_compatibility_prefix(gateway, client_key):
    base_url = f"{gateway.base_url}/v1beta/openai/"
    with openai.OpenAI(base_url=base_url, api_key=client_key[1], max_retries=0) as client:
        assert client.embeddings.create(model="gemini-embedding-001", input="x").data
        assert client.images.generate(model="gemini-2.5-flash-image", prompt="x").data
