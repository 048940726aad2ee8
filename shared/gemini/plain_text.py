"""Chunks of plain text, read without building what nobody asks for.

Almost every chunk of a stream is one piece of text and the counts so far. A parser that knows this form reads it at two
thirds of the cost of one that takes anything, and leaves nothing to be checked: what is more or other than this, or
wrong, is no plain text and goes the general way.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast, final

import msgspec
from msgspec import Struct


@final
class TextPart(Struct, forbid_unknown_fields=True, gc=False):
    text: str
    thought: bool = False


class _Content(Struct, forbid_unknown_fields=True, gc=False):
    parts: tuple[TextPart]
    role: str = ""


class _Candidate(Struct, forbid_unknown_fields=True, gc=False):
    content: _Content
    index: Literal[0] = 0


class _Detail(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    modality: str
    tokenCount: int = 0


@final
class Counters(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """`usageMetadata` as all recorded chunks have it."""

    promptTokenCount: int  # at least: with it the object replaces the counters of earlier chunks
    candidatesTokenCount: int = 0
    totalTokenCount: int = 0
    thoughtsTokenCount: int = 0
    cachedContentTokenCount: int = 0
    toolUsePromptTokenCount: int = 0
    promptTokensDetails: list[_Detail] | None = None
    candidatesTokensDetails: list[_Detail] | None = None
    cacheTokensDetails: list[_Detail] | None = None
    toolUsePromptTokensDetails: list[_Detail] | None = None
    serviceTier: str = ""
    trafficType: str = ""


@final
class PlainText(Struct, forbid_unknown_fields=True, gc=False):
    """All that a chunk of plain text may hold: no end, no call, no signature, no error, nothing unknown."""

    candidates: tuple[_Candidate]
    usageMetadata: Counters
    modelVersion: str = ""
    responseId: str = ""


decode_plain_text = msgspec.json.Decoder(PlainText).decode
NOT_PLAIN_TEXT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what it raises for all else


def as_object(counters: Counters) -> Mapping[str, Any]:
    """The counters as a general parser would give them, without zeros."""
    return cast(Mapping[str, Any], msgspec.to_builtins(counters))
