"""Speech requests and the sound that comes back."""

import base64
import importlib.util
import io
import json
import wave

import pytest

from shared.dialects.openai_media.sound import Wav, encoder, formats
from shared.dialects.openai_media.speech import Speaker, delta_frames, done_frame, parse
from shared.errors import GatewayError
from shared.events import End, Media, Start
from tests.unit.openai_media.mp3 import mp3_seconds
from tests.unit.openai_media.requests import USAGE, context, said

TTS = "gemini-3.8-flash-tts"
PCM = bytes(range(256)) * 188  # about a second
MIME = "audio/L16;codec=pcm;rate=24000"

needs_lame = pytest.mark.skipif(importlib.util.find_spec("lameenc") is None, reason="the MP3 encoder is optional")


def job(**body):
    return parse({"input": "Hello.", "voice": "alloy", **body}, context(TTS))


def test_the_request():
    made = job(instructions="Say cheerfully", voice="nova", response_format="wav")
    assert made.request == {
        "contents": [{"role": "user", "parts": [{"text": "Say cheerfully: Hello."}]}],
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Leda"}}},
        },
    }
    assert (made.format, made.media_type, made.events) == ("wav", "audio/wav", False)


@pytest.mark.parametrize(
    "speakers",
    [{"Ann": "alloy", "Bob": "Puck"}, [{"speaker": "Ann", "voice": "alloy"}, {"speaker": "Bob", "voice": "Puck"}]],
)
def test_two_speakers(speakers):
    config = job(multi_speaker=speakers, voice=None).request["generationConfig"]["speechConfig"]
    assert [
        (row["speaker"], row["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"])
        for row in config["multiSpeakerVoiceConfig"]["speakerVoiceConfigs"]
    ] == [("Ann", "Kore"), ("Bob", "Puck")]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": " "}, "input"),
        ({"input": None}, "input"),
        ({"voice": "nobody"}, "voice"),
        ({"voice": {"id": "nobody"}}, "voice.id"),
        ({"response_format": "opus"}, "response_format"),
        ({"response_format": "aac"}, "response_format"),
        ({"response_format": "flac"}, "response_format"),
        ({"stream_format": "tape"}, "stream_format"),
        ({"speed": 9}, "speed"),
        ({"multi_speaker": {"Ann": "alloy"}}, "multi_speaker"),
    ],
)
def test_refusals_name_the_parameter(body, param):
    with pytest.raises(GatewayError) as refused:
        job(**body)
    assert refused.value.param == param


def test_an_unsupported_format_is_told_the_supported_ones():
    with pytest.raises(GatewayError) as refused:
        job(response_format="opus")
    assert all(name in refused.value.message for name in formats())


def test_a_model_that_does_not_speak():
    with pytest.raises(GatewayError, match="does not speak"):
        parse({"input": "x"}, context("gemini-3.8-flash"))


@pytest.mark.parametrize(("words", "seconds"), [("你好世界" * 500, 2_000 / 4), ("hello world " * 200, 400 / 2)])
def test_the_bound_is_longer_than_the_speech(words, seconds):
    """Chinese has some four or five signs a second, English two or three words."""
    assert 25 * seconds < job(input=words).tokens < 75 * seconds


def test_speed_is_ignored_and_named():
    assert job(speed=1.5).warnings == ("ignored:speed",)
    assert job(speed=1).warnings == ()


def test_without_the_encoder_the_default_is_wav(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert job().format == "wav"
    with pytest.raises(GatewayError, match="wav, pcm"):
        job(response_format="mp3")


def spoken(made, *pieces, whole=False):
    speaker = Speaker(made, whole=whole)
    events = [Start("r", "m"), *(Media(0, MIME, base64.b64encode(piece).decode()) for piece in pieces)]
    out = [speaker.feed(event) for event in [*events, End("stop", "STOP", USAGE)]]
    return b"".join([*out, speaker.close()])


def test_raw_sound_passes():
    assert spoken(job(response_format="pcm"), PCM[:100], PCM[100:]) == PCM


@pytest.mark.parametrize("pieces", [[PCM], [PCM[:1000], PCM[1000:]]])
def test_a_whole_wav_tells_its_length(pieces):
    with wave.open(io.BytesIO(spoken(job(response_format="wav"), *pieces, whole=True))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        assert sound.readframes(sound.getnframes()) == PCM


def test_a_wav_that_streams_leaves_its_length_open():
    data = spoken(job(response_format="wav"), PCM[:1000], PCM[1000:])
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"
    assert data[44:] == PCM
    assert Wav(24_000, whole=False).close()[:4] == b"RIFF"


@needs_lame
def test_an_mp3_plays_as_long_as_its_sound_however_it_is_cut():
    whole = spoken(job(response_format="mp3"), PCM)
    assert job().format == "mp3"
    assert mp3_seconds(whole) == pytest.approx(len(PCM) / 48_000, abs=0.15)
    assert spoken(job(response_format="mp3"), *(PCM[at : at + 777] for at in range(0, len(PCM), 777))) == whole


def test_the_rate_is_the_upstreams():
    speaker = Speaker(job(response_format="wav"), whole=True)
    data = speaker.feed(Media(0, "audio/L16;codec=pcm;rate=16000", base64.b64encode(PCM).decode()))
    with wave.open(io.BytesIO(data + speaker.close())) as sound:
        assert sound.getframerate() == 16_000


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (said(finish="blocked", reason="SAFETY"), "content_blocked"),
        (said(finish="no_output", reason="OTHER"), "upstream_fault"),
        ([Media(0, "audio/ogg", "AAAA")], "upstream_invalid_response"),
        ([Media(0, MIME, "AAAA"), End("blocked", "SAFETY", USAGE)], "content_blocked"),
    ],
)
def test_silence_is_an_error(events, kind):
    speaker = Speaker(job(), whole=True)
    with pytest.raises(GatewayError) as refused:
        for event in events:
            speaker.feed(event)
    assert refused.value.kind == kind


def test_sound_as_events():
    lines = (delta_frames(PCM) + done_frame(USAGE)).decode().split("\n\n")[:-1]
    rows = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert b"".join(base64.b64decode(row["audio"]) for row in rows[:-1]) == PCM
    assert {row["type"] for row in rows[:-1]} == {"speech.audio.delta"}
    assert rows[-1] == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14},
    }


def test_every_offered_format_can_be_made():
    for name in formats():
        made = encoder(name, 24_000, whole=True)
        assert made.feed(PCM) + made.close()
