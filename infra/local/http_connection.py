"""The server side of one HTTP/1.1 connection, for the local stand-ins of AWS: chunk by chunk in both directions,
trailers included.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import h11

Headers = Sequence[tuple[str, str]]

# Larger than what a peer may send, so that a limit is enforced by the stand-in that models it and not by the parser.
_MAX_HEADER_BYTES = 256 * 1024


class ClientClosed(ConnectionError):
    """The peer is gone, or broke HTTP in the middle of a body."""


class HttpConnection:
    """Requests one after another; of each the head, then the body, then one reply (whole, or ``start``, ``chunk``,
    ``end``).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEADER_BYTES)
        self._bodiless = False
        self.trailers: list[tuple[str, str]] = []
        peer = writer.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""

    async def request(self) -> h11.Request | None:
        """The next request's head; None at the end of the connection. What is not HTTP is answered with 400 here."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        elif self._http.our_state is not h11.IDLE:
            return None
        try:
            event = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self.respond(error.error_status_hint, [("content-type", "text/plain")], b"malformed request\n")
            return None
        except OSError:
            return None
        if not isinstance(event, h11.Request):
            return None
        self._bodiless = event.method == b"HEAD"
        return event

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives; fills ``trailers`` at its end. Raises ``ClientClosed``."""
        self.trailers = []
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        try:
            while True:
                event = await self._next_event()
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.trailers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
                    return
                else:
                    raise ClientClosed("the body was cut")
        except (h11.RemoteProtocolError, OSError) as error:
            raise ClientClosed(str(error)) from error

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """A whole reply with its length."""
        await self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.chunk(body)
        await self.end()

    async def start(self, status: int, headers: Headers) -> None:
        await self._send(h11.Response(status_code=status, headers=list(headers)))

    async def chunk(self, data: bytes) -> None:
        """One piece of the reply, sent at once."""
        if data and not self._bodiless:
            await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    def abort(self) -> None:
        """Cuts the connection without the last chunk, so that the peer can tell the reply is incomplete."""
        self._writer.transport.abort()

    async def close(self) -> None:
        if not self._writer.transport.is_closing():
            self._writer.close()

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def _next_event(self) -> h11.Event | None:
        while True:
            event = self._http.next_event()
            if event is h11.PAUSED:
                return None
            if isinstance(event, h11.Event):
                return event
            self._http.receive_data(await self._reader.read(65_536))
