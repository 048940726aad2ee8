"""Transcription requests, transcripts and subtitles."""

import json
import time

import pytest

from shared.dialects.openai_media.subtitles import Segment, srt, vtt
from shared.dialects.openai_media.transcript import TranscriptRenderer, read_timed, transcript
from shared.dialects.openai_media.transcription import parse, wav_seconds
from shared.errors import GatewayError
from shared.gemini.audio import wav_header
from tests.unit.openai_media.requests import PNG, REPLY, USAGE, WAV, context, form, said

MP3 = b"\xff\xf3\x84\xc4" + bytes(100)
TIMED = {
    "language": "German",
    "segments": [
        {"start": 0, "end": 1.5, "text": "Guten Tag.", "speaker": "B"},
        {"start": "00:01.5", "end": "1:02.25", "text": " Wie geht's? "},
        {"start": 63, "end": 64, "text": ""},
    ],
    "words": [{"word": "Guten", "start": 0, "end": 0.5}],
}


def job(*texts, model="gemini-3.6-flash", task="transcribe", file=("a.wav", "audio/wav", WAV), **more):
    return parse(form(texts, file=file), task, context(model, **more))


def body(made, text):
    data, kind = transcript(said(text), made, USAGE)
    return json.loads(data) if kind == "application/json" else data.decode()


def test_the_request():
    made = job(("language", "de"), ("prompt", "Names: Zoë"), ("keywords[]", "Gemini"), model="gemini-2.5-flash")
    instruction, recording = made.request["contents"][0]["parts"]
    assert instruction["text"].startswith("Transcribe")
    for hint in ("de", "Names: Zoë", "Gemini"):
        assert hint in instruction["text"]
    assert recording["inlineData"]["mimeType"] == "audio/wav"
    assert made.request["generationConfig"] == {"temperature": 0.0, "thinkingConfig": {"thinkingBudget": 0}}
    assert (made.duration, made.stream, made.warnings) == (1.0, False, ())


def test_a_language_left_empty_is_none():
    text = job(("language", "")).request["contents"][0]["parts"][0]["text"]
    assert "Spoken" not in text


def test_a_translation_is_told_to_translate():
    made = job(("language", "de"), task="translate")
    assert "English" in made.request["contents"][0]["parts"][0]["text"]
    assert made.warnings == ()


@pytest.mark.parametrize("wanted", ["srt", "vtt", "verbose_json", "diarized_json"])
def test_times_are_asked_for_in_json(wanted):
    config = job(("response_format", wanted)).request["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    segment = config["responseJsonSchema"]["properties"]["segments"]["items"]["properties"]
    assert ("speaker" in segment) is (wanted == "diarized_json")
    without = job(("response_format", wanted), model="gemini-3.5-transcribe").request.get("generationConfig", {})
    assert "responseJsonSchema" not in without


def test_words_only_where_asked_for():
    made = job(("response_format", "verbose_json"), ("timestamp_granularities[]", "word"))
    assert "words" in made.request["generationConfig"]["responseJsonSchema"]["properties"]
    answer = body(made, json.dumps(TIMED))
    assert answer["words"] == [{"word": "Guten", "start": 0, "end": 0.5}]
    assert "segments" not in answer
    both = [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]
    assert "segments" in body(job(("response_format", "verbose_json"), *both), json.dumps(TIMED))


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (("a.mp3", "application/octet-stream", MP3), "audio/mp3"),
        (("a.bin", "audio/mpeg", MP3), "audio/mp3"),
        (("a.wav", "", MP3), "audio/mp3"),  # the bytes decide where the name is wrong
        (("upload", "", WAV), "audio/wav"),
        (("a.m4a", "audio/x-m4a", b"\0\0\0\x1cftypM4A \0\0\0\0"), "audio/mp4"),
        (("a.webm", "video/webm", b"\x1aE\xdf\xa3" + bytes(9)), "video/webm"),
    ],
)
def test_the_kind_of_the_recording(file, kind):
    assert job(file=file).request["contents"][0]["parts"][-1]["inlineData"]["mimeType"] == kind


