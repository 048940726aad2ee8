"""Bytes on the wire: SSE, the JSON array, unary JSON, headers, errors."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

MODEL = "gemini-3.8-flash"
ARRAY = f"/v1beta/models/{MODEL}:streamGenerateContent"


def test_sse_is_one_data_line_per_event_with_crlf(upstream: Any, say: Any) -> None:
    got = upstream.stream(MODEL, say("hello"))
    assert got.headers["content-type"] == "text/event-stream"
    assert got.headers["content-disposition"] == "attachment"
    assert "content-encoding" not in got.headers
    first, second, rest = got.raw.split(b"\r\n\r\n")
    assert rest == b""
    assert b"[DONE]" not in got.raw
    assert first.startswith(b'data: {"candidates": [{"content": {"parts": [{"text": "Echo: hello"}],"role": "model"},')
    assert b"\n" not in first
    assert b"\n" not in second


def test_angle_brackets_are_escaped_and_line_separators_are_not(upstream: Any) -> None:
    upstream.server.script({"text": "<b>\u2028\u0085é"})
    raw = upstream.stream(MODEL, {"contents": [{"parts": [{"text": "x"}]}]}).raw
    assert "\\u003cb\\u003e\u2028\u0085é".encode() in raw


def test_array_form(upstream: Any, say: Any) -> None:
    got = upstream.send("POST", ARRAY, say("hello"))
    assert got.headers["content-type"] == "application/json; charset=UTF-8"
    text = got.raw.decode()
    assert text.startswith('[{\n  "candidates": [\n    {\n')
    assert "\n}\n,\r\n{\n" in text
    assert text.endswith("\n}\n]")
    assert [row["modelVersion"] for row in json.loads(text)] == [MODEL, MODEL]


def test_array_form_and_sse_say_the_same(upstream: Any, say: Any) -> None:
    def bare(rows: list[Any]) -> list[Any]:
        return [row["candidates"][0]["content"]["parts"][0]["text"] for row in rows]

    body = say("a text of some length " * 10)
    assert bare(upstream.send("POST", ARRAY, body).json) == bare(upstream.stream(MODEL, body).chunks)


def test_unary_is_indented_by_two(upstream: Any, say: Any) -> None:
    got = upstream.unary(MODEL, say("hello"))
    assert got.raw.decode() == json.dumps(got.json, indent=2, ensure_ascii=False) + "\n"


def test_unary_is_gzipped_when_asked(upstream: Any, say: Any) -> None:
    headers = {"x-goog-api-key": "k", "accept-encoding": "gzip, deflate"}
    got = upstream.send("POST", f"/v1beta/models/{MODEL}:generateContent", say("hello"), headers)
    assert got.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(got.raw))["modelVersion"] == MODEL
    stream = upstream.send("POST", f"{ARRAY}?alt=sse", say("hello"), headers)
    assert "content-encoding" not in stream.headers


def test_response_headers(upstream: Any, say: Any) -> None:
    headers = upstream.unary(MODEL, say("hello")).headers
    assert headers["vary"] == "Origin, X-Origin, Referer"
    assert headers["server-timing"].startswith("gfet4t7; dur=")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-xss-protection"] == "0"
    assert headers["x-gemini-service-tier"] == "standard"
    assert not {name for name in headers if "request-id" in name or "ratelimit" in name}


@pytest.mark.parametrize(
    ("path", "content_type", "first"),
    [
        (f"/v1beta/models/{MODEL}:generateContent", "application/json; charset=UTF-8", "{"),
        (f"{ARRAY}?alt=sse", "text/event-stream", "{"),
        (ARRAY, "application/json; charset=UTF-8", "["),
    ],
)
def test_errors_before_the_first_chunk(upstream: Any, path: str, content_type: str, first: str) -> None:
    got = upstream.send("POST", path, {})
    assert got.status == 400
    assert got.headers["content-type"] == content_type
    assert got.raw.decode()[0] == first
    error = got.json[0]["error"] if first == "[" else got.json["error"]
    assert error["message"] == "* GenerateContentRequest.contents: contents is not specified\n"


@pytest.mark.parametrize("tier", ["standard", "flex", "priority", "PRIORITY"])
def test_service_tier_is_served_and_reported(upstream: Any, say: Any, tier: str) -> None:
    got = upstream.unary(MODEL, say("x", serviceTier=tier))
    assert got.headers["x-gemini-service-tier"] == got.json["usageMetadata"]["serviceTier"] == tier.lower()


def test_priority_can_be_downgraded(upstream: Any, say: Any) -> None:
    upstream.server.script({"service_tier": "standard"})
    got = upstream.unary(MODEL, say("x", serviceTier="priority"))
    assert got.headers["x-gemini-service-tier"] == "standard"
