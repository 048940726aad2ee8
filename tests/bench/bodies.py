"""What the upstream stub answers, prebuilt, and what every reply made from it must therefore hold.

The wire shape is v1beta's: CRLF server-sent events, one JSON object each, usage in every chunk, no `[DONE]`. The mode
is chosen by a real model's name, so that the model tables of other gateways know it.
"""

import base64
import json
import math
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

MODELS = {
    "fast": "gemini-3.6-flash",
    "paced": "gemini-3.8-flash",
    "tools": "gemini-3.1-pro-preview",
    "buffered": "gemini-3.5-flash-lite",
    "few": "gemini-2.5-flash",
    "long": "gemini-2.5-pro",
    "slow": "gemini-3.1-flash-lite",
    "picture": "gemini-3.1-flash-image",
}
MODES = {model: mode for mode, model in MODELS.items()}
CHUNKS = 200
PACES_S = {"paced": 0.005, "slow": 0.2}
SLOW_CHUNKS = 10  # few and far between: many such streams at once do not keep a CPU busy
# non-ASCII, quotes, a backslash and a line end in every chunk: the costs of real text
_PIECE = 'Grün „quoted" \\ and\na line that goes on for a while → '
_SIGNATURE = "c2lnbmF0dXJl" * 12
PICTURE_BYTES = 12_000_000  # a PNG of 4,096 x 4,096 points, as the upstream makes them


@dataclass(frozen=True, slots=True)
class Expected:
    """Text without thoughts, and how many tool calls."""

    text: str
    calls: int = 0


def _usage(number: int) -> dict[str, Any]:
    return {
        "promptTokenCount": 12,
        "candidatesTokenCount": number + 1,
        "totalTokenCount": 13 + number,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
    }


def _chunk(model: str, number: int, part: dict[str, Any] | None, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [part] if part else [], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(number),
        "modelVersion": model,
        "responseId": "abcDEF123456",
    }


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + _dump(value) + b"\r\n\r\n"


def _parts(mode: str) -> list[dict[str, Any]]:
    if mode == "buffered":
        return [{"text": _PIECE * 7}, {"text": _PIECE * 7}]
    if mode == "few":
        return [{"text": _PIECE * 20}, {"text": _PIECE * 40}, {"text": _PIECE * 20}]
    if mode == "picture":
        return [{"text": _PIECE}, {"inlineData": {"mimeType": "image/png", "data": base64_of(PICTURE_BYTES)}}]
    if mode != "tools":
        count = SLOW_CHUNKS if mode == "slow" else CHUNKS
        return [{"text": f"{number:03d} {_PIECE}"} for number in range(count)]
    parts: list[dict[str, Any]] = [{"text": f"thinking {n:03d} {_PIECE}", "thought": True} for n in range(CHUNKS // 4)]
    for number in range(CHUNKS // 4, CHUNKS):
        if number % 20 == 19:
            call = {"id": f"call{number}", "name": "get_weather", "args": {"city": f"Genève {number}", "days": 3}}
            parts.append({"functionCall": call, "thoughtSignature": _SIGNATURE})
        else:
            parts.append({"text": f"{number:03d} {_PIECE}"})
    return parts


def base64_of(size: int) -> str:
    """A file that begins like a PNG and is as hard to compress."""
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(size).randbytes(size - 8)).decode()


@cache
def vectors(count: int) -> bytes:
    """The answer of `batchEmbedContents`, 3,072 numbers to a text."""
    one = _dump({"values": [math.sin(number) / 50 for number in range(3072)]})
    return b'{"embeddings":[' + b",".join([one] * count) + b"]}"


def expected(mode: str, chunks: int = CHUNKS) -> Expected:
    """Of a paced stream: the text without its time stamps."""
    if mode == "long":
        return Expected("".join(f"{number % 1000:03d} {_PIECE}" for number in range(chunks)))
    parts = _parts(mode)
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    return Expected(text, sum("functionCall" in part for part in parts))


@cache
def stream_events(mode: str) -> tuple[bytes, ...]:
    """Every event of a stream; not for `paced`, whose chunks carry the time."""
    parts = _parts(mode)
    model = MODELS[mode]
    return tuple(event(_chunk(model, n, part, n == len(parts) - 1)) for n, part in enumerate(parts))


@cache
def whole_body(mode: str) -> bytes:
    """The answer of `generateContent`: every part in one candidate."""
    parts = _parts(mode)
    value = _chunk(MODELS[mode], len(parts) - 1, None, True)
    value["candidates"][0]["content"]["parts"] = parts
    return _dump(value)


@cache
def stamped_events(mode: str) -> tuple[tuple[bytes, bytes], ...]:
    """(before, after) the digits of `[<monotonic ns>]` at the head of each chunk's text."""
    model, parts, split = MODELS[mode], _parts(mode), []
    for number, part in enumerate(parts):
        text = event(_chunk(model, number, {"text": f"[@]{part['text']}"}, number == len(parts) - 1))
        before, _, after = text.partition(b"@")
        split.append((before, after))
    return tuple(split)


@cache
def long_events() -> tuple[tuple[bytes, ...], bytes]:
    """(a thousand events that repeat, the last one) of a stream of any length."""
    model = MODELS["long"]
    repeated = tuple(event(_chunk(model, n, {"text": f"{n:03d} {_PIECE}"}, False)) for n in range(1000))
    return repeated, event(_chunk(model, 1000, None, True))
