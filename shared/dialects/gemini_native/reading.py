"""The upstream's bytes as elements: each object parsed, except that a run of plain text is read as one.

Almost every chunk of a stream is one piece of text and the counters so far. Such a chunk says nothing that the next one
does not say again, but its text: the gateway reads the last of several in full, and of the others the text alone.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import msgspec
from msgspec import Struct

from shared.dialects.gemini_native.elements import Element, Elements, Run
from shared.errors import GatewayError
from shared.json_codec import decode_reply


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


class _PlainText(Struct, forbid_unknown_fields=True, gc=False):
    """All that a chunk of plain text may hold: no end, no call, no signature, no error, nothing unknown."""

    candidates: tuple[_Candidate]
    usageMetadata: _Counters
    modelVersion: str = ""
    responseId: str = ""


_Kind = tuple[bool, str, str]
_decode = msgspec.json.Decoder(_PlainText).decode


def parsed(raw: bytes) -> dict[str, Any]:
    """A reply of the upstream as an object; raises `upstream_invalid_response`."""
    try:
        value = decode_reply(raw)
    except (ValueError, RecursionError):
        value = _forgiven(raw)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # an error may come wrapped in an array
    if not isinstance(value, dict):
        raise GatewayError("upstream_invalid_response", "The upstream's reply is no JSON object.")
    return value


def _forgiven(raw: bytes) -> Any:
    """What has a byte order mark, or is UTF-16, counts as well."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise GatewayError("upstream_invalid_response", "The upstream's reply is not valid JSON.") from error


def read(raws: Sequence[bytes]) -> tuple[Elements, GatewayError | None]:
    """The elements up to the first object that is none, and what is wrong with that one."""
    elements: Elements = []
    try:
        for element in _read(raws):
            elements.append(element)
    except GatewayError as failure:
        return elements, failure
    return elements, None


def apart(elements: Sequence[Element]) -> Elements:
    """Each object by itself, for whoever changes what it says."""
    if not any(isinstance(element, Run) for element in elements):
        return list(elements)
    return [single for element in elements for single in _singles(element)]


def _singles(element: Element) -> Sequence[Element]:
    return [_element(raw) for raw in element.raws] if isinstance(element, Run) else (element,)


def _read(raws: Sequence[bytes]) -> Iterable[Element]:
    if len(raws) < 2:  # nothing to join: what a model writes as we read
        return map(_element, raws)
    return _in_runs(raws)


def _in_runs(raws: Sequence[bytes]) -> Iterator[Element]:
    for kind, group in groupby(_told_apart(raws), key=itemgetter(0)):
        members = list(group)
        if kind is None or len(members) < 2:
            yield from (_element(raw) for _, raw, _ in members)
        else:
            yield _run([raw for _, raw, _ in members], "".join([text for _, _, text in members]))


def _told_apart(raws: Sequence[bytes]) -> Iterator[tuple[_Kind | None, bytes, str]]:
    """(what is the same in all chunks of a run, chunk, its text); None for whatever is more than plain text."""
    for raw in raws:
        try:
            if not raw.isascii():
                raw.decode()  # the decoder does not look into what it skips
            plain = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield None, raw, ""
        else:
            part = plain.candidates[0].content.parts[0]
            yield (part.thought, plain.modelVersion, plain.responseId), raw, part.text


def _run(raws: Sequence[bytes], text: str) -> Run:
    last = parsed(raws[-1])
    candidate = last["candidates"][0]
    part = {**candidate["content"]["parts"][0], "text": text}
    content = {**candidate["content"], "parts": [part]}
    return Run({**last, "candidates": [{**candidate, "content": content}]}, None, tuple(raws))


def _element(raw: bytes) -> Element:
    return Element(parsed(raw), raw)
