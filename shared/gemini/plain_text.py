"""Chunks of plain text, read without the rest.

Almost every chunk of a stream is one piece of text and the counts so far, which the next chunk gives anew. A parser
that knows this form skips what is repeated, at half the cost of one that reads all.
"""

from typing import Literal, final

import msgspec
from msgspec import Struct


class _Part(Struct, forbid_unknown_fields=True, gc=False):
    text: str
    thought: bool = False


class _Content(Struct, forbid_unknown_fields=True, gc=False):
    parts: tuple[_Part]
    role: str = ""


class _Candidate(Struct, forbid_unknown_fields=True, gc=False):
    content: _Content
    index: Literal[0] = 0


class _Counters(Struct, gc=False):
    promptTokenCount: int  # at least: with it the object replaces the counters of earlier chunks


@final
class PlainText(Struct, forbid_unknown_fields=True, gc=False):
    """All that a chunk of plain text may hold: no end, no call, no signature, no error, nothing unknown. What it counts
    was not read."""

    candidates: tuple[_Candidate]
    usageMetadata: _Counters
    modelVersion: str = ""
    responseId: str = ""


_decode = msgspec.json.Decoder(PlainText).decode


def plain_text(data: bytes) -> PlainText | None:
    """The chunk of these bytes; None where it is anything else, or no JSON."""
    try:
        if not data.isascii():
            data.decode()  # the decoder does not look into what it skips
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
