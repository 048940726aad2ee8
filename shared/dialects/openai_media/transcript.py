"""Transcripts as OpenAI answers them: an object, plain text, subtitles, or a stream of deltas."""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from shared.dialects.contract import ReplyContext
from shared.dialects.openai import json_text
from shared.dialects.openai_media.errors import error_frame
from shared.dialects.openai_media.subtitles import Segment, srt, vtt
from shared.dialects.openai_media.transcription import TranscriptionJob
from shared.errors import GatewayError
from shared.events import BlockDelta, BlockStart, End, Event, Usage
from shared.json_codec import encode
from shared.sse import frame

_FENCE: Final = "```"
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_LONGEST_CLOCK: Final = 30  # characters
_TOO_LONG_S: Final = 1_000_000
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"


class Timed(Struct, frozen=True):
    """What the model made of a recording when it was asked for times."""

    language: str
    segments: tuple[Segment, ...]
    words: tuple[tuple[str, float, float], ...]

    @property
    def text(self) -> str:
        return " ".join(item.text for item in self.segments)


class Listener:
    """Gathers the visible text of one answer; raises GatewayError where the upstream refused to give one."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()
        self._pieces: list[str] = []
        self.end: End | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def feed(self, event: Event) -> str:
        """The event's visible text."""
        match event:
            case BlockStart(index=index, kind="text"):
                self._blocks.add(index)
            case BlockDelta(index=index, text=text) if index in self._blocks:
                self._pieces.append(text)
                return text
            case End():
                self.end = event
                if event.finish == "blocked":
                    message = f"The transcript was blocked by the upstream's policy ({event.reason})."
                    raise GatewayError("content_blocked", message)
        return ""


def transcript(events: Iterable[Event], job: TranscriptionJob, usage: Usage) -> tuple[bytes, str]:
    """(body, media type) of a buffered answer."""
    listener = Listener()
    for event in events:
        listener.feed(event)
    text = listener.text.strip()
    if not job.timed:
        return (f"{text}\n".encode(), _TEXT) if job.format == "text" else (encode(_plain(text, job, usage)), _JSON)
    timed = read_timed(text)
    match job.format:
        case "srt":
            return srt(timed.segments).encode(), _TEXT
        case "vtt":
            return vtt(timed.segments).encode(), _TEXT
        case "diarized_json":
            return encode(_diarized(timed, job, usage)), _JSON
    return encode(_verbose(timed, job)), _JSON


def read_timed(text: str) -> Timed:
    """The model's JSON, a fence around it forgiven; GatewayError `upstream_fault` where it is none."""
    value = json_text.parse(_unfenced(text.strip()))
    if not isinstance(value, Mapping) or not isinstance(value.get("segments"), list):
        raise GatewayError("upstream_fault", "The model's transcript is unusable.", reason="malformed_transcript")
    segments: list[Segment] = []
    for row in _objects(value["segments"]):
        start = _seconds(row.get("start"))
        said = row.get("text")
        if isinstance(said, str) and said.strip():
            speaker = row.get("speaker")
            named = speaker.strip() if isinstance(speaker, str) else ""
            segments.append(Segment(start, max(start, _seconds(row.get("end"))), said.strip(), named))
    words = [
        (str(row["word"]), _seconds(row.get("start")), _seconds(row.get("end")))
        for row in _objects(value.get("words"))
        if row.get("word")
    ]
    language = value.get("language")
    return Timed(language.lower() if isinstance(language, str) else "", tuple(segments), tuple(words))


def _unfenced(text: str) -> str:
    """By hand: models at a loss fill a fence with white space by the thousand, and a pattern took its length cubed."""
    if len(text) < 2 * len(_FENCE) or not text.startswith(_FENCE) or not text.endswith(_FENCE):
        return text
    return text.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("json").strip()


def transcript_usage(usage: Usage) -> dict[str, Any]:
    audio = usage.prompt_modalities.get("AUDIO", 0)
    return {
        "type": "tokens",
        "input_tokens": usage.input_total,
        "input_token_details": {"audio_tokens": audio, "text_tokens": usage.input_total - audio},
        "output_tokens": usage.output_total,
        "total_tokens": usage.input_total + usage.output_total,
    }


class TranscriptRenderer:
    """Frames of a stream: deltas as the text comes; of a diarized one the segments, once all are known."""

    def __init__(self, job: TranscriptionJob, reply: ReplyContext) -> None:
        self._job = job
        self._reply = reply
        self._listener = Listener()

    def feed(self, event: Event) -> bytes:
        text = self._listener.feed(event)
        return _frame({"type": "transcript.text.delta", "delta": text}) if text and not self._job.timed else b""

    def close(self, usage: Usage) -> bytes:
        text, frames = self._listener.text, b""
        if self._job.timed:
            timed = read_timed(text.strip())
            text = timed.text
            frames = b"".join(_frame(row) for row in _speaker_segments(timed.segments))
        done = {"type": "transcript.text.done", "text": text, "usage": transcript_usage(usage)}
        return frames + _frame(done)

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._reply.error_id)


def _plain(text: str, job: TranscriptionJob, usage: Usage) -> Mapping[str, Any]:
    return {"text": text} if job.task == "translate" else {"text": text, "usage": transcript_usage(usage)}


def _verbose(timed: Timed, job: TranscriptionJob) -> Mapping[str, Any]:
    duration = _duration(timed, job)
    body: dict[str, Any] = {
        "task": job.task,
        "language": "english" if job.task == "translate" else timed.language,
        "duration": duration,
        "text": timed.text,
    }
    if job.segments:
        body["segments"] = [_whisper_segment(at, item, job) for at, item in enumerate(timed.segments)]
    if job.words:
        body["words"] = [{"word": word, "start": start, "end": end} for word, start, end in timed.words]
    if job.task == "transcribe":
        body["usage"] = {"type": "duration", "seconds": duration}
    return body


def _whisper_segment(number: int, item: Segment, job: TranscriptionJob) -> Mapping[str, Any]:
    """The upstream tells no likelihoods: they are those of a certain segment."""
    raw = item.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": item.start,
        "end": item.end,
        "text": item.text,
        "tokens": [],
        "temperature": job.temperature,
        "avg_logprob": 0.0,
        "compression_ratio": len(raw) / len(zlib.compress(raw)),
        "no_speech_prob": 0.0,
    }


def _diarized(timed: Timed, job: TranscriptionJob, usage: Usage) -> Mapping[str, Any]:
    return {
        "task": job.task,
        "duration": _duration(timed, job),
        "text": timed.text,
        "segments": _speaker_segments(timed.segments),
        "usage": transcript_usage(usage),
    }


def _speaker_segments(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": item.start,
            "end": item.end,
            "text": item.text,
            "speaker": item.speaker or "A",
        }
        for number, item in enumerate(segments)
    ]


def _duration(timed: Timed, job: TranscriptionJob) -> float:
    """The file's own, else where the last segment ends."""
    return job.duration if job.duration is not None else max((item.end for item in timed.segments), default=0.0)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _seconds(value: Any) -> float:
    """Seconds, also where the model wrote a clock (`01:02.5`) instead; 0 for what is neither, or beyond any file."""
    seconds = 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and len(text := value.strip()) <= _LONGEST_CLOCK:
        if match := _CLOCK.fullmatch(text):
            seconds = int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3])
        elif re.fullmatch(r"\d+(?:\.\d+)?", text):
            seconds = float(text)
    return seconds if 0 < seconds < _TOO_LONG_S else 0.0


def _frame(body: Mapping[str, Any]) -> bytes:
    return frame(encode(body))
