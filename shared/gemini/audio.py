"""Sound as Gemini sends it: headerless PCM, `audio/L16;codec=pcm;rate=24000`, little-endian in spite of L16's name."""

import re
import struct

DEFAULT_RATE = 24_000
_RATE = r"rate=(\d{4,6})"


def sample_rate(mime_type: str) -> int:
    """Samples a second from the MIME type's `rate`, else Gemini's usual 24,000."""
    match = re.search(_RATE, mime_type)
    return int(match.group(1)) if match else DEFAULT_RATE


def wav_header(data_bytes: int, rate: int) -> bytes:
    """The 44 bytes before `data_bytes` of mono 16-bit PCM."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", data_bytes,
    )  # fmt: skip
