"""The HTTP client against servers that decide every byte on the wire."""

import asyncio
import gzip
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.http1 import HttpClient, HttpFailure, Reply, Request, header_lines

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads one request after the other and answers with what the test sets; counts connections."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.close_after = False
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
                self.requests.append(head + await reader.readexactly(int(fields.get("content-length", 0))))
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()


def no_tls() -> ssl.SSLContext:
    raise AssertionError("no TLS here")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(no_tls, connect_s=1, write_s=0.3)
    yield made
    made.close()


async def body_of(reply: Reply) -> bytes:
    return b"".join([piece async for piece in pieces_of(reply)])


async def pieces_of(reply: Reply) -> AsyncIterator[bytes]:
    while piece := await reply.read():
        yield piece


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


def sized(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (extra, len(body), body)


async def test_the_request_on_the_wire(server, client):
    server.pieces = [sized(b"ok")]
    reply = await client.send(Request("POST", f"{server.url}/a%20b?x=1&y=", (("x-one", "1"),)), body=b"{}")
    assert (reply.status, await body_of(reply)) == (200, b"ok")
    host = server.url.removeprefix("http://")
    wanted = f"POST /a%20b?x=1&y= HTTP/1.1\r\nhost: {host}\r\nx-one: 1\r\ncontent-length: 2\r\n\r\n{{}}"
    assert server.requests == [wanted.encode()]


@pytest.mark.parametrize("method, length", [("GET", None), ("DELETE", None), ("POST", "0"), ("PUT", "0")])
async def test_only_methods_with_a_body_state_its_length(server, client, method, length):
    server.pieces = [sized(b"x")]
    await body_of(await client.send(Request(method, server.url)))
    assert (b"content-length: 0" in server.requests[0]) == (length == "0")


FORMS = {
    "sized": sized(b"hello world"),
    "chunked": chunked(b"hello", b" ", b"world"),
    "chunked with extensions and trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b'0b;name="a;b"\r\nhello world\r\n000\r\nx-checksum: 1\r\nx-more: 2\r\n\r\n'
    ),
    "interim answers first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    + sized(b"hello world"),
    "the same length twice": b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\ncontent-length: 11\r\n\r\nhello world",
}


@pytest.mark.parametrize("wire", FORMS.values(), ids=FORMS.keys())
async def test_every_framing_gives_the_body_and_keeps_the_connection(server, client, wire):
    server.pieces = [wire]
    for _ in range(2):
        assert await body_of(await client.send(Request("GET", server.url))) == b"hello world"
    assert server.connections == 1


async def test_a_body_without_length_ends_with_the_connection(server, client):
    server.pieces, server.close_after = [b"HTTP/1.1 200 OK\r\n\r\nhello ", b"world"], True
    assert await body_of(await client.send(Request("GET", server.url))) == b"hello world"
    await body_of(await client.send(Request("GET", server.url)))
    assert server.connections == 2


@given(st.lists(st.integers(1, 400), max_size=12), st.sampled_from(sorted(FORMS)))
@settings(max_examples=40, deadline=None)
def test_where_the_bytes_are_split_never_matters(cuts, form):
    async def run() -> None:
        server = Server()
        await server.start()
        client = HttpClient(no_tls)
        wire = FORMS[form]
        edges = [0, *sorted({cut % len(wire) for cut in cuts}), len(wire)]
        server.pieces = [wire[start:end] for start, end in itertools.pairwise(edges)]
        assert await body_of(await client.send(Request("GET", server.url))) == b"hello world"
        client.close()
        await server.stop()

    asyncio.run(run())


