"""Sound as Gemini sends it: headerless PCM, `audio/L16;codec=pcm;rate=24000`, little-endian in spite of L16's name."""

import re
import struct

DEFAULT_RATE = 24_000
_UNKNOWN = 0xFFFFFFFF  # how a WAV says that it is still being made
_RATE = r"rate=(\d{4,6})"


def sample_rate(mime_type: str) -> int:
    """Samples a second from the MIME type's `rate`, else Gemini's usual 24,000."""
    match = re.search(_RATE, mime_type)
    return int(match.group(1)) if match else DEFAULT_RATE


def wav_header(data_bytes: int | None, rate: int) -> bytes:
    """The 44 bytes before `data_bytes` of mono 16-bit PCM; None while nobody knows how many there will be."""
    whole, data = (_UNKNOWN, _UNKNOWN) if data_bytes is None else (36 + data_bytes, data_bytes)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", data,
    )  # fmt: skip
