"""One keep-alive HTTP/1.1 connection to the Runtime API."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h11

Headers = Sequence[tuple[str, str]]

# Lambda-Runtime-Client-Context alone may be several KB.
_MAX_HEADER_BYTES = 64 * 1024


class RuntimeApiError(ConnectionError):
    """The Runtime API closed the connection, or broke HTTP, in the middle of an exchange."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Runtime API said: header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RuntimeConnection:
    """Requests one after another to ``AWS_LAMBDA_RUNTIME_API`` (``host:port``); connects lazily, reconnects when idle
    and closed.

    ``request`` is a whole exchange. ``begin``, ``write``, ``finish`` are one chunked POST: every ``write`` leaves as
    one HTTP chunk at once. Any failure closes the connection (h11 cannot recycle a broken cycle) and raises
    ``RuntimeApiError`` or another ``OSError``.
    """

    def __init__(self, address: str) -> None:
        host, colon, port = address.rpartition(":")
        self._host = host if colon else address
        self._port = int(port) if colon else 80
        self._address = address
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def request(self, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """A whole exchange. There is no timeout: ``/next`` is held until an event is due."""
        length = [("content-length", str(len(body)))] if body else []
        await self._connect()
        try:
            out = self._encode(self._head(method, path, [*headers, *length]))
            if body:
                out += self._encode(h11.Data(data=body))
            await self._send(out + self._encode(h11.EndOfMessage()))
            return await self._receive()
        except BaseException:
            await self.close()
            raise

    async def begin(self, path: str, headers: Headers, first: bytes) -> None:
        """Opens a chunked POST; ``first`` is its first chunk and leaves in the same segment as the head."""
        await self._connect()
        head = self._head("POST", path, [*headers, ("transfer-encoding", "chunked")])
        await self._send_or_close(self._encode(head) + self._encode(h11.Data(data=first)))

    async def write(self, chunk: bytes) -> None:
        """One chunk, drained before return. An empty chunk would end the body, so the caller never passes one."""
        await self._send_or_close(self._encode(h11.Data(data=chunk)))

    async def finish(self, trailers: Headers = ()) -> Answer:
        """Ends the chunked POST, with trailers if any, and reads the answer."""
        try:
            await self._send(self._encode(h11.EndOfMessage(headers=list(trailers))))
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
        if (
            self._reader is not None
            and self._writer is not None
            and not self._reader.at_eof()
            and not self._writer.is_closing()
        ):
            return
        await self.close()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    def _head(self, method: str, path: str, headers: Headers) -> h11.Request:
        return h11.Request(method=method, target=path, headers=[("host", self._address), *headers])

    def _encode(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""

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
        status, headers, body = 0, {}, bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise RuntimeApiError("the Runtime API closed the connection without an answer")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.close()
        return Answer(status, headers, bytes(body))

    async def _next_event(self) -> h11.Event:
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Event):
                    return event
                if self._reader is None:
                    raise RuntimeApiError("the connection to the Runtime API is closed")
                self._http.receive_data(await self._reader.read(65_536))
        except h11.RemoteProtocolError as error:
            raise RuntimeApiError(f"the Runtime API broke HTTP: {error}") from error