@pytest.mark.parametrize(
    ("texts", "more", "param"),
    [
        ((), {"file": ("a.wav", "audio/wav", b"")}, "file"),
        ((), {"file": ("a.png", "image/png", PNG)}, "file"),
        ((), {"file": ("a.txt", "text/plain", b"hello")}, "file"),
        ((("response_format", "docx"),), {}, "response_format"),
        ((("response_format", "diarized_json"),), {"task": "translate"}, "response_format"),
        ((("temperature", "hot"),), {}, "temperature"),
        ((("temperature", "2"),), {}, "temperature"),
        ((("timestamp_granularities[]", "letter"),), {}, "timestamp_granularities"),
        ((("language", "x" * 65),), {}, "language"),
        ((("stream", "perhaps"),), {}, "stream"),
        ((), {"model": "gemini-3.8-flash-tts"}, "model"),
        ((), {"model": "gemini-embedding-001"}, "model"),
    ],
)
def test_refusals_name_the_field(texts, more, param):
    with pytest.raises(GatewayError) as refused:
        job(*texts, **more)
    assert refused.value.param == param


def test_a_form_without_a_file():
    with pytest.raises(GatewayError, match="Expected a file"):
        parse(form([("model", "whisper-1")]), "transcribe", context("whisper-1"))


def test_streams_where_there_is_one():
    assert job(("stream", "true")).stream
    subtitles = job(("stream", "true"), ("response_format", "srt"))
    assert (subtitles.stream, subtitles.warnings) == (False, ("ignored:stream",))
    assert not job(("stream", "true"), task="translate").stream


def test_known_voices_are_sent_along():
    sample = "data:audio/mp3;base64,//OExA=="
    made = job(
        ("response_format", "diarized_json"),
        ("known_speaker_names[]", "Ann"),
        ("known_speaker_references[]", sample),
        model="gemini-3.8-flash",
    )
    parts = made.request["contents"][0]["parts"]
    assert "Ann" in parts[0]["text"]
    assert parts[2]["inlineData"]["data"] == "//OExA=="
    with pytest.raises(GatewayError, match="one sample"):
        job(("response_format", "diarized_json"), ("known_speaker_references[]", sample))


def test_the_keys_ceiling_holds():
    assert job(max_output_tokens=100).request["generationConfig"]["maxOutputTokens"] == 100


def test_plain_bodies():
    assert body(job(), "Hello.\n") == {
        "text": "Hello.",
        "usage": {
            "type": "tokens",
            "input_tokens": 10,
            "input_token_details": {"audio_tokens": 7, "text_tokens": 3},
            "output_tokens": 4,
            "total_tokens": 14,
        },
    }
    assert body(job(("response_format", "text")), "Hello.") == "Hello.\n"
    assert body(job(task="translate"), "Hello.") == {"text": "Hello."}


def test_a_fence_full_of_nothing_takes_linear_time():
    made = job(("response_format", "verbose_json"))
    for text in ("```json" + "\n" * 100_000 + "{", "```json{" + " " * 100_000 + "```", "```", "``````"):
        began = time.process_time()
        with pytest.raises(GatewayError) as refused:
            body(made, text)
        assert refused.value.reason == "malformed_transcript"
        assert time.process_time() - began < 1


@pytest.mark.parametrize("told", [1e308, "9" * 5_000 + ":00", "9" * 400, -1])
def test_times_that_no_recording_has_are_none(told):
    row = {"start": told, "end": told, "text": "Guten Tag."}
    answer = body(job(("response_format", "srt")), json.dumps({"language": "German", "segments": [row]}))
    assert answer.splitlines()[1] == "00:00:00,000 --> 00:00:00,000"


