"""A small HTTP/1.1 client over asyncio: a request with its whole body in, the reply's bytes out as they arrive.

Standard library only, because its importer is a cold start: a general client costs more CPU to import than everything
else a hot function loads, and five to ten times as much for a streamed chunk. It knows what the gateway's own upstreams
speak and no more: no redirects, no proxies, no cookies, no HTTP/2.
"""

import asyncio
import importlib.util
import math
import re
import ssl
import zlib
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

from shared.http1_connection import HIGH_WATER, Connection, HttpFailure, is_token

__all__ = ["Headers", "HttpClient", "HttpFailure", "Reply", "Request", "header_lines", "tls_context"]

_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


@cache
def tls_context() -> ssl.SSLContext:
    """The process's one client context, with certifi's roots: loading them is 15-30 ms of a cold start. Asking certifi
    where they stand would be another 3: it imports what reads files out of archives.
    """
    certifi = importlib.util.find_spec("certifi")
    assert certifi is not None and certifi.submodule_search_locations is not None, "a pinned dependency"
    return ssl.create_default_context(cafile=f"{certifi.submodule_search_locations[0]}/cacert.pem")


Headers = tuple[tuple[str, str], ...]


class Request:
    """What requests of one kind have in common, written and checked once: `send` adds the lines that change from one to
    the next. `url` absolute, http or https, its path and query already quoted; content-length and host are added."""

    __slots__ = ("bodiless_reply", "has_body", "head", "host", "origin", "port")

    def __init__(self, method: str, url: str, headers: Headers = ()) -> None:
        parts = urlsplit(url)
        self.origin = (parts.scheme, parts.netloc)
        self.host, self.port = parts.hostname or "", parts.port
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        start = f"{method} {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n".encode("latin-1")
        self.head = start + header_lines(headers)
        self.has_body = method in ("POST", "PUT", "PATCH")
        self.bodiless_reply = method == "HEAD"

    def written(self, lines: bytes, body: bytes) -> bytes:
        length = b"content-length: %d\r\n\r\n" % len(body) if body or self.has_body else b"\r\n"
        return b"".join((self.head, lines, length, body))


class Reply:
    """Status and headers have arrived; repeated headers are joined with commas, names are lower case. `read` until it
    gives b"", or `close` early: both free the connection."""

    __slots__ = ("_connection", "_free", "_inflate", "_open", "headers", "status")

    def __init__(self, connection: Connection, free: Callable[[Connection], None]) -> None:
        self.status, self.headers = connection.status, connection.headers
        self._connection = connection
        self._free = free
        self._open = True
        coding = self.headers.get("content-encoding")
        self._inflate = None if coding is None else _decompressor(coding.lower())

    async def read(self, until: float = math.inf) -> bytes:
        """What has arrived since the last call, at least one byte; b"" after the last. Raises HttpFailure, and
        TimeoutError at `until` in the loop's time."""
        while self._open:
            piece = await self._connection.take(until)
            if self._inflate is None:
                if self._connection.is_read():
                    self._release()
                return piece
            if not piece:
                self._release()
                if not self._inflate.eof:
                    raise HttpFailure("the reply's compression breaks off")
            elif plain := self._plain(piece):
                return plain
        return b""

    async def whole(self, limit: int, until: float = math.inf) -> bytes:
        """The body to its end, or somewhat more than `limit` bytes of a larger one. Raises what `read` raises, and
        frees the connection in any case."""
        pieces, size = [], 0
        try:
            while self._open and size <= limit:
                piece = await self.read(until)
                pieces.append(piece)
                size += len(piece)
        finally:
            self.close()
        return b"".join(pieces)

    def _plain(self, piece: bytes) -> bytes:
        """At most one high water of a compressed piece at a time: a few bytes may stand for gigabytes."""
        assert self._inflate is not None
        try:
            plain = self._inflate.decompress(piece, HIGH_WATER)
        except zlib.error as error:
            raise HttpFailure("the reply's compression is broken") from error
        if self._inflate.unconsumed_tail:
            self._connection.put_back(self._inflate.unconsumed_tail)
        return plain

    def close(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._open:
            self._open = False
            self._free(self._connection)


def _decompressor(coding: str) -> "zlib._Decompress | None":
    if coding in ("", "identity"):
        return None
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise HttpFailure("the reply's compression is unknown")
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header, by what stands there


class HttpClient:
    """A pool of kept connections; make it once in a process, on any loop. `tls` makes the context for https."""

    def __init__(
        self,
        tls: Callable[[], ssl.SSLContext],
        *,
        connect_s: float = 3,
        write_s: float = 10,
        keep: int = 20,
        keep_s: float = 60,
    ) -> None:
        self._tls = tls
        self._connect_s, self._write_s = connect_s, write_s
        self._keep, self._keep_s = keep, keep_s
        self._context: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str], list[Connection]] = {}

    async def send(self, request: Request, until: float = math.inf, lines: bytes = b"", body: bytes = b"") -> Reply:
        """The reply's head, to a request with these `header_lines` besides its own. Raises HttpFailure, and
        TimeoutError at `until` in the loop's time."""
        message = request.written(lines, body)
        connection = self._kept(request.origin) or await self._connect(request, until)
        try:
            await connection.exchange(message, request.bodiless_reply, self._write_s, until)
            return Reply(connection, self._take_back)
        except BaseException:
            connection.abort()
            raise

    def close(self) -> None:
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    def _kept(self, origin: tuple[str, str]) -> Connection | None:
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()  # the youngest is the likeliest to live
            if connection.is_fresh(self._keep_s):
                return connection
            connection.abort()
        return None

    def _take_back(self, connection: Connection) -> None:
        kept = self._idle.setdefault(connection.origin, [])
        if connection.finish() and len(kept) < self._keep:
            kept.append(connection)
        else:
            connection.abort()

    async def _connect(self, request: Request, until: float) -> Connection:
        secure = request.origin[0] == "https"
        if secure and self._context is None:
            self._context = self._tls()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(until, loop.time() + self._connect_s)):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, request.origin),
                    request.host,
                    request.port or (443 if secure else 80),
                    ssl=self._context if secure else None,
                )
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a host name that IDNA refuses
            if loop.time() >= until:
                raise TimeoutError from error
            raise HttpFailure("no connection") from error
        return connection


def header_lines(headers: Headers) -> bytes:
    """As they stand in a message. Raises HttpFailure for what could be read as another header."""
    return b"".join([_line(name, value) for name, value in headers])


def _line(name: str, value: str) -> bytes:
    try:
        encoded = value.encode("latin-1")
    except UnicodeEncodeError:
        encoded = b"\0"
    if not is_token(name) or not _VALUE.fullmatch(encoded):
        raise HttpFailure("a header of the request is not valid")
    return b"%b: %b\r\n" % (name.encode(), encoded)