async def test_pieces_come_as_they_arrive(server, client):
    sent = asyncio.Event()

    async def paced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await sent.wait()
        writer.write(b"1\r\nb\r\n0\r\n\r\n")
        writer.close()

    other = await asyncio.start_server(paced, "127.0.0.1", 0)
    reply = await client.send(Request("GET", f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"))
    assert await reply.read() == b"a"
    sent.set()
    assert (await reply.read(), await reply.read()) == (b"b", b"")
    other.close()


async def test_repeated_headers_are_joined_under_lower_case_names(server, client):
    server.pieces = [sized(b"x", b"X-A: 1\r\nx-a:2 \r\n")]
    reply = await client.send(Request("GET", server.url))
    assert reply.headers["x-a"] == "1, 2"
    reply.close()


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\ncontent-length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    "a chunk size that is none": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "a signed chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "a compression nobody knows": sized(b"x", b"content-encoding: br\r\n"),
    "a compression that is none": sized(b"not gzip at all", b"content-encoding: gzip\r\n"),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"x-a: 1\r\n" * 20_000,
}


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_http_is_a_failure(server, client, wire):
    server.pieces = [wire]
    with pytest.raises(HttpFailure):
        await body_of(await client.send(Request("GET", server.url)))


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
        chunked(b"hello")[:-2],
        chunked(b"hello")[:-7],
    ],
)
async def test_a_reply_that_breaks_off_is_a_failure_and_never_a_short_body(server, client, wire):
    server.pieces, server.close_after = [wire], True
    with pytest.raises(HttpFailure):
        await body_of(await client.send(Request("GET", server.url)))


async def test_what_came_before_the_break_is_delivered_first(server, client):
    server.pieces, server.close_after = [chunked(b"hello")[:-5]], True
    reply = await client.send(Request("GET", server.url))
    await asyncio.sleep(0.05)
    assert await reply.read() == b"hello"
    with pytest.raises(HttpFailure):
        await reply.read()


async def test_a_connection_that_was_hung_up_meanwhile_is_not_used(server, client):
    server.pieces, server.close_after = [sized(b"x")], True
    for _ in range(3):
        assert await body_of(await client.send(Request("GET", server.url))) == b"x"
    assert server.connections == 3


async def test_a_hang_up_that_the_loop_has_not_seen_yet_is_noticed(server, client):
    """As after a frozen function wakes: the peer's goodbye is in the socket, no callback has run."""
    server.pieces = [sized(b"x")]
    await body_of(await client.send(Request("GET", server.url)))
    await server.stop()
    again = Server()
    again.pieces = [sized(b"y")]
    await again.start()
    client._idle[("http", again.url.removeprefix("http://"))] = client._idle.pop(
        ("http", server.url.removeprefix("http://"))
    )
    assert await body_of(await client.send(Request("GET", again.url))) == b"y"
    await again.stop()


