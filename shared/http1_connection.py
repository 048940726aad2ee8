"""One HTTP/1.1 connection: requests out, replies parsed as the event loop brings their bytes.

Framing that is not to the letter of RFC 9112 is a failure, never a guess.
"""

import asyncio
import math
import re
import select
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

HIGH_WATER = 1024 * 1024  # unread bytes of a reply at which the peer is made to wait
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_HEAD = 64 * 1024
_MAX_CHUNK_LINE = 4 * 1024
_PIECE = 16 * 1024
_READ = 64 * 1024  # at once; without a buffer of its own the loop makes one of 256 KB for every read
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_BODILESS = frozenset({204, 304})


class HttpFailure(Exception):
    """The peer could not be reached, or what it sent breaks off or is no HTTP."""


class Connection(asyncio.BufferedProtocol):
    """One connection, one exchange at a time: a parser that the event loop feeds, a queue that the reader empties."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: tuple[str, str] = ("", "")) -> None:
        self.loop = loop
        self.origin = origin  # whom it leads to
        self._idle_since = 0.0
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._buffer = memoryview(bytearray(_READ))
        self._waiter: asyncio.Future[None] | None = None
        self._until = math.inf  # how long the waiter waits
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._write_paused = False
        self._lost = False
        self._reset(bodiless=False)
        self._parse: Callable[[], bool] = self._nothing_asked

    def _reset(self, *, bodiless: bool) -> None:
        self._in = b""
        self._at = 0  # what stands before it in `_in` is done with
        self._out: list[bytes] = []
        self._out_size = 0
        self._read_paused = False
        self._left = 0  # bytes of the body, or of the chunk, still to come
        self._until_close = False  # the body ends with the connection
        self._head_done = False
        self._done = False
        self._reusable = True
        self._bodiless = bodiless
        self._failure: HttpFailure | None = None
        self._parse = self._parse_head

    # --- what a client asks

    async def exchange(self, message: bytes, bodiless: bool, write_s: float, until: float = math.inf) -> None:
        """Send a request, wait for the reply's head; TimeoutError at `until` in the loop's time."""
        assert self._transport is not None
        self._reset(bodiless=bodiless)
        if self._lost:
            raise HttpFailure("the connection is closed")
        self._transport.write(message)
        if self._write_paused:
            await self._written(self.loop.time() + write_s, until)
        while not self._head_done:
            await self._arrival(until)
        if self._failure is not None and not self._out:
            raise self._failure

    async def _written(self, patience: float, until: float) -> None:
        try:
            while self._write_paused and not self._head_done:
                await self._arrival(min(patience, until))
        except TimeoutError as error:
            if until <= patience:
                raise
            raise HttpFailure("the peer does not take the request") from error

    async def take(self, until: float = math.inf) -> bytes:
        """The bytes of the body that are here, waiting for the first; b"" at the end. Of a flood only some at a time:
        the first of them would wait for the work on all others. TimeoutError at `until` in the loop's time."""
        while not self._out:
            if self._done:
                return b""
            await self._arrival(until)
        if self._out_size <= _PIECE:
            piece = b"".join(self._out)
            self._out.clear()
        else:
            piece = self._some_of_many()
        self._out_size -= len(piece)
        if self._read_paused and self._out_size <= HIGH_WATER and self._transport is not None:
            self._read_paused = False
            self._transport.resume_reading()
        return piece

    def _some_of_many(self) -> bytes:
        taken, size = 1, len(self._out[0])
        while size < _PIECE:
            size += len(self._out[taken])
            taken += 1
        piece = b"".join(self._out[:taken])
        del self._out[:taken]
        return piece

    def put_back(self, piece: bytes) -> None:
        self._out.insert(0, piece)
        self._out_size += len(piece)

    def is_read(self) -> bool:
        """Nothing of the reply is here or to come."""
        return self._done and not self._out

    def finish(self) -> bool:
        """Whether the connection can serve another exchange."""
        self._idle_since = self.loop.time()
        self._parse = self._nothing_asked
        return self._done and self._reusable and self._failure is None and not self._in and not self._lost

    def is_fresh(self, idle_s: float) -> bool:
        """It may serve the running loop, has idled for less than `idle_s`, and nothing waits in the socket: while a
        function is frozen peers hang up, and the loop has not seen it yet."""
        if self._lost or not self._reusable or self.loop is not asyncio.get_running_loop():
            return False
        if self.loop.time() - self._idle_since >= idle_s:
            return False
        return self._socket is not None and self._socket.fileno() >= 0 and not self._poll.poll(0)

    def abort(self) -> None:
        if self._transport is not None and not self.loop.is_closed():
            self._unset_alarm()
            self._transport.abort()

    def _arrival(self, until: float) -> asyncio.Future[None]:
        """Done when the loop has told something new; TimeoutError at `until`. What arrived before a break is the
        reader's: only who would wait for more learns of the failure."""
        if self._failure is not None:
            raise self._failure
        self._waiter = waiter = self.loop.create_future()
        self._until = until
        if until < self._alarm_at:
            self._set_alarm(until)
        return waiter

    def _set_alarm(self, at: float) -> None:
        """One timer serves many waits, because a timer for each piece costs more than the piece: one that rings too
        early is set again, and only a wait that ends before it moves it."""
        self._unset_alarm()
        self._alarm = self.loop.call_at(at, self._ring)
        self._alarm_at = at

    def _unset_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, math.inf

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        if self._waiter is None or self._waiter.done():
            return
        if self.loop.time() >= self._until:
            self._waiter.set_exception(TimeoutError())
        elif self._until < math.inf:
            self._set_alarm(self._until)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # other event loops have classes of their own
        sock = self._socket = transport.get_extra_info("socket")
        if sock is not None:
            self._poll.register(sock.fileno(), select.POLLIN)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._buffer[:nbytes].tobytes())

    def data_received(self, data: bytes) -> None:
        self._in = self._in + data if self._in else data
        try:
            while self._parse():
                pass
        except HttpFailure as failure:
            self._fail(failure)
        self._in, self._at = self._in[self._at :], 0
        if self._out_size > HIGH_WATER and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        if self._until_close:
            self._done = True
            self._wake()
        elif not self._done:
            self._fail(HttpFailure("the reply breaks off"))
        self._reusable = False
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._unset_alarm()
        if not self._done:
            self._fail(HttpFailure("the connection is lost"))

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    def _fail(self, failure: HttpFailure) -> None:
        if self._failure is None:
            self._failure = failure
        self._parse = self._nothing_asked
        self._wake()

    # --- the parser's states: each consumes what it can of `_in`, and says whether the next may go on at once

    @property
    def _unread(self) -> int:
        return len(self._in) - self._at

    def _nothing_asked(self) -> bool:
        self._reusable = False  # bytes nobody asked for: not to be taken for the next reply
        self._at = len(self._in)
        return False

    def _parse_head(self) -> bool:
        end = self._in.find(b"\r\n\r\n", self._at)
        if end < 0:
            if self._unread > _MAX_HEAD:
                raise HttpFailure("the reply's head is too large")
            return False
        lines = self._in[self._at : end].decode("latin-1").split("\r\n")
        self._at = end + 4
        self.status, self._reusable = _status(lines.pop(0))
        if self.status < 200:
            if self.status == 101:
                raise HttpFailure("the peer changes the protocol unasked")
            return True  # an interim answer
        headers: dict[str, str] = {}
        for name, value in map(_field, lines):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        self._choose_framing(headers)
        self._head_done = True
        return self._at < len(self._in) and not self._done

    def _choose_framing(self, headers: Mapping[str, str]) -> None:
        if options := headers.get("connection", "").lower():
            self._reusable = "close" not in options and (self._reusable or "keep-alive" in options)
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if self._bodiless or self.status in _BODILESS:
            self._end()
        elif coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise HttpFailure("the reply's framing is ambiguous")
            self._parse = self._parse_chunk_line
        elif length is not None:
            self._left = int(length) if length.isdecimal() and len(length) < 16 else _length(length)
            self._parse = self._parse_sized
            if self._left == 0:
                self._end()
        else:
            self._reusable = False
            self._until_close = True
            self._parse = self._parse_to_close

    def _parse_sized(self) -> bool:
        self._emit()
        if self._left == 0:
            self._end()
        return False

    def _parse_to_close(self) -> bool:
        self._left = self._unread
        self._emit()
        return False

    def _parse_chunk_line(self) -> bool:
        """All chunks that are here as a whole, in one go; the states after this one are for what is torn apart, and
        for the last."""
        data, at, size = self._in, self._at, 1
        while size:
            end = data.find(b"\r\n", at)
            if end < 0:
                self._at = at
                if len(data) - at > _MAX_CHUNK_LINE:
                    raise HttpFailure("a chunk's head is too large")
                return False
            size = _chunk_size(data[at:end])
            at = end + 2
            end = at + size
            if data[end : end + 2] != b"\r\n":
                break
            if size:
                self._out.append(data[at:end])
                self._out_size += size
                at = end + 2
        self._at, self._left = at, size
        self._parse = self._parse_chunk if size else self._parse_trailers
        return at < len(data)

    def _parse_chunk(self) -> bool:
        self._emit()
        if self._left:
            return False
        self._parse = self._parse_chunk_end
        return self._unread > 0

    def _parse_chunk_end(self) -> bool:
        if self._unread < 2:
            return False
        if not self._in.startswith(b"\r\n", self._at):
            raise HttpFailure("a chunk is longer than it says")
        self._at += 2
        self._parse = self._parse_chunk_line
        return self._unread > 0

    def _parse_trailers(self) -> bool:
        end = self._in.find(b"\r\n", self._at)
        if end < 0 or end - self._at > _MAX_HEAD:
            if self._unread > _MAX_HEAD:
                raise HttpFailure("the reply's trailers are too large")
            return False
        last = end == self._at
        self._at = end + 2
        if last:
            self._end()
        return self._unread > 0 and not self._done

    def _emit(self) -> None:
        piece = self._in[self._at : self._at + self._left]
        size = len(piece)
        if size:
            self._at += size
            self._left -= size
            self._out.append(piece)
            self._out_size += size

    def _end(self) -> None:
        self._done = True
        self._parse = self._nothing_asked
        if self._at < len(self._in):
            self._nothing_asked()


@lru_cache(256)
def is_token(name: str) -> bool:
    """Whether it may be the name of a header; the same few come with every message."""
    return _TOKEN.fullmatch(name) is not None


# The lines of a peer's heads are nearly all the same in every reply, and few sizes of chunks are.


@lru_cache(64)
def _status(line: str) -> tuple[int, bool]:
    """The status, and whether the connection stays unless a header says otherwise."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise HttpFailure("the reply is no HTTP")
    return int(found[2]), found[1] == "1"


@lru_cache(256)
def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not is_token(name):  # a folded line has white space in front
        raise HttpFailure("a header of the reply is not valid")
    return name.lower(), value.strip(" \t")


def _length(value: str) -> int:
    """Of a body; a peer may repeat it, but not contradict itself."""
    first, *others = [item.strip() for item in value.split(",")]
    if not (first.isascii() and first.isdigit() and len(first) < 16) or any(other != first for other in others):
        raise HttpFailure("the reply's length is not valid")
    return int(first)


@lru_cache(1024)
def _chunk_size(line: bytes) -> int:
    found = _CHUNK_LINE.fullmatch(line)
    if found is None:
        raise HttpFailure("a chunk's head is not valid")
    return int(found[1], 16)
