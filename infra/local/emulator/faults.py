"""The fault switches of a step: what happens to good chunks on their way out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from infra.local.emulator import errors, framing
from infra.local.emulator.script import Step

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of one body message, and the pause before it in seconds."""

    data: bytes
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Playback:
    """The body as it will be written; `reset` ends it by aborting the connection."""

    writes: list[Write]
    reset: bool = False


def bend(chunks: list[Json], step: Step) -> list[Json]:
    """Chunks with fields dropped, usage changed, the finish doubled or late, and model or text made awkward."""
    chunks = [copy.deepcopy(chunk) for chunk in chunks]
    if step.get("awkward"):
        _roughen(chunks)
    chunks = _bend_finish(chunks, step)
    _bend_usage(chunks, step)
    for name in step.get("drop", []):
        for chunk in chunks:
            _drop(chunk, name)
    return chunks


def _roughen(chunks: list[Json]) -> None:
    """U+2028, U+0085 and multi-byte characters into the first visible text."""
    for chunk in chunks:
        for candidate in chunk.get("candidates", []):
            for part in candidate.get("content", {}).get("parts", []):
                if part.get("text") and not part.get("thought"):
                    part["text"] += " \u2028\u0085é€😀 "
                    return


def _bend_finish(chunks: list[Json], step: Step) -> list[Json]:
    if step.get("doubled_finish") and chunks:
        return [*chunks, copy.deepcopy(chunks[-1])]
    if step.get("late_finish") and chunks and chunks[-1].get("candidates"):
        last = chunks[-1]
        late = copy.deepcopy(last)
        finish = last["candidates"][0].pop("finishReason", "STOP")
        late["candidates"] = [{"finishReason": finish, "index": 0}]
        usage_only = {key: value for key, value in last.items() if key != "candidates"}
        return [*chunks, usage_only, late]
    return chunks


def _bend_usage(chunks: list[Json], step: Step) -> None:
    spec = step.get("usage")
    if not spec or not chunks:
        return
    if spec == "missing":
        for chunk in chunks:
            chunk.pop("usageMetadata", None)
    elif spec == "only_chunk":
        chunks.append({key: value for key, value in chunks[-1].items() if key != "candidates"})
    elif isinstance(spec, dict):
        chunks[-1]["usageMetadata"] = chunks[-1].get("usageMetadata", {}) | spec


def _drop(value: Any, name: str) -> None:
    if isinstance(value, list):
        for item in value:
            _drop(item, name)
    elif isinstance(value, dict):
        value.pop(name, None)
        for key, item in value.items():
            if key not in ("args", "response"):
                _drop(item, name)


def play_stream(chunks: list[Json], step: Step, *, sse: bool) -> Playback:
    """The writes of a streamed body under the step's cut, reset, error, pace and split switches."""
    tail: bytes | None = None
    reset = "reset_after" in step
    if "error_after" in step:
        chunks, tail = _error_tail(chunks, step["error_after"], sse=sse)
    if "garbage_after" in step:
        spec = step["garbage_after"]
        chunks = chunks[: int(spec.get("chunks", 1))]
        tail = str(spec.get("text", 'data: {"candidates": [{"con\n\n')).encode()
    kept = min(step.get("cut_after", len(chunks)), step.get("reset_after", len(chunks)))
    cut = kept < len(chunks) or "cut_after" in step
    blocks = [framing.sse(chunk) for chunk in chunks] if sse else framing.array(chunks)
    broken = blocks[kept] if reset and kept < len(chunks) else b""
    if cut or reset:
        blocks = blocks[:kept]
    if tail is not None:
        blocks = [*(blocks if sse else blocks[:-1]), tail]
    writes = _paced(blocks, step)
    if broken:
        writes.append(Write(broken[: len(broken) // 2], step.get("pace_ms", 0) / 1000))
    return Playback(writes, reset)


def _paced(blocks: list[bytes], step: Step) -> list[Write]:
    pace = step.get("pace_ms", 0) / 1000
    silence = step.get("silence_after") or {}
    writes: list[Write] = []
    for i, block in enumerate(blocks):
        pause = pace if i else 0.0
        if silence and i == silence.get("chunks"):
            pause += silence.get("ms", 0) / 1000
        pieces = framing.awkward(block) if step.get("awkward") else [block]
        writes += [Write(piece, pause if n == 0 else 0.002) for n, piece in enumerate(pieces)]
    return writes


def _error_tail(chunks: list[Json], spec: Json, *, sse: bool) -> tuple[list[Json], bytes]:
    """The chunks before an error in a stream that has begun, and the error's bytes in the wanted form."""
    kept = chunks if spec.get("after_stop") else chunks[: int(spec.get("chunks", 1))]
    refusal = errors.scripted({"status": 503} | spec, "", "v1beta", "generateContent")
    body = refusal.body()
    form = spec.get("form", "bare")
    if not sse:
        return kept, ((",\r\n" if kept else "[") + framing.pretty(body) + "\n]").encode()
    if form == "data":
        return kept, framing.sse(body)
    if form == "array":
        return kept, f"[{framing.pretty(body)}\n]".encode()
    return kept, framing.pretty(body).encode()


def play_unary(body: Json, step: Step) -> Playback:
    data = framing.unary(body)
    if "reset_after" in step:
        return Playback([Write(data[: len(data) // 2])], reset=True)
    if "cut_after" in step:
        return Playback([Write(data[: len(data) // 2])])
    return Playback([Write(data)])
