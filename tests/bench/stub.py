"""The upstream of every target: `python -m tests.bench.stub`. A raw asyncio server with prebuilt bodies.

Prints its port. `:streamGenerateContent` and `:generateContent` answer what the model's name asks for, without looking
at the body, except that a body with `"bench-chunks-<n>"` in it chooses the length of a `long` stream.
`:batchEmbedContents` answers a vector for each text.
"""

import asyncio
import json
import re
import sys
import time

from tests.bench import bodies

_PATH = re.compile(rb"POST [^ ]*/models/([a-z0-9.-]+):(streamGenerateContent|generateContent|batchEmbedContents)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_CHUNKS = re.compile(rb"bench-chunks-(\d+)")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n"
_SSE = _HEAD % b"text/event-stream"
_JSON = _HEAD % b"application/json; charset=UTF-8"
_END = b"0\r\n\r\n"
_HIGH_WATER = 512 * 1024


def _framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class _Upstream(asyncio.Protocol):
    """One connection: requests one after another."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return
        request = bytes(self._buffer[:whole])
        del self._buffer[:whole]
        self._answer(request)

    def _answer(self, request: bytes) -> None:
        match = _PATH.match(request)
        mode = bodies.MODES.get(match[1].decode()) if match else None
        if match is not None and match[2] == b"batchEmbedContents":
            self.transport.write(_JSON + _framed(bodies.vectors(request.count(b'"text"'))) + _END)
            return
        if match is None or mode is None:
            body = json.dumps({"error": {"code": 404, "message": "not in the bench", "status": "NOT_FOUND"}}).encode()
            head = f"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            self.transport.write(head.encode() + body)
        elif match[2] == b"generateContent":
            self.transport.write(_JSON + _framed(bodies.whole_body(mode)) + _END)
        elif mode in bodies.PACES_S:
            self._task = asyncio.ensure_future(self._paced(mode))
        elif mode == "long":
            asked = _CHUNKS.search(request)
            self._task = asyncio.ensure_future(self._long(int(asked[1]) if asked else bodies.CHUNKS))
        else:
            self.transport.write(_SSE)
            for event in bodies.stream_events(mode):
                self.transport.write(_framed(event))
            self.transport.write(_END)

    async def _paced(self, mode: str) -> None:
        """By the clock, not by sleeps added up: a late chunk does not delay those after it."""
        loop, write = asyncio.get_running_loop(), self.transport.write
        write(_SSE)
        start = loop.time()
        for number, (before, after) in enumerate(bodies.stamped_events(mode)):
            await asyncio.sleep(start + number * bodies.PACES_S[mode] - loop.time())
            write(_framed(before + b"%d" % time.monotonic_ns() + after))
        write(_END)

    async def _long(self, chunks: int) -> None:
        repeated, last = bodies.long_events()
        framed = [_framed(event) for event in repeated]
        self.transport.write(_SSE)
        for number in range(chunks):
            self.transport.write(framed[number % len(framed)])
            if not self._writable.is_set():
                await self._writable.wait()
        self.transport.write(_framed(last) + _END)


async def serve(port: int) -> None:
    for mode in bodies.MODELS:
        if mode not in ("long", "picture"):
            bodies.stream_events(mode)
            bodies.whole_body(mode)
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
