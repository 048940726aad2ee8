"""`candidateCount` > 1: several answers of the upstream, each asked for by itself, as the candidates of one reply."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.dialects.gemini_native.elements import candidates_of
from shared.dialects.gemini_native.joined import summed

MAX_CHOICES = 8


class Choices:
    """Chunks of several streams as chunks of one: each says whose it is, all have one id, and the usage of each is the
    sum of what all have used so far, so that the last one tells the whole."""

    def __init__(self, count: int) -> None:
        self._usages: list[Mapping[str, Any]] = [{}] * count
        self._response_id = ""

    def chunk(self, index: int, chunk: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(chunk)
        if "candidates" in out:
            out["candidates"] = _numbered(index, chunk)
        if isinstance(usage := out.get("usageMetadata"), Mapping) and usage:
            self._usages[index] = usage
            out["usageMetadata"] = summed([used for used in self._usages if used])
        self._response_id = self._response_id or str(out.get("responseId") or "")
        if "responseId" in out:
            out["responseId"] = self._response_id
        return out


def together(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whole replies as one, in the order of `replies`. A prompt is blocked for all or, where filters waver, for some:
    the block is told as long as no candidate stands for it."""
    choices = Choices(len(replies))
    numbered = [choices.chunk(index, reply) for index, reply in enumerate(replies)]
    candidates = [candidate for reply in numbered for candidate in reply.get("candidates", ())]
    out = {name: value for reply in numbered for name, value in reply.items()}
    out |= {name: numbered[0][name] for name in ("modelVersion", "responseId") if name in numbered[0]}
    if candidates:
        out["candidates"] = candidates
        out.pop("promptFeedback", None)
    return out


def _numbered(index: int, chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**candidate, "index": index} for candidate in candidates_of(chunk)[:1]]
