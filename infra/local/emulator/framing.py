"""Chunks -> bytes, as the upstream writes them: SSE with CRLF, the JSON array, and indented unary JSON."""

from __future__ import annotations

import itertools
import json
from typing import Any

type Json = dict[str, Any]


def _escape(text: str) -> str:
    """The upstream escapes angle brackets and nothing else beyond JSON; U+2028 and U+0085 go out as they are."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def compact(value: Any) -> str:
    """One line, a space after colons and none after commas."""
    return _escape(json.dumps(value, ensure_ascii=False, separators=(",", ": ")))


def pretty(value: Any) -> str:
    return _escape(json.dumps(value, ensure_ascii=False, indent=2))


def sse(chunk: Json) -> bytes:
    return f"data: {compact(chunk)}\r\n\r\n".encode()


def array(chunks: list[Json]) -> list[bytes]:
    """The writes of an array stream: `[{...}`, `,\\r\\n{...}` ..., `]`."""
    out = [("[" if i == 0 else ",\r\n").encode() + f"{pretty(chunk)}\n".encode() for i, chunk in enumerate(chunks)]
    return [*out, b"]"] if out else [b"[]"]


def unary(body: Json) -> bytes:
    return f"{pretty(body)}\n".encode()


def awkward(data: bytes) -> list[bytes]:
    """One SSE event in pieces: inside `data:`, inside every multi-byte character, and between CR and LF."""
    cuts = {3} if data.startswith(b"data:") else set()
    cuts |= {i for i in range(1, len(data)) if data[i] & 0xC0 == 0x80}
    cuts |= {i for i in range(1, len(data)) if data[i - 1 : i + 1] == b"\r\n"}
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
