"""The upstream client against a server that decides every byte on the wire."""

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from shared.errors import GatewayError
from shared.gemini.client import GeminiClient, RelayCall
from shared.gemini.timeouts import Timeouts

KEY = "AIzaSyTest-0123456789"
CHUNK = {"candidates": [{"content": {"parts": [{"text": "a\u2028b\u0085"}]}}], "modelVersion": "m"}
LAST = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1}}

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"


def answer(body: bytes, status: str = "200 OK", kind: str = "text/event-stream", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{extra}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Upstream:
    """Answers every request with the bytes, or by the coroutine, that the test sets."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, list[str]], bytes]] = []
        self.reply: bytes | Reply = answer(event(CHUNK) + event(LAST))
        self.connections = 0
        self.closed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if task := asyncio.current_task():
            self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.strip().split("\r\n")
                headers: dict[str, list[str]] = {}
                for field in fields:
                    name, _, value = field.partition(":")
                    headers.setdefault(name.lower(), []).append(value.strip())
                body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
                self.requests.append((line, headers, body))
                if isinstance(self.reply, bytes):
                    writer.write(self.reply)
                    await writer.drain()
                else:
                    await self.reply(writer)
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self.closed.set()
            writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[GeminiClient]:
    made = GeminiClient(upstream.url, timeouts=Timeouts(first_byte=0.3, first_byte_thinking=0.9, idle=0.3))
    yield made
    await made.aclose()


async def collect(client: GeminiClient, model: str = "gemini-x", **options: Any) -> list[Any]:
    async with client.stream(model, {"contents": []}, KEY, **options) as stream:
        return [chunk async for burst in stream for chunk in burst]


async def failure(client: GeminiClient, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await collect(client, **options)
    return caught.value


async def test_a_stream_is_read_to_its_end(upstream: Upstream, client: GeminiClient) -> None:
    assert await collect(client) == [CHUNK, LAST]


async def test_the_first_chunk_waits_for_none_of_those_that_came_with_it(
    upstream: Upstream, client: GeminiClient
) -> None:
    upstream.reply = answer(event(CHUNK) + event(CHUNK) + event(LAST))
    async with client.stream("m", {}, KEY) as stream:
        assert [burst async for burst in stream] == [[CHUNK], [CHUNK, LAST]]


async def test_what_came_whole_before_a_fault_is_delivered_first(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = answer(event(CHUNK) + event(CHUNK) + b"data: {\r\n\r\n" + event(LAST))
    async with client.stream("m", {}, KEY) as stream:
        assert [await anext(stream), await anext(stream)] == [[CHUNK], [CHUNK]]
        with pytest.raises(GatewayError) as caught:
            await anext(stream)
    assert caught.value.kind == "upstream_invalid_response"


async def test_the_request_is_plain_and_carries_one_credential(upstream: Upstream, client: GeminiClient) -> None:
    await collect(client, deadline_s=42.7)
    line, headers, body = upstream.requests[0]
    assert line == "POST /v1beta/models/gemini-x:streamGenerateContent?alt=sse HTTP/1.1"
    assert headers["x-goog-api-key"] == [KEY]
    assert headers["accept-encoding"] == ["identity"]
    assert headers["x-server-timeout"] == ["42"]
    assert headers["content-type"] == ["application/json"]
    assert not headers.keys() & {"authorization", "cookie", "x-api-key"}
    assert body == b'{"contents":[]}'


async def test_bytes_go_out_as_they_are_and_text_as_utf8(upstream: Upstream, client: GeminiClient) -> None:
    async with client.stream("m", b'{"a" : 1}', KEY):
        pass
    async with client.stream("m", {"a": "ü"}, KEY):
        pass
    assert [body for _, _, body in upstream.requests] == [b'{"a" : 1}', '{"a":"ü"}'.encode()]


async def test_the_version_is_not_doubled(upstream: Upstream) -> None:
    client = GeminiClient(f"{upstream.url}/v1alpha/")
    await collect(client)
    await client.aclose()
    assert upstream.requests[0][0].startswith("POST /v1alpha/models/gemini-x:")


async def test_connections_are_reused(upstream: Upstream, client: GeminiClient) -> None:
    for _ in range(3):
        await collect(client)
    assert upstream.connections == 1


async def test_leaving_early_frees_the_connection(upstream: Upstream, client: GeminiClient) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = event(CHUNK)
        while True:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    upstream.reply = endless
    async with client.stream("m", {}, KEY) as stream:
        async for burst in stream:
            assert burst[0] == CHUNK
            break
    async with asyncio.timeout(2):
        await upstream.closed.wait()


async def test_the_first_chunk_is_there_before_the_second_is_sent(upstream: Upstream, client: GeminiClient) -> None:
    gate = asyncio.Event()

    async def paced(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event(CHUNK))
        await gate.wait()
        writer.write(event(LAST))

    upstream.reply = paced
    async with client.stream("m", {}, KEY) as stream:
        assert await anext(stream) == [CHUNK]
        gate.set()
        assert [burst async for burst in stream] == [[LAST]]


async def test_the_served_tier_is_told(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = answer(event(LAST), extra="x-gemini-service-tier: STANDARD\r\n")
    async with client.stream("m", {}, KEY) as stream:
        assert stream.service_tier == "standard"


@pytest.mark.parametrize(
    "model", ["", "..", ".", "a/b", "a?b", "a#b", "a b", "a%2f", "../../x", "m" * 101, "models/x", "ä"]
)
async def test_names_that_would_change_the_url_are_refused(
    upstream: Upstream, client: GeminiClient, model: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        await collect(client, model)
    assert caught.value.kind == "model_not_found"
    assert upstream.requests == []


@pytest.mark.parametrize("key", ["", "a b", "a\r\nx: y", "ä", "a\0"])
async def test_a_malformed_credential_is_never_sent(upstream: Upstream, client: GeminiClient, key: str) -> None:
    with pytest.raises(GatewayError) as caught:
        async with client.stream("m", {}, key):
            pass
    assert caught.value.kind == "upstream_auth"
    assert upstream.requests == []
    assert key == "" or key not in str(caught.value)


ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("503 Service Unavailable", ERROR, "upstream_overloaded"),
        ("429 Too Many Requests", {"error": {"code": 429, "message": "x"}}, "upstream_rate_limited"),
        ("400 Bad Request", {"error": {"code": 400, "message": "API key not valid."}}, "upstream_auth"),
        ("404 Not Found", {"error": {"code": 404, "message": "models/m is not found"}}, "model_not_found"),
    ],
)
async def test_a_refusal_keeps_its_kind(
    upstream: Upstream, client: GeminiClient, status: str, body: Any, kind: str
) -> None:
    upstream.reply = answer(json.dumps(body).encode(), status)
    assert (await failure(client)).kind == kind


async def test_redirects_are_not_followed(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = answer(b"", "302 Found", extra=f"location: {upstream.url}/elsewhere\r\n")
    assert (await failure(client)).kind == "upstream_invalid_response"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(b""), "upstream_invalid_response"),
        (answer(b": only a comment\n\n"), "upstream_invalid_response"),
        (answer(b"data: {broken\r\n\r\n"), "upstream_invalid_response"),
        (answer(b"data: [1]\r\n\r\n"), "upstream_invalid_response"),
        (answer(b"data: \xff\r\n\r\n"), "upstream_invalid_response"),
        (answer(json.dumps(CHUNK).encode(), kind="application/json"), "upstream_invalid_response"),
        (answer(b"<html>", kind="text/html"), "upstream_invalid_response"),
        (answer(event(ERROR)), "upstream_overloaded"),
        (answer(json.dumps(ERROR, indent=2).encode()), "upstream_overloaded"),
        (answer(json.dumps([ERROR], indent=2).encode()), "upstream_overloaded"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99\r\n\r\ndata: {",
            "upstream_unreachable",
        ),
        (b"nonsense\r\n\r\n", "upstream_unreachable"),
    ],
)
async def test_replies_that_fail_before_their_first_event(
    upstream: Upstream, client: GeminiClient, reply: bytes, kind: str
) -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()

    upstream.reply = once
    assert (await failure(client)).kind == kind


async def test_a_later_error_is_left_to_the_reader(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = answer(event(CHUNK) + json.dumps(ERROR, indent=2).encode())
    assert await collect(client) == [CHUNK, ERROR]


@pytest.mark.parametrize("abort", [True, False])
async def test_a_stream_that_breaks_is_an_interruption(upstream: Upstream, client: GeminiClient, abort: bool) -> None:
    async def broken(writer: asyncio.StreamWriter) -> None:
        piece = event(CHUNK)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        if abort:
            writer.transport.abort()

    upstream.reply = broken
    seen: list[Any] = []
    with pytest.raises(GatewayError) as caught:
        async with client.stream("m", {}, KEY) as stream:
            async for burst in stream:
                seen += burst
    assert caught.value.kind == "upstream_interrupted"
    assert seen == [CHUNK]


async def test_nobody_listens() -> None:
    client = GeminiClient("http://127.0.0.1:1")
    assert (await failure(client)).kind == "upstream_unreachable"
    await client.aclose()


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def stalling(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event(CHUNK))
    await writer.drain()
    await asyncio.sleep(5)


@pytest.mark.parametrize(
    ("reply", "options", "seconds"),
    [
        (silent, {}, 0.3),
        (silent, {"thinking": True}, 0.9),
        (silent, {"thinking": True, "deadline_s": 0.2}, 0.2),
        (stalling, {}, 0.3),
        (stalling, {"deadline_s": 0.1}, 0.1),
    ],
)
async def test_silence_ends_in_time(
    upstream: Upstream, client: GeminiClient, reply: Reply, options: dict[str, Any], seconds: float
) -> None:
    upstream.reply = reply
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await failure(client, **options)).kind == "upstream_timeout"
    assert seconds * 0.9 <= loop.time() - began < seconds + 0.5


async def test_the_callers_own_time_is_not_the_upstreams(upstream: Upstream, client: GeminiClient) -> None:
    async with client.stream("m", {}, KEY) as stream:
        await asyncio.sleep(0.5)
        assert [chunk async for burst in stream for chunk in burst] == [CHUNK, LAST]


async def test_compression_that_nobody_asked_for_is_undone(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = answer(gzip.compress(event(CHUNK)), extra="content-encoding: gzip\r\n")
    assert await collect(client) == [CHUNK]
    upstream.reply = answer(b"no gzip at all", extra="content-encoding: gzip\r\n")
    assert (await failure(client)).kind in ("upstream_unreachable", "upstream_invalid_response")


async def test_plain_calls(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = answer(b'{"totalTokens": 3}', kind="application/json")
    assert await client.call("countTokens", "m", {"contents": []}, KEY) == {"totalTokens": 3}
    assert upstream.requests[0][0] == "POST /v1beta/models/m:countTokens HTTP/1.1"
    assert upstream.requests[0][1]["x-goog-api-key"] == [KEY]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(b"[]", kind="application/json"), "upstream_invalid_response"),
        (answer(b"", kind="application/json"), "upstream_invalid_response"),
        (answer(json.dumps(ERROR).encode(), "503 x", "application/json"), "upstream_overloaded"),
        (answer(json.dumps(ERROR).encode(), "200 OK", "application/json"), "upstream_overloaded"),
        (answer(b"x" * 3_000_000, "500 x", "text/html"), "upstream_internal"),
    ],
)
async def test_plain_calls_that_fail(upstream: Upstream, client: GeminiClient, reply: bytes, kind: str) -> None:
    upstream.reply = reply
    with pytest.raises(GatewayError) as caught:
        await client.call("countTokens", "m", {}, KEY)
    assert caught.value.kind == kind


async def test_a_plain_reply_that_is_too_large(
    upstream: Upstream, client: GeminiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.gemini.client.MAX_EVENT_BYTES", 18)
    upstream.reply = answer(b'{"totalTokens": 3}', kind="application/json")
    assert await client.call("countTokens", "m", {}, KEY) == {"totalTokens": 3}
    upstream.reply = answer(b'{"totalTokens": 31}', kind="application/json")
    with pytest.raises(GatewayError, match="too large"):
        await client.call("countTokens", "m", {}, KEY)


async def test_a_method_cannot_change_the_url(upstream: Upstream, client: GeminiClient) -> None:
    with pytest.raises(GatewayError):
        await client.call("x?key=1", "m", {}, KEY)
    assert upstream.requests == []


async def test_nothing_secret_is_logged(
    upstream: Upstream, client: GeminiClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await collect(client)
        upstream.reply = answer(json.dumps({"error": {"code": 400, "message": f"bad {KEY}"}}).encode(), "400 x")
        error = await failure(client)
    assert KEY not in caplog.text
    assert KEY not in repr(error)
    assert not re.search(r"https?://", caplog.text)


async def headed(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.2)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(5)


async def test_the_head_and_the_first_event_share_one_wait(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = headed
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await failure(client)).kind == "upstream_timeout"
    assert loop.time() - began < 0.2 + 0.3
    began = loop.time()
    with pytest.raises(GatewayError) as caught:
        async with client.relay(RelayCall("models/m:streamGenerateContent", b"{}"), KEY) as reply:
            async for _ in reply.pieces:
                pass
    assert caught.value.kind == "upstream_timeout"
    assert loop.time() - began < 0.2 + 0.3


async def late(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.5)
    writer.write(answer(b'{"late": 1}', kind="application/json"))
    await writer.drain()


async def test_a_long_answer_in_one_piece_has_a_patience_of_its_own(upstream: Upstream, client: GeminiClient) -> None:
    upstream.reply = late
    assert await client.call("generateContent", "m", {}, KEY, patient=True) == {"late": 1}
    with pytest.raises(GatewayError) as caught:
        await client.call("generateContent", "m", {}, KEY)
    assert caught.value.kind == "upstream_timeout"


async def test_a_model_that_fails_every_time_is_left_alone_and_the_others_are_not(upstream: Upstream) -> None:
    client = GeminiClient(upstream.url, breaker_failures=3)
    upstream.reply = answer(json.dumps(ERROR).encode(), "503 Service Unavailable", kind="application/json")

    async def plain() -> None:
        await client.call("countTokens", "m", {}, KEY)

    async def relayed() -> None:
        async with client.relay(RelayCall("models/m:generateContent", b"{}"), KEY):
            pass

    for attempt in (plain, relayed):
        with pytest.raises(GatewayError):
            await attempt()
    assert (await failure(client, model="m")).reason != "circuit_open"
    for attempt in (plain, relayed):
        with pytest.raises(GatewayError) as refused:
            await attempt()
        assert refused.value.reason == "circuit_open"
        assert 9 < (refused.value.retry_after or 0) <= 30
    assert (await failure(client, model="m")).reason == "circuit_open"
    assert len(upstream.requests) == 3
    upstream.reply = answer(event(CHUNK))
    assert await collect(client, "other") == [CHUNK]
    await client.aclose()
