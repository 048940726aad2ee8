"""`POST /v1/audio/speech` on Gemini's speech models."""

import binascii
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from shared.dialects.contract import ReplyContext, RequestContext
from shared.dialects.openai.fields import invalid, mapping, sequence, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.voices import DEFAULT, gemini_voice
from shared.dialects.openai_media.errors import error_frame
from shared.dialects.openai_media.members import Members
from shared.dialects.openai_media.sound import MEDIA_TYPES, Encoder, encoder, formats
from shared.errors import GatewayError
from shared.events import End, Event, Media, Usage
from shared.gemini.audio import sample_rate
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import encode
from shared.sse import frame

_FRAME_BYTES: Final = 48_000  # of one delta: a second of PCM
_SPEAKERS: Final = 2  # the upstream speaks with one voice or with exactly two


class SpeechJob(Struct, frozen=True):
    """`events`: server-sent events are wanted instead of bare sound. `tokens` bounds the length of the speech."""

    request: GenerateContentRequest
    format: str
    events: bool
    tokens: int
    warnings: tuple[str, ...]

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]


def parse(body: Mapping[str, Any], context: RequestContext) -> SpeechJob:
    """GatewayError `invalid_request` for what cannot be spoken."""
    if "AUDIO" not in context.model.capabilities.modalities:
        raise invalid("This model does not speak.", "model")
    notes, members = Notes(context.strict), Members(body)
    text = members.text("input")
    if not text.strip():
        raise invalid("Expected a text that is not empty.", "input")
    if instructions := members.text("instructions").strip():
        text = f"{instructions}: {text}"
    if members.fraction("speed", 1.0, 0.25, 4.0) != 1.0:
        notes.ignored("speed")
    known = formats()
    wanted = members.text("response_format") or known[0]
    if wanted not in known:
        raise invalid(f"Expected one of {', '.join(known)}.", "response_format")
    events = members.word("stream_format", ("audio", "sse"), "audio") == "sse"
    request: GenerateContentRequest = {
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": _speech(members)},
    }
    members.warn(notes)
    # speech takes 25 tokens a second, a letter at most 120 ms of it, and a sign for a syllable or a word, of three
    # bytes, at most 360
    return SpeechJob(request, wanted, events, 256 + 3 * len(text.encode()), tuple(notes.items))


def _speech(members: Members) -> dict[str, Any]:
    several = members.raw("multi_speaker")
    voice = members.raw("voice")
    if several is None:
        return _voice(DEFAULT if voice is None else gemini_voice(voice, "voice"))
    return {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": _speakers(several)}}


def _speakers(value: Any) -> list[dict[str, Any]]:
    """Two `{speaker, voice}`, or one object of two names and their voices."""
    pairs: list[tuple[Any, Any, str]] = []
    if isinstance(value, Mapping):
        pairs = [(name, voice, f"multi_speaker.{name}") for name, voice in value.items()]
    else:
        for at, item in enumerate(sequence(value, "multi_speaker")):
            row = mapping(item, f"multi_speaker[{at}]")
            pairs.append((row.get("speaker"), row.get("voice"), f"multi_speaker[{at}].voice"))
    if len(pairs) != _SPEAKERS:
        raise invalid("Expected exactly two speakers.", "multi_speaker")
    return [
        {"speaker": string(name, "multi_speaker"), **_voice(gemini_voice(voice, path))} for name, voice, path in pairs
    ]


def _voice(name: str) -> dict[str, Any]:
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}}


class Speaker:
    """Events in, bytes of the wanted format out. `whole` says that nobody hears it before its end, so that a WAV can
    tell its length. Raises GatewayError where the upstream did not speak."""

    def __init__(self, job: SpeechJob, *, whole: bool) -> None:
        self._job = job
        self._whole = whole
        self._encoder: Encoder | None = None

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Media):
            return self._sound(event)
        if isinstance(event, End) and event.finish == "blocked":  # half of it would be taken for the whole
            raise GatewayError("content_blocked", f"The speech was blocked by the upstream ({event.reason}).")
        if isinstance(event, End) and self._encoder is None:
            raise GatewayError("upstream_fault", f"The model did not speak ({event.reason}).", reason="no_audio")
        return b""

    def close(self) -> bytes:
        return self._encoder.close() if self._encoder else b""

    def _sound(self, media: Media) -> bytes:
        kind = media.mime_type.lower()
        if not kind.startswith(("audio/l16", "audio/pcm")):
            raise GatewayError("upstream_invalid_response", "The upstream sent sound in another form.")
        pcm = binascii.a2b_base64(media.data)
        if self._encoder is None:
            self._encoder = encoder(self._job.format, sample_rate(kind), whole=self._whole)
        return self._encoder.feed(pcm)


def delta_frames(sound: bytes) -> bytes:
    """The sound as `speech.audio.delta` frames."""
    pieces = (sound[at : at + _FRAME_BYTES] for at in range(0, len(sound), _FRAME_BYTES))
    return b"".join(
        frame(encode({"type": "speech.audio.delta", "audio": binascii.b2a_base64(piece, newline=False).decode()}))
        for piece in pieces
    )


def failure_frame(reply: ReplyContext, error: GatewayError) -> bytes:
    return error_frame(error, reply.error_id)


def done_frame(usage: Usage) -> bytes:
    tokens = {"input_tokens": usage.input_total, "output_tokens": usage.output_total}
    body = {"type": "speech.audio.done", "usage": {**tokens, "total_tokens": sum(tokens.values())}}
    return frame(encode(body))
