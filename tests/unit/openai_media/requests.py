"""What the tests of this dialect build requests from."""

import struct
import zlib
from datetime import date

from shared.dialects.contract import ReplyContext, RequestContext
from shared.dialects.openai_media.members import Form, Upload
from shared.events import BlockDelta, BlockEnd, BlockStart, End, Media, Start, Usage
from shared.gemini.audio import wav_header
from shared.gemini.catalog import resolve

DAY = date(2026, 11, 21)
REPLY = ReplyContext("req", 1_700_000_000, "asked-model", shown_id="shown")
PNG = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\1\2\3")),
        (b"IEND", b""),
    )
)
WAV = wav_header(48_000, 24_000) + bytes(48_000)  # one second
USAGE = Usage(prompt_tokens=10, output_tokens=4, prompt_modalities={"TEXT": 3, "AUDIO": 7})


def context(model: str, **more) -> RequestContext:
    return RequestContext(resolve(model, DAY), {}, **more)


def form(texts=(), **files) -> Form:
    """`files` maps a field to (name, type, bytes)."""
    return Form(list(texts), [(field, Upload(*file)) for field, file in files.items()])


def said(*texts: str, finish="stop", reason="STOP", usage=USAGE):
    """The events of one answer in text."""
    deltas = [BlockDelta(0, text) for text in texts]
    block = [BlockStart(0, "text"), *deltas, BlockEnd(0)] if texts else []
    return [Start("r", "m"), *block, End(finish, reason, usage)]


def drew(*data: str, usage=USAGE):
    return [
        Start("r", "m"),
        *(Media(at, "image/png", item) for at, item in enumerate(data)),
        End("stop", "STOP", usage),
    ]