def test_a_verbose_body():
    answer = body(job(("response_format", "verbose_json")), f"```json\n{json.dumps(TIMED)}\n```")
    assert (answer["task"], answer["language"], answer["duration"]) == ("transcribe", "german", 1.0)
    assert answer["text"] == "Guten Tag. Wie geht's?"
    assert [(row["id"], row["start"], row["end"]) for row in answer["segments"]] == [(0, 0, 1.5), (1, 1.5, 62.25)]
    assert answer["usage"] == {"type": "duration", "seconds": 1.0}
    mp3 = job(("response_format", "verbose_json"), task="translate", file=("a.mp3", "", MP3))
    english = body(mp3, json.dumps(TIMED))
    assert (english["task"], english["language"], english["duration"]) == ("translate", "english", 62.25)


def test_a_diarized_body():
    answer = body(job(("response_format", "diarized_json")), json.dumps(TIMED))
    assert answer["segments"][0] == {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": 0,
        "end": 1.5,
        "text": "Guten Tag.",
        "speaker": "B",
    }


@pytest.mark.parametrize("text", ["", "Guten Tag.", "[]", "{}", '{"segments": 1}'])
def test_a_timed_answer_that_is_none_is_the_models_fault(text):
    with pytest.raises(GatewayError) as refused:
        read_timed(text)
    assert (refused.value.kind, refused.value.reason) == ("upstream_fault", "malformed_transcript")


def test_a_blocked_answer():
    with pytest.raises(GatewayError) as refused:
        transcript(said(finish="blocked", reason="SAFETY"), job(), USAGE)
    assert refused.value.kind == "content_blocked"


def test_subtitles():
    segments = [Segment(0, 1.5, "A <b> &\n\n--> c"), Segment(3661.0004, 3662.9996, "end")]
    assert srt(segments) == (
        "1\n00:00:00,000 --> 00:00:01,500\nA <b> &\n-> c\n\n2\n01:01:01,000 --> 01:01:03,000\nend\n\n"
    )
    assert vtt(segments) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nA &lt;b> &amp;\n-> c\n\n01:01:01.000 --> 01:01:03.000\nend\n\n"
    )
    assert body(job(("response_format", "srt")), json.dumps(TIMED)).startswith("1\n00:00:00,000 --> 00:00:01,500\n")
    assert body(job(("response_format", "vtt")), json.dumps(TIMED)).startswith("WEBVTT\n\n00:00:00.000")


def rows(data: bytes):
    return [json.loads(line.removeprefix("data: ")) for line in data.decode().strip().split("\n\n")]


def test_a_stream_of_text():
    renderer = TranscriptRenderer(job(("stream", "true")), REPLY)
    shown = rows(b"".join(renderer.feed(event) for event in said("Hel", "lo.")) + renderer.close(USAGE))
    assert [row.get("delta") for row in shown] == ["Hel", "lo.", None]
    assert (shown[-1]["type"], shown[-1]["text"]) == ("transcript.text.done", "Hello.")
    assert shown[-1]["usage"]["total_tokens"] == 14


def test_a_stream_of_speakers():
    renderer = TranscriptRenderer(job(("stream", "true"), ("response_format", "diarized_json")), REPLY)
    shown = rows(b"".join(renderer.feed(event) for event in said(json.dumps(TIMED))) + renderer.close(USAGE))
    assert [row["type"] for row in shown] == ["transcript.text.segment"] * 2 + ["transcript.text.done"]
    assert [row["speaker"] for row in shown[:2]] == ["B", "A"]
    assert shown[-1]["text"] == "Guten Tag. Wie geht's?"


def test_the_length_of_a_wav():
    assert wav_seconds(WAV) == 1.0
    extra = WAV[:36] + b"LIST\x03\0\0\0abc\0" + WAV[36:]  # an odd chunk is padded
    assert wav_seconds(extra) == 1.0
    assert wav_seconds(wav_header(0xFFFFFF, 24_000) + bytes(24_000)) == 0.5
    assert wav_seconds(MP3) is None
    assert wav_seconds(b"RIFF\0\0\0\0WAVE") is None
