"""Our side of the Runtime API's HTTP/1.1, with h11 as the judge of what we send and the maker of what we read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lambda_runtime.connection import Answer, RuntimeApiError, RuntimeConnection
from shared.lambda_runtime.http_head import encoded_head

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """Answers each request that h11 finds whole with the next of ``answers``, in pieces of ``step`` bytes."""

    def __init__(self, answers: list[bytes], step: int, *, keeps: bool) -> None:
        self.requests: list[tuple[h11.Request, list[bytes], list[tuple[bytes, bytes]]]] = []
        self.connections = 0
        self._answers = answers
        self._step = step
        self._keeps = keeps

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while self._answers and await self._request(reader):
            answer = self._answers.pop(0)
            for start in range(0, len(answer), self._step):
                writer.write(answer[start : start + self._step])
                await writer.drain()
                await asyncio.sleep(0)
            if not self._keeps:
                break
        writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        http, chunks = h11.Connection(h11.SERVER), list[bytes]()
        head: h11.Request | None = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                self.requests.append((head, chunks, list(event.headers)))
                return True
            else:
                return False


@asynccontextmanager
async def talking(
    answers: list[bytes], step: int = 1_000, *, keeps: bool = True
) -> AsyncIterator[tuple[RuntimeConnection, Peer]]:
    peer = Peer(answers, step, keeps=keeps)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = RuntimeConnection(f"127.0.0.1:{port}")
    try:
        yield connection, peer
    finally:
        await connection.close()
        server.close()


async def asked(answer: bytes, step: int = 1_000) -> Answer:
    async with talking([answer], step) as (connection, _):
        return await connection.request("GET", "/next")


@pytest.mark.parametrize("step", [1, 7, 1_000])
@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n03 ;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\nA: b\r\n\r\n", b"0123456789"),
        (b"HTTP/1.1 200 OK\r\n\r\nas long as it lasts", b"as long as it lasts"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
    ],
)
async def test_bodies_of_every_form(raw: bytes, body: bytes, step: int) -> None:
    assert (await asked(raw, step)).body == body


async def test_header_names_are_lower_case_and_values_are_trimmed() -> None:
    answer = await asked(b"HTTP/1.1 202 Accepted\r\nLambda-Id: \t a:b \r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.headers) == (202, {"lambda-id": "a:b", "content-length": "0"})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1_0\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\nhe\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\nhe\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n123456789\r\nhe",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nbad\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_answer_closes_the_connection(raw: bytes) -> None:
    async with talking([raw, OK], keeps=False) as (connection, peer):
        with pytest.raises(RuntimeApiError):
            await connection.request("GET", "/next")
        assert (await connection.request("GET", "/next")).body == b"ok"
        assert peer.connections == 2


@pytest.mark.parametrize(
    ("raw", "connections"),
    [
        (OK, 1),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 2\r\n\r\nok", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 2),
    ],
)
async def test_a_connection_is_used_again_where_the_peer_keeps_it(raw: bytes, connections: int) -> None:
    async with talking([raw, OK]) as (connection, peer):
        for _ in range(2):
            assert (await connection.request("GET", "/next")).body == b"ok"
        assert peer.connections == connections


async def test_a_body_that_was_never_ended_is_not_continued_by_the_next_request() -> None:
    async with talking([OK]) as (connection, peer):
        await connection.begin("/response", [], b"half")
        assert (await connection.request("GET", "/next")).body == b"ok"
        assert peer.connections == 2


@pytest.mark.parametrize("trailers", [[], [("error-type", "Runtime.X"), ("error-body", "e30=")]])
async def test_a_streamed_post_is_lawful_http(trailers: list[tuple[str, str]]) -> None:
    async with talking([OK]) as (connection, peer):
        await connection.begin("/response", [("content-type", "text/plain"), ("trailer", "error-type")], b"one")
        await connection.write(b"two" * 10_000)
        await connection.finish(trailers)
    head, chunks, received = peer.requests[0]
    assert (head.method, head.target) == (b"POST", b"/response")
    assert dict(head.headers)[b"content-type"] == b"text/plain"
    assert b"".join(chunks) == b"one" + b"two" * 10_000
    assert received == [(name.encode(), value.encode()) for name, value in trailers]


async def test_a_posted_body_has_its_length() -> None:
    async with talking([OK]) as (connection, peer):
        await connection.request("POST", "/error", [("a", "b")], b"{}")
    head, chunks, _ = peer.requests[0]
    assert dict(head.headers)[b"content-length"] == b"2"
    assert chunks == [b"{}"]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0b"])
def test_no_value_becomes_a_header_of_its_own(value: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        encoded_head("", [("x", value)])


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=8),
    chunked=st.booleans(),
    step=st.integers(min_value=1, max_value=300),
    names=st.lists(st.from_regex(r"[A-Za-z-]{1,20}", fullmatch=True), max_size=5),
)
def test_whatever_h11_writes_is_read(chunks: list[bytes], chunked: bool, step: int, names: list[str]) -> None:
    body = b"".join(chunks)
    framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(len(body)))
    headers = [*((f"x-{name}", "v") for name in names), framing]
    raw = _written(lambda http: [h11.Response(status_code=200, headers=headers), *(h11.Data(data=c) for c in chunks)])
    answer = asyncio.run(asked(raw, step))
    assert (answer.status, answer.body) == (200, body)
    assert {f"x-{name}".lower() for name in names} <= set(answer.headers)


def _written(events: Callable[[h11.Connection], list[h11.Event]]) -> bytes:
    http = h11.Connection(h11.SERVER)
    http.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    http.next_event()
    return b"".join(http.send(event) or b"" for event in [*events(http), h11.EndOfMessage()])
