"""The fault switches of a step, over real HTTP."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from typing import Any

import pytest

MODEL = "gemini-3.8-flash"


def parts(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    return list(chunk["candidates"][0].get("content", {}).get("parts", []))


def finishes(chunks: list[dict[str, Any]]) -> list[str | None]:
    return [row.get("finishReason") for chunk in chunks for row in chunk.get("candidates", [])]


@pytest.mark.parametrize(
    ("spec", "status", "word", "text"),
    [
        (400, 400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
        ({"status": 400, "kind": "key"}, 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        ({"status": 400, "kind": "location"}, 400, "FAILED_PRECONDITION", "User location is not supported"),
        ({"status": 400, "kind": "unknown_field"}, 400, "INVALID_ARGUMENT", "Cannot find field."),
        ({"status": 400, "kind": "missing_signature"}, 400, "INVALID_ARGUMENT", "missing a thought_signature"),
        (401, 401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        (403, 403, "PERMISSION_DENIED", "permission"),
        ({"status": 403, "kind": "leaked"}, 403, "PERMISSION_DENIED", "Your API key was reported as leaked."),
        (404, 404, "NOT_FOUND", f"models/{MODEL} is not found for API version v1beta"),
        ({"status": 404, "kind": "closed"}, 404, "NOT_FOUND", "is no longer available to new users."),
        (408, 408, "DEADLINE_EXCEEDED", ""),
        (429, 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"),
        (500, 500, "INTERNAL", "An internal error has occurred."),
        (503, 503, "UNAVAILABLE", "currently experiencing high demand"),
        ({"status": 503, "kind": "overloaded_2025"}, 503, "UNAVAILABLE", "The model is overloaded."),
        (504, 504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        ({"status": 400, "message": "Own words."}, 400, "INVALID_ARGUMENT", "Own words."),
    ],
)
def test_every_row_of_the_error_table(upstream: Any, say: Any, spec: Any, status: int, word: str, text: str) -> None:
    upstream.server.script({"error": spec})
    got = upstream.stream(MODEL, say("x"))
    error = got.json["error"]
    assert (got.status, error["code"], error["status"]) == (status, status, word)
    assert text in error["message"]
    assert upstream.stream(MODEL, say("x")).status == 200


def quota(upstream: Any, say: Any, spec: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    upstream.server.script({"error": {"status": 429, **spec}})
    error = upstream.unary(MODEL, say("x")).json["error"]
    return error, {row["@type"].rpartition(".")[2]: row for row in error.get("details", [])}


def test_429_per_minute_carries_the_wait(upstream: Any, say: Any) -> None:
    error, details = quota(upstream, say, {"kind": "per-minute", "retry": 34.4})
    assert set(details) == {"Help", "QuotaFailure", "RetryInfo"}
    assert details["RetryInfo"]["retryDelay"] == "34.4s"
    assert error["message"].endswith("Please retry in 34.4s.")
    (violation,) = details["QuotaFailure"]["violations"]
    assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert violation["quotaDimensions"] == {"location": "global", "model": MODEL}


def test_429_per_day_and_short(upstream: Any, say: Any) -> None:
    _, details = quota(upstream, say, {"kind": "per-day"})
    assert "PerDay" in details["QuotaFailure"]["violations"][0]["quotaId"]
    assert "RetryInfo" not in details
    error, details = quota(upstream, say, {"kind": "short"})
    assert error["message"] == "Resource has been exhausted (e.g. check quota)."
    assert details == {}


def test_cut_after_ends_without_finish(upstream: Any, say: Any) -> None:
    upstream.server.script({"cut_after": 2, "chunks": 5, "text": "a text in five chunks"})
    got = upstream.stream(MODEL, say("x"))
    assert len(got.chunks) == 2
    assert finishes(got.chunks) == [None, None]


def test_cut_array_and_cut_unary_are_broken_json(upstream: Any, say: Any) -> None:
    upstream.server.script({"cut_after": 1, "times": 2})
    for method in ("streamGenerateContent", "generateContent"):
        got = upstream.unary(MODEL, say("x"), method)
        with pytest.raises(json.JSONDecodeError):
            json.loads(got.raw)


def test_reset_in_the_middle_of_a_chunk(upstream: Any, say: Any) -> None:
    upstream.server.script({"reset_after": 1, "chunks": 4, "text": "four chunks of text"})
    body = json.dumps(say("x")).encode()
    with socket.create_connection((upstream.server.host, upstream.server.port), timeout=5) as raw:
        head = f"POST /v1beta/models/{MODEL}:streamGenerateContent?alt=sse HTTP/1.1\r\nhost: x\r\nx-goog-api-key: k\r\n"
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        seen = b""
        with pytest.raises(ConnectionResetError):
            while data := raw.recv(65536):
                seen += data
            raise AssertionError("closed without a reset")
    assert seen.count(b"\r\n\r\n") >= 2  # headers and one whole event
    assert seen.count(b"data: ") == 2
    assert b"finishReason" not in seen


def test_reset_of_a_unary_answer(upstream: Any, say: Any) -> None:
    upstream.server.script({"reset_after": 0})
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        upstream.unary(MODEL, say("x"))


ERROR_FORMS = {
    "bare": ('\r\n\r\n{\n  "error": {\n    "code": 503,', "}"),
    "data": ('\r\n\r\ndata: {"error": {"code": 503,', "\r\n\r\n"),
    "array": ('\r\n\r\n[{\n  "error": {', "]"),
}


@pytest.mark.parametrize("form", ERROR_FORMS)
def test_error_after_chunks(upstream: Any, say: Any, form: str) -> None:
    upstream.server.script({"error_after": {"chunks": 2, "form": form}, "chunks": 4, "text": "some more text here"})
    got = upstream.stream(MODEL, say("x"))
    begin, end = ERROR_FORMS[form]
    assert got.status == 200
    text = got.raw.decode()
    assert begin in text
    assert text.endswith(end)
    assert text.count('"candidates"') == 2
    assert "finishReason" not in text


def test_error_after_the_stop_chunk(upstream: Any, say: Any) -> None:
    upstream.server.script({"error_after": {"after_stop": True, "status": 500}})
    text = upstream.stream(MODEL, say("x")).raw.decode()
    assert text.index('"finishReason": "STOP"') < text.index('"code": 500')


def test_error_in_an_array_stream_keeps_the_array(upstream: Any, say: Any) -> None:
    upstream.server.script({"error_after": {"chunks": 1}})
    rows = upstream.unary(MODEL, say("x"), "streamGenerateContent").json
    assert [next(iter(row)) for row in rows] == ["candidates", "error"]


def first_bytes_and_total(upstream: Any, body: Any) -> tuple[float, float]:
    connection = http.client.HTTPConnection(upstream.server.host, upstream.server.port, timeout=10)
    started = time.monotonic()
    path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    connection.request("POST", path, json.dumps(body), {"x-goog-api-key": "k"})
    response = connection.getresponse()
    response.read(1)
    first = time.monotonic() - started
    response.read()
    connection.close()
    return first, time.monotonic() - started


def test_pace_and_silence(upstream: Any, say: Any) -> None:
    upstream.server.script({"pace_ms": 60, "chunks": 3, "text": "abc"}, {"silence_ms": 150, "text": "abc"})
    first, total = first_bytes_and_total(upstream, say("x"))
    assert first < 0.06 < 0.17 < total
    first, _ = first_bytes_and_total(upstream, say("x"))
    assert first >= 0.15


def test_silence_in_the_middle(upstream: Any, say: Any) -> None:
    upstream.server.script({"silence_after": {"chunks": 1, "ms": 120}, "chunks": 3, "text": "abc"})
    first, total = first_bytes_and_total(upstream, say("x"))
    assert total - first >= 0.11


def test_a_client_that_leaves_is_noted(upstream: Any, say: Any) -> None:
    upstream.server.script({"pace_ms": 50, "chunks": 20, "text": "a text of twenty parts"})
    connection = http.client.HTTPConnection(upstream.server.host, upstream.server.port, timeout=5)
    path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    connection.request("POST", path, json.dumps(say("x")), {"x-goog-api-key": "k"})
    response = connection.getresponse()
    response.read(10)
    response.close()
    connection.close()
    deadline = time.monotonic() + 3
    while not upstream.server.requests[-1]["disconnected"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


BLOCKED = ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "NO_IMAGE",
           "OTHER", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "PUP_LIMITED_DISABLED"]  # fmt: skip


@pytest.mark.parametrize("finish", BLOCKED)
@pytest.mark.parametrize("words", ["", "some text first"])
def test_finish_reasons(upstream: Any, say: Any, finish: str, words: str) -> None:
    upstream.server.script({"finish": finish} | ({"text": words} if words else {}))
    chunks = upstream.stream(MODEL, say("x")).chunks
    assert finishes(chunks)[-1] == finish
    assert "".join(part.get("text", "") for chunk in chunks for part in parts(chunk)) == words
    if not words:
        assert chunks[-1]["candidates"][0]["content"] == {}
    if finish == "SAFETY":
        assert chunks[-1]["candidates"][0]["safetyRatings"][0]["blocked"] is True


def test_malformed_function_call_in_its_three_forms(upstream: Any, say: Any) -> None:
    why = "MALFORMED_FUNCTION_CALL"
    upstream.server.script(
        {"finish": why}, {"finish": why, "finish_message": None}, {"finish": why, "call": {"name": "f"}}
    )
    with_message, without, with_call = (upstream.unary(MODEL, say("x")).candidate for _ in range(3))
    assert with_message["content"] == {}
    assert with_message["finishMessage"].startswith("Malformed function call: print(default_api.")
    assert "finishMessage" not in without
    assert with_call["content"]["parts"][0]["functionCall"]["name"] == "f"
    assert with_call["finishReason"] == why


def test_blocked_prompt(upstream: Any, say: Any) -> None:
    upstream.server.script({"block": "PROHIBITED_CONTENT"})
    (chunk,) = upstream.stream(MODEL, say("x")).chunks
    assert list(chunk) == ["promptFeedback", "usageMetadata", "modelVersion", "responseId"]
    assert chunk["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert chunk["usageMetadata"]["totalTokenCount"] == chunk["usageMetadata"]["promptTokenCount"]


@pytest.mark.parametrize(("shape", "content"), [("no_parts", {"role": "model"}), ("empty_content", {})])
def test_empty_stops(upstream: Any, say: Any, shape: str, content: dict[str, Any]) -> None:
    upstream.server.script({"empty": shape})
    (chunk,) = upstream.stream(MODEL, say("x")).chunks
    assert chunk["candidates"][0] == {"content": content, "finishReason": "STOP", "index": 0}


def test_signature_only(upstream: Any, say: Any) -> None:
    upstream.server.script({"empty": "signature_only"})
    (chunk,) = upstream.stream(MODEL, say("x")).chunks
    (part,) = parts(chunk)
    assert part.pop("thoughtSignature")
    assert part == {"text": ""}


def test_usage_switches(upstream: Any, say: Any) -> None:
    upstream.server.script({"usage": "missing"}, {"usage": "only_chunk"}, {"usage": {"cachedContentTokenCount": 1}})
    missing, only, changed = (upstream.stream(MODEL, say("x")).chunks for _ in range(3))
    assert not any("usageMetadata" in chunk for chunk in missing)
    assert "candidates" not in only[-1]
    assert only[-1]["usageMetadata"] == only[-2]["usageMetadata"]
    assert changed[-1]["usageMetadata"]["cachedContentTokenCount"] == 1


@pytest.mark.parametrize("field", ["index", "candidatesTokenCount", "responseId", "role"])
def test_dropped_fields(upstream: Any, say: Any, field: str) -> None:
    assert field.encode() in upstream.stream(MODEL, say("x")).raw
    upstream.server.script({"drop": [field]})
    assert field.encode() not in upstream.stream(MODEL, say("x")).raw


def test_dropped_args(upstream: Any, say: Any) -> None:
    upstream.server.script({"call": {"name": "f", "args": {"args": 1}}, "drop": ["args"]})
    call = parts(upstream.stream(MODEL, say("x")).chunks[0])[0]["functionCall"]
    assert set(call) == {"name", "id"}


def test_doubled_and_late_finish(upstream: Any, say: Any) -> None:
    upstream.server.script({"doubled_finish": True}, {"late_finish": True})
    doubled, late = (upstream.stream(MODEL, say("x")).chunks for _ in range(2))
    assert finishes(doubled) == [None, "STOP", "STOP"]
    assert finishes(late) == [None, None, "STOP"]
    assert "candidates" not in late[-2]


def test_awkward_writes_keep_the_meaning(upstream: Any, say: Any) -> None:
    upstream.server.script({"awkward": True, "text": "héllo wörld", "chunks": 1})
    body = json.dumps(say("x")).encode()
    with socket.create_connection((upstream.server.host, upstream.server.port), timeout=5) as raw:
        head = f"POST /v1beta/models/{MODEL}:streamGenerateContent?alt=sse HTTP/1.1\r\nhost: x\r\nx-goog-api-key: k\r\n"
        raw.sendall(f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        seen = b""
        while data := raw.recv(65536):
            seen += data
    pieces = []
    rest = seen.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    assert b"dat" in pieces
    assert any(piece.endswith(b"\r") for piece in pieces)
    assert any(piece.endswith(b"\xc3") for piece in pieces)
    events = b"".join(pieces).decode().split("\r\n\r\n")
    text = "".join(part["text"] for event in events[:-1] for part in parts(json.loads(event[6:])))
    assert text.startswith("héllo wörld")
    assert "\u2028" in b"".join(pieces).decode()
    assert "\u0085" in b"".join(pieces).decode()


def test_model_version_switch(upstream: Any, say: Any) -> None:
    upstream.server.script({"model_version": "models/gemini-9"})
    assert upstream.unary(MODEL, say("x")).json["modelVersion"] == "models/gemini-9"


# what stands between the client and Google


def test_a_connection_that_is_reset_before_it_answers(upstream: Any, say: Any) -> None:
    upstream.server.script({"hang_up": True}, {"hang_up": True, "match": {"method": "countTokens"}})
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        upstream.stream(MODEL, say("x"))
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        upstream.send("POST", f"/v1beta/models/{MODEL}:countTokens", say("x"))
    assert upstream.stream(MODEL, say("x")).status == 200


def test_any_bytes_as_the_whole_answer(upstream: Any, say: Any) -> None:
    html = {"status": 502, "type": "text/html", "body": "<p>", "repeat": 3, "headers": {"Retry-After": "7"}}
    upstream.server.script({"raw": html}, {"raw": {"gzip": True, "body": "{}"}}, {"raw": {}})
    got = upstream.stream(MODEL, say("x"))
    assert (got.status, got.raw, got.headers["content-type"], got.headers["retry-after"]) == (
        502,
        b"<p><p><p>",
        "text/html",
        "7",
    )
    packed = upstream.unary(MODEL, say("x"))
    assert (packed.headers["content-encoding"], gzip.decompress(packed.raw)) == ("gzip", b"{}")
    empty = upstream.unary(MODEL, say("x"))
    assert (empty.status, empty.raw) == (200, b"")


def test_garbage_in_the_middle_of_a_stream(upstream: Any, say: Any) -> None:
    upstream.server.script(
        {"text": "a b c d", "chunks": 4, "garbage_after": {"chunks": 2, "text": "data: {{\r\n\r\n"}},
        {"text": "a b c d", "chunks": 4, "garbage_after": {}},
    )
    events = upstream.stream(MODEL, say("x")).raw.split(b"\r\n\r\n")
    assert [json.loads(event[6:]) for event in events[:2]]
    assert events[2:] == [b"data: {{", b""]
    assert upstream.stream(MODEL, say("x")).raw.endswith(b'data: {"candidates": [{"con\n\n')
