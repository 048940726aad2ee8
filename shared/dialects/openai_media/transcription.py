"""`/v1/audio/transcriptions` and `/v1/audio/translations`: a recording and an instruction for a Gemini text model."""

import base64
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from shared.dialects.contract import RequestContext
from shared.dialects.openai.fields import invalid
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.safety import safety_settings
from shared.dialects.openai_media.members import Form, Members, Upload
from shared.gemini.catalog import ResolvedModel
from shared.gemini.media_types import accepted, by_filename, normalise_mime, sniff, suits
from shared.gemini.parts import media_part
from shared.gemini.thinking import thinking_config
from shared.gemini.types import GenerateContentRequest, GenerationConfig, Part

Task = Literal["transcribe", "translate"]

_FORMATS: Final[dict[Task, tuple[str, ...]]] = {
    "transcribe": ("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    "translate": ("json", "text", "srt", "verbose_json", "vtt"),
}
_TIMED: Final = frozenset({"srt", "vtt", "verbose_json", "diarized_json"})
_STREAMED: Final = frozenset({"json", "text", "diarized_json"})
_LONGEST_HINT: Final = 64
_MAX_SPEAKERS: Final = 16
_TASKS: Final[dict[Task, str]] = {
    "transcribe": "Transcribe the speech in the recording word for word, in the language that is spoken.",
    "translate": "Translate the speech in the recording into English, completely and without additions.",
}
_PLAIN: Final = "Answer with nothing but that text: no comments, no times, no names of speakers."
_AS_JSON: Final = (
    "Answer with one JSON object: `language` is the English name of the language that is spoken, `segments` lists "
    "every sentence or phrase in order, with its `text` and its `start` and `end` in seconds from the beginning."
)
_SPEAKERS: Final = "`speaker` of a segment tells who speaks: A for the first voice that is heard, B for the second."
_WORDS: Final = "`words` lists every word with its own `start` and `end`."


class TranscriptionJob(Struct, frozen=True):
    """`format` is the client's `response_format`; `duration` is in seconds, None where the file does not tell."""

    request: GenerateContentRequest
    task: Task
    format: str
    stream: bool
    words: bool
    segments: bool
    temperature: float
    duration: float | None
    warnings: tuple[str, ...]

    @property
    def timed(self) -> bool:
        """Whether the model answers in JSON segments."""
        return self.format in _TIMED


def parse(form: Form, task: Task, context: RequestContext) -> TranscriptionJob:
    """GatewayError `invalid_request` for what cannot be heard."""
    model, notes, members = context.model, Notes(context.strict), Members(form.members(), in_form=True)
    if model.capabilities.family == "embedding" or model.capabilities.modalities:
        raise invalid("This model does not transcribe.", "model")
    upload = next(iter(form.uploads("file")), None)
    if upload is None:
        raise invalid("Expected a file.", "file")
    wanted = members.word("response_format", _FORMATS[task], "json")
    grains = members.texts("timestamp_granularities")
    if any(grain not in ("word", "segment") for grain in grains):
        raise invalid("Expected word or segment.", "timestamp_granularities")
    words = wanted == "verbose_json" and "word" in grains
    temperature = members.fraction("temperature", 0.0, 0.0, 1.0)
    if temperature and not model.capabilities.sampling:
        notes.ignored("temperature")
    stream = members.flag("stream")
    if stream and (task == "translate" or wanted not in _STREAMED):
        notes.ignored("stream")
        stream = False
    for name in ("include", "chunking_strategy"):
        if members.raw(name) not in (None, "", [], "auto"):
            notes.ignored(name)
    lines, voices = _instruction(task, wanted, words, members)
    parts: list[Part] = [{"text": "\n".join(lines)}, *voices, _recording(upload)]
    request: GenerateContentRequest = {
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": _config(model, wanted, words, temperature, context.max_output_tokens),
    }
    if safety := safety_settings(None, off=context.safety_off, notes=notes):
        request["safetySettings"] = safety
    members.warn(notes)
    duration = wav_seconds(upload.data)
    segments = "segment" in grains or not words
    return TranscriptionJob(request, task, wanted, stream, words, segments, temperature, duration, tuple(notes.items))


def _instruction(task: Task, wanted: str, words: bool, members: Members) -> tuple[list[str], list[Part]]:
    """The lines of the prompt, and samples of known voices. What the client says of style and words is a hint and never
    takes the place of the task."""
    lines = [_TASKS[task], _AS_JSON if wanted in _TIMED else _PLAIN]
    if words:
        lines.append(_WORDS)
    languages = [name for name in (*members.texts("languages"), *members.texts("language")) if name]
    if task == "transcribe" and languages:
        lines.append(f"Spoken: {', '.join(_short(name, 'language') for name in languages)}.")
    keywords = [_short(word, "keywords") for word in members.texts("keywords") if word]
    if keywords:
        lines.append(f"These words may occur: {', '.join(keywords)}.")
    if hint := members.text("prompt").strip():
        lines.append(f"A hint at context, spelling and style, which is not part of the recording:\n{hint}")
    voices = _known_voices(members, lines) if wanted == "diarized_json" else []
    return lines, voices


def _known_voices(members: Members, lines: list[str]) -> list[Part]:
    names, samples = members.texts("known_speaker_names"), members.texts("known_speaker_references")
    lines.append(_SPEAKERS)
    if len(names) > _MAX_SPEAKERS:
        raise invalid(f"Expected at most {_MAX_SPEAKERS} names.", "known_speaker_names")
    if samples and len(samples) != len(names):
        raise invalid("Expected one sample for every name.", "known_speaker_references")
    if names:
        shown = [_short(name, "known_speaker_names") for name in names]
        lines.append(f"Known speakers, who keep their names: {', '.join(shown)}.")
    parts: list[Part] = []
    for at, sample in enumerate(samples):
        param = f"known_speaker_references[{at}]"
        parts.append({"text": f"A sample of {names[at]}'s voice, which is not part of the recording:"})
        parts.append(media_part(sample, mime=None, param=param))
    return [*parts, {"text": "The recording:"}] if parts else []


def _short(text: str, param: str) -> str:
    if len(text) > _LONGEST_HINT or not text.isprintable():
        raise invalid(f"Expected at most {_LONGEST_HINT} printable characters.", param)
    return text


def _config(
    model: ResolvedModel, wanted: str, words: bool, temperature: float, ceiling: int | None
) -> GenerationConfig:
    config: GenerationConfig = {}
    caps = model.capabilities
    if caps.sampling:
        config["temperature"] = temperature
    if ceiling is not None:
        config["maxOutputTokens"] = min(ceiling, caps.output_limit)
    # listening needs no thoughts, and they would cost more than the transcript
    if thinking := thinking_config(caps, effort=model.effort or "none"):
        config["thinkingConfig"] = thinking
    if wanted in _TIMED and caps.json_schema:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = _schema(wanted == "diarized_json", words)
    return config


def _schema(speakers: bool, words: bool) -> dict[str, Any]:
    number, string = {"type": "number"}, {"type": "string"}
    segment: dict[str, Any] = {"start": number, "end": number, "text": string}
    if speakers:
        segment["speaker"] = string
    members: dict[str, Any] = {"language": string, "segments": _list_of(segment)}
    if words:
        members["words"] = _list_of({"word": string, "start": number, "end": number})
    return {"type": "object", "properties": members, "required": list(members)}


def _list_of(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": members, "required": list(members)}}


def _recording(upload: Upload) -> Part:
    """By the file's name where its bytes agree, then by what the part says of itself, then by its bytes alone."""
    if not upload.data:
        raise invalid("The file is empty.", "file")
    claims: Sequence[str | None] = (by_filename(upload.name), normalise_mime(upload.media_type), sniff(upload.data))
    heard = (
        kind
        for kind in claims
        if kind and kind.startswith(("audio/", "video/")) and accepted(kind) and suits(kind, upload.data)
    )
    kind = next(heard, None)
    if kind is None:
        raise invalid("The file is no recording in a format that is supported.", "file")
    return {"inlineData": {"mimeType": kind, "data": base64.b64encode(upload.data).decode()}}


def wav_seconds(data: bytes) -> float | None:
    """How long a WAV plays, by its byte rate and the size of its data; None for every other file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, rate = 12, 0
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(data[at + 16 : at + 20], "little")
        elif name == b"data" and rate:
            return min(size, len(data) - at - 8) / rate  # a header made while streaming says more than there is
        at += 8 + size + (size & 1)
    return None