async def test_unasked_bytes_end_a_connection(server, client):
    server.pieces = [sized(b"x") + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"]
    for _ in range(2):
        assert await body_of(await client.send(Request("GET", server.url))) == b"x"
    assert server.connections == 2


async def test_unasked_bytes_that_come_later_end_a_connection(server, client):
    """Half a reply, read while the connection idles: its other half would be taken for the next one's head."""
    later = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sized(b"x"))
        await later.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"length: 4\r\n\r\nevil")

    connections = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    other = await asyncio.start_server(counted, "127.0.0.1", 0)
    request = Request("GET", f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")
    assert await body_of(await client.send(request)) == b"x"
    later.set()
    await asyncio.sleep(0.05)
    assert await body_of(await client.send(request)) == b"x"
    assert connections == 2
    other.close()


async def test_the_same_request_is_sent_again_with_what_changes(server, client):
    server.pieces = [sized(b"ok")]
    request = Request("POST", f"{server.url}/a", (("x-one", "1"),))
    for number in (1, 2):
        await body_of(await client.send(request, lines=header_lines((("x-two", str(number)),)), body=b"x" * number))
    host = server.url.removeprefix("http://")
    head = f"POST /a HTTP/1.1\r\nhost: {host}\r\nx-one: 1\r\nx-two: %d\r\ncontent-length: %d\r\n\r\n"
    assert server.requests == [(head % (1, 1)).encode() + b"x", (head % (2, 2)).encode() + b"xx"]


@pytest.mark.parametrize("wire", [sized(b"hello" * 100), chunked(*[b"hello"] * 100)])
async def test_a_whole_body_and_one_that_is_too_large(server, client, wire):
    server.pieces = [wire]
    whole = await (await client.send(Request("GET", server.url))).whole(500)
    assert whole == b"hello" * 100
    assert 100 < len(await (await client.send(Request("GET", server.url))).whole(100)) <= 500


async def test_leaving_early_closes_the_connection(server, client):
    server.pieces = [chunked(*[b"x" * 1000] * 50)[:-5]]
    reply = await client.send(Request("GET", server.url))
    await reply.read()
    reply.close()
    assert await reply.read() == b""
    server.pieces = [sized(b"y")]
    assert await body_of(await client.send(Request("GET", server.url))) == b"y"
    assert server.connections == 2


async def test_head_has_no_body(server, client):
    server.pieces = [b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 99\r\n\r\n"]
    for _ in range(2):
        reply = await client.send(Request("HEAD", server.url))
        assert (reply.status, reply.headers["location"], await reply.read()) == (302, "/x", b"")
    assert server.connections == 1


async def test_compression_nobody_asked_for_is_undone_a_bounded_piece_at_a_time(server, client):
    plain = bytes(5_000_000)
    server.pieces = [sized(gzip.compress(plain), b"content-encoding: gzip\r\n")]
    pieces = [len(piece) async for piece in pieces_of(await client.send(Request("GET", server.url)))]
    assert sum(pieces) == len(plain)
    assert max(pieces) <= 1024 * 1024


@pytest.mark.parametrize(
    "header", [("x-a", "b\r\nx-evil: 1"), ("x-a", "\0"), ("x a", "b"), ("", "b"), ("x-a", "\u2028")]
)
async def test_a_header_cannot_smuggle_another(server, client, header):
    with pytest.raises(HttpFailure):
        await client.send(Request("GET", server.url, (header,)))
    with pytest.raises(HttpFailure):
        header_lines((header,))
    assert server.requests == []


async def test_nobody_there_is_a_failure(client, server):
    await server.stop()
    with pytest.raises(HttpFailure):
        await client.send(Request("GET", server.url))


async def test_a_peer_that_takes_no_request_is_given_up(client):
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    other = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    with pytest.raises(HttpFailure, match="does not take"):
        request = Request("POST", f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")
        await client.send(request, body=bytes(30_000_000))
    other.close()


async def test_an_unread_reply_makes_the_peer_wait(client):
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n")
        try:
            while True:
                writer.write(bytes(100_000))
                await writer.drain()
                sent += 100_000
        except ConnectionError:
            pass  # the client left

    other = await asyncio.start_server(endless, "127.0.0.1", 0)
    reply = await client.send(Request("GET", f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"))
    await asyncio.sleep(0.3)
    held = sent
    await asyncio.sleep(0.2)
    assert sent == held
    read = 0
    while sent == held:
        read += len(await reply.read())
        await asyncio.sleep(0)
    assert read > 100_000
    reply.close()
    other.close()


@pytest.mark.parametrize("url", ["http://a..b/", "http://" + "x" * 70 + ".example/"])
async def test_a_host_that_is_none_is_a_failure(client, url):
    with pytest.raises(HttpFailure):
        await client.send(Request("GET", url))


async def test_the_callers_time_and_the_connections_own_end_a_connecting_apart():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    other = await asyncio.start_server(deaf, "127.0.0.1", 0)
    client = HttpClient(ssl.create_default_context, connect_s=0.2)
    request = Request("GET", f"https://127.0.0.1:{other.sockets[0].getsockname()[1]}")
    with pytest.raises(HttpFailure):
        await client.send(request)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await client.send(request, began + 0.05)
    assert asyncio.get_running_loop().time() - began < 0.15
    other.close()


async def test_a_head_that_does_not_come_ends_at_the_callers_time(server, client):
    server.pieces = []
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await client.send(Request("GET", server.url), began + 0.1)
    assert 0.09 <= asyncio.get_running_loop().time() - began < 0.4
