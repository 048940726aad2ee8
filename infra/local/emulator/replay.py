"""Recorded exchanges played back byte for byte.

A folder of JSON files, one exchange each: `request {method, path, query, body}` and `response {status, headers, body |
body_text | body_base64 | stream[], framing, raw}`. A request with the same method, path, `alt` and normalised body as
a recorded one gets the recorded status, headers and bytes.
"""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.emulator import framing, parsing
from infra.local.emulator.errors import Refusal

type Json = dict[str, Any]

# Headers that describe the recorded transport, not the answer.
TRANSPORT = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection", "date", "alt-svc"})

ROOT_MESSAGE = {
    "generateContent": "GenerateContentRequest",
    "streamGenerateContent": "GenerateContentRequest",
    "countTokens": "CountTokensRequest",
    "embedContent": "EmbedContentRequest",
    "batchEmbedContents": "BatchEmbedContentsRequest",
    "predict": "PredictRequest",
}


@dataclass(frozen=True, slots=True)
class Recording:
    status: int
    headers: list[tuple[bytes, bytes]]
    blocks: list[bytes]
    name: str


def normalised(method: str, body: Any) -> str:
    """A key that spelling, field order and unset fields do not change."""
    message = ROOT_MESSAGE.get(method)
    if message and isinstance(body, dict):
        with contextlib.suppress(Refusal):  # a body the parser refuses is compared as it was written
            body = parsing.parse(message, body)
        body = {key: value for key, value in body.items() if key != "model" and value not in ({}, [])}
    return json.dumps(body, sort_keys=True)


class Recordings:
    """The exchanges of a folder, looked up by (path after the version, alt, normalised body)."""

    def __init__(self, folder: Path) -> None:
        self._rows: dict[tuple[str, str, str, str], Recording] = {}
        for file in sorted(folder.rglob("*.json")):
            self._add(json.loads(file.read_text("utf-8")), file.name)

    def __len__(self) -> int:
        return len(self._rows)

    def _add(self, exchange: Json, name: str) -> None:
        request, response = exchange.get("request"), exchange.get("response")
        if not request or not response or "/models" not in request.get("path", ""):
            return
        body = request.get("body")
        if body is None and request.get("body_text"):
            body = json.loads(request["body_text"])
        key = _key(request["method"].upper(), request["path"], (request.get("query") or {}).get("alt", ""), body or {})
        self._rows.setdefault(key, _recording(response, name))

    def find(self, method: str, path: str, alt: str, body: Any) -> Recording | None:
        return self._rows.get(_key(method, path, alt, body))


def _key(method: str, path: str, alt: str, body: Any) -> tuple[str, str, str, str]:
    alt = alt if isinstance(alt, str) else (alt or [""])[0]
    tail = path.rsplit("/models", 1)[1]
    return method, tail, alt if alt == "sse" else "", normalised(tail.rpartition(":")[2], body)


def _recording(response: Json, name: str) -> Recording:
    headers = [
        (key.encode(), str(value).encode())
        for key, value in (response.get("headers") or {}).items()
        if key not in TRANSPORT and not str(value).startswith("X-")
    ]
    return Recording(response["status"], headers, _blocks(response), name)


def _blocks(response: Json) -> list[bytes]:
    frames = response.get("framing") or {}
    if response.get("raw"):
        return [response["raw"].encode()]
    if "stream" in response:
        end = "\n" if frames.get("line_end") == "LF" else "\r\n"
        events = frames.get("events") or [None] * len(response["stream"])
        return [
            ((f"event: {event}{end}" if event else "") + f"data: {data}{end}{end}").encode()
            for event, data in zip(events, response["stream"], strict=False)
        ]
    if "body_base64" in response:
        return [base64.b64decode(response["body_base64"])]
    if "body_text" in response:
        return [response["body_text"].encode()]
    body = response.get("body")
    if frames.get("json_array") and isinstance(body, list):
        return framing.array(body)
    return [framing.unary(body)] if body is not None else [b""]
