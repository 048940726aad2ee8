"""The hops of a long decode as one answer, for clients that never heard of CONTINUATION.

Source: Google's long-decode page. A hop ends with the reason CONTINUATION and a token; the next one is the same request
with that token. Each bills its own tokens, so the joined answer tells their sum.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.dialects.gemini_native.elements import candidates_of, parts_of, with_parts
from shared.gemini.usage import COUNTERS

_DETAILS = ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails", "toolUsePromptTokensDetails")


def unfinished(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """The chunk without what says that the hop ends here."""
    hidden = ("finishReason", "finishMessage", "continuationToken")
    kept = [{n: v for n, v in candidate.items() if n not in hidden} for candidate in candidates_of(chunk)]
    return {**chunk, "candidates": kept}


def ending(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """What `unfinished` leaves out, by itself: the parts are with the client already."""
    return {**chunk, "candidates": [with_parts(candidate, []) for candidate in candidates_of(chunk)]}


def shows_something(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk holds any part besides empty text."""
    parts = [part for candidate in candidates_of(chunk) for part in parts_of(candidate)]
    return any(part.get("text") != "" or "thoughtSignature" in part for part in parts)


def later(chunk: Mapping[str, Any], response_id: str, earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A chunk of a further hop as one of the same answer: the first hop's id, the usage of all hops."""
    out = dict(chunk)
    if response_id and "responseId" in out:
        out["responseId"] = response_id
    if isinstance(usage := out.get("usageMetadata"), Mapping):
        out["usageMetadata"] = summed([*earlier, usage])
    return out


def whole(hops: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The plain replies of all hops as one: parts in order, the last word on everything else."""
    last = hops[-1]
    parts = [part for hop in hops for part in parts_of(_first(hop))]
    content = _first(last).get("content")
    kept = content if isinstance(content, Mapping) else {}
    candidate = {**_first(last), "content": {"role": "model", **kept, "parts": _run(parts)}}
    usages = [usage for hop in hops[:-1] if isinstance(usage := hop.get("usageMetadata"), Mapping)]
    out = later(last, hops[0].get("responseId", ""), usages)
    return {**out, "candidates": [candidate, *candidates_of(last)[1:]]}


def summed(usages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is no number counts nothing, as an absent one does."""
    total = dict(usages[-1])
    for name in COUNTERS:
        if any(name in usage for usage in usages):
            total[name] = sum(_count(usage.get(name)) for usage in usages)
    for name in _DETAILS:
        counts: dict[str | int, int] = {}
        for usage in usages:
            rows = usage.get(name)
            for row in rows if isinstance(rows, list) else ():
                kind = row.get("modality") if isinstance(row, Mapping) else None
                if isinstance(kind, str | int):  # numbers where the client asked for them
                    counts[kind] = counts.get(kind, 0) + _count(row.get("tokenCount"))
        if counts:
            total[name] = [{"modality": kind, "tokenCount": count} for kind, count in counts.items()]
    return total


def _count(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _run(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring plain texts as one: a word may be cut in two between hops."""
    out: list[dict[str, Any]] = []
    for part in parts:
        if out and _plain(part) and _plain(out[-1]):
            out[-1]["text"] += part["text"]
        else:
            out.append(dict(part))
    return out


def _plain(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("text"), str) and set(part) == {"text"}


def _first(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = candidates_of(chunk)
    return rows[0] if rows else {}
