"""One keep-alive HTTP/1.1 connection to the Runtime API.

The protocol is written out here, because the peer is one server on the same machine and a general library would be a
tenth of a cold start.
"""

import asyncio
from collections.abc import Mapping, Sequence

from shared.lambda_runtime.http_head import Head, HttpBroken, chunk_size, encoded_head, read_fields, read_head

Headers = Sequence[tuple[str, str]]

# Lambda-Runtime-Client-Context alone may be several KB.
_MAX_HEADER_BYTES = 64 * 1024


class RuntimeApiError(ConnectionError):
    """The Runtime API closed the connection, or broke HTTP, in the middle of an exchange."""


class Answer:
    """What the Runtime API said: header names are lower case."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class RuntimeConnection:
    """Requests one after another to ``AWS_LAMBDA_RUNTIME_API`` (``host:port``); connects lazily, reconnects when idle
    and closed.

    ``request`` is a whole exchange. ``begin``, ``write``, ``finish`` are one chunked POST: every ``write`` leaves as
    one HTTP chunk at once. Any failure closes the connection and raises ``RuntimeApiError`` or another ``OSError``.
    """

    def __init__(self, address: str) -> None:
        host, colon, port = address.rpartition(":")
        self._host = host if colon else address
        self._port = int(port) if colon else 80
        self._address = address
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reusable = False  # no exchange is under way, and the peer keeps the connection

    async def request(self, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """A whole exchange. There is no timeout: ``/next`` is held until an event is due."""
        length = [("content-length", str(len(body)))] if body else []
        head = self._head(method, path, [*headers, *length])
        await self._connect()
        try:
            await self._send(head + body)
            return await self._receive()
        except BaseException:
            await self.close()
            raise

    async def begin(self, path: str, headers: Headers, first: bytes) -> None:
        """Opens a chunked POST; ``first`` is its first chunk and leaves in the same segment as the head."""
        head = self._head("POST", path, [*headers, ("transfer-encoding", "chunked")])
        await self._connect()
        await self._send_or_close(head + _chunk(first))

    async def write(self, chunk: bytes) -> None:
        """One chunk, drained before return. An empty chunk would end the body, so the caller never passes one."""
        await self._send_or_close(_chunk(chunk))

    async def finish(self, trailers: Headers = ()) -> Answer:
        """Ends the chunked POST, with trailers if any, and reads the answer."""
        try:
            await self._send(b"0\r\n" + encoded_head("", trailers))
            return await self._receive()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Drops the connection at once; the next request opens a new one."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.transport.abort()

    async def _connect(self) -> None:
        """A connection on which nothing is under way, now spoken for."""
        reader, writer = self._reader, self._writer
        if not self._reusable or reader is None or writer is None or reader.at_eof() or writer.is_closing():
            await self.close()
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=_MAX_HEADER_BYTES)
        self._reusable = False

    def _head(self, method: str, path: str, headers: Headers) -> bytes:
        return encoded_head(f"{method} {path} HTTP/1.1\r\n", [("host", self._address), *headers])

    async def _send(self, data: bytes) -> None:
        if self._writer is None:
            raise RuntimeApiError("the connection to the Runtime API is closed")
        self._writer.write(data)
        await self._writer.drain()

    async def _send_or_close(self, data: bytes) -> None:
        try:
            await self._send(data)
        except BaseException:
            await self.close()
            raise

    async def _receive(self) -> Answer:
        reader = self._reader
        if reader is None:
            raise RuntimeApiError("the connection to the Runtime API is closed")
        try:
            head = read_head(await reader.readuntil(b"\r\n\r\n"))
            while head.status < 200:  # an interim answer
                head = read_head(await reader.readuntil(b"\r\n\r\n"))
            body = await _body(reader, head)
        except asyncio.IncompleteReadError as error:
            raise RuntimeApiError("the Runtime API closed the connection without an answer") from error
        except (HttpBroken, asyncio.LimitOverrunError) as error:
            raise RuntimeApiError(f"the Runtime API broke HTTP: {error}") from error
        if head.keeps_alive:
            self._reusable = True
        else:
            await self.close()
        return Answer(head.status, head.headers, body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """By its length or its chunks; one that has neither lasts as long as the connection."""
    if head.bodiless:
        return b""
    if head.chunked:
        return await _chunked_body(reader)
    return await reader.read() if head.length is None else await reader.readexactly(head.length)


async def _chunked_body(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := chunk_size(await reader.readuntil(b"\r\n")):
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise HttpBroken("a chunk does not end where it should")
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        read_fields([line[:-2]])  # trailers: they must be sound, and mean nothing
    return bytes(body)
