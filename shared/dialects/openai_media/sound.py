"""PCM as the formats that can be made here: raw, WAV, and MP3 where its encoder is installed.

The MP3 encoder `lameenc` is LGPL and optional: it is looked up when it is needed and never linked.
"""

import importlib
import importlib.util
from typing import Any, Final, Protocol

from shared.gemini.audio import wav_header

MEDIA_TYPES: Final = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm"}
_KBPS: Final = 64  # for one channel of speech


class Encoder(Protocol):
    """Mono 16-bit little-endian PCM in, bytes of the format out, in pieces of any size."""

    def feed(self, pcm: bytes) -> bytes: ...

    def close(self) -> bytes: ...


def formats() -> tuple[str, ...]:
    """What this installation can make; the first is the default."""
    every = tuple(MEDIA_TYPES)
    return every if importlib.util.find_spec("lameenc") is not None else every[1:]


def encoder(name: str, rate: int, *, whole: bool = False) -> Encoder:
    """`rate` in samples a second; `whole`: nobody waits for the first bytes, so a WAV can tell its length."""
    if name == "mp3":
        return Mp3(rate)
    return Wav(rate, whole=whole) if name == "wav" else Pcm()


class Pcm:
    def feed(self, pcm: bytes) -> bytes:
        return pcm

    def close(self) -> bytes:
        return b""


class Wav:
    """The header leaves with the first samples, or at the end with all of them."""

    def __init__(self, rate: int, *, whole: bool) -> None:
        self._rate = rate
        self._header = b"" if whole else wav_header(None, rate)
        self._held: list[bytes] | None = [] if whole else None

    def feed(self, pcm: bytes) -> bytes:
        if self._held is not None:
            self._held.append(pcm)
            return b""
        header, self._header = self._header, b""
        return header + pcm

    def close(self) -> bytes:
        if self._held is None:
            return self._header
        pcm = b"".join(self._held)
        return wav_header(len(pcm), self._rate) + pcm


class Mp3:
    """Holds back half a sample until its other half comes."""

    def __init__(self, rate: int) -> None:
        lameenc: Any = importlib.import_module("lameenc")
        self._encoder = lameenc.Encoder()
        self._encoder.silence()
        self._encoder.set_in_sample_rate(rate)
        self._encoder.set_channels(1)
        self._encoder.set_bit_rate(_KBPS)
        self._encoder.set_quality(5)
        self._half = b""

    def feed(self, pcm: bytes) -> bytes:
        pcm = self._half + pcm
        even = len(pcm) & ~1
        self._half = pcm[even:]
        return bytes(self._encoder.encode(pcm[:even])) if even else b""

    def close(self) -> bytes:
        return bytes(self._encoder.flush())
