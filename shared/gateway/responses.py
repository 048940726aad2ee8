"""How answers leave: a JSON object, or a stream of frames that never falls silent and never ends unsettled."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.errors import GatewayError
from shared.gateway.context import out_of_time
from shared.gateway.telemetry import log
from shared.json_codec import encode

_LAST_WORDS_S = 1.5  # after the deadline, for a client to take them; the rest of what is kept back is the settlement's

Settle = Callable[[], Awaitable[None]]


def json_response(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None, after: Settle | None = None
) -> Response:
    """`after` runs once the last byte has left."""
    data = encode(body)
    sent = raw_headers(headers or {})
    sent += ((b"content-length", b"%d" % len(data)), (b"content-type", b"application/json"))
    return Whole(status, data, sent, after)


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them; the names are lower case as they are."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


class Settled(Response):
    """An answer after which something is to be done, whether it could be sent or not: a server that stops, and a
    Lambda that takes no more of it, end the sending early."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        background, self.background = self.background, None
        try:
            await super().__call__(scope, receive, send)
        finally:
            if background is not None:
                await background()


class Whole(Settled):
    """An answer that is made. Starlette's constructor finds out what is known here: that the body is bytes, and which
    headers it has, with its length and its type."""

    def __init__(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]], after: Settle | None = None
    ) -> None:
        self.status_code = status
        self.body = body
        self.background = Afterwards(after) if after else None
        self.raw_headers = headers


class Piecewise(Response):
    """A JSON object too large to be held as a whole: its pieces are made as they leave. `after` runs whether they could
    be sent or not."""

    def __init__(self, pieces: Iterable[bytes], headers: Mapping[str, str], after: Settle) -> None:
        self.status_code = 200
        self.raw_headers = raw_headers({**headers, "content-type": "application/json"})
        self._pieces = pieces
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._after()


class Afterwards(BackgroundTask):
    """Work for the time after the last byte. Starlette's constructor finds out what kind of function it is given."""

    def __init__(self, work: Settle) -> None:
        self._work = work

    async def __call__(self) -> None:
        await self._work()


class EventStream(Response):
    """Server-sent events whose status waits for the first frame.

    `heartbeat` is what is said in silence, or makes it anew each time. `failed` renders the terminal frames of an error
    after the start, `ending` runs between their making and their leaving. `after` settles; it runs however the stream
    ends. `opening` is what a server may say first to clients that know no comments.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        *,
        headers: Mapping[str, str],
        heartbeat: bytes | Callable[[], bytes],
        heartbeat_s: float,
        deadline_s: Callable[[], float],
        failed: Callable[[GatewayError], bytes],
        after: Settle,
        ending: Settle | None = None,
        opening: bytes | None = None,
    ) -> None:
        named = {**headers, "cache-control": "no-cache"}
        named.setdefault("content-type", "text/event-stream; charset=utf-8")
        self.status_code = 200
        self.body = b""
        self.background = None
        self.raw_headers = raw_headers(named)
        self._frames = frames
        self._heartbeat = heartbeat if callable(heartbeat) else lambda: heartbeat
        self._heartbeat_s = heartbeat_s
        self._deadline_s = deadline_s
        self._failed = failed
        self._after = after
        self._ending = ending
        self._opening = opening
        self._first: asyncio.Future[bytes] | None = None

    async def first(self, hold_s: float) -> None:
        """Wait for the first frame, at most `hold_s` seconds; an error until then is raised here."""
        loop = asyncio.get_running_loop()
        held: asyncio.Future[None] = loop.create_future()  # `asyncio.wait` would take three turns of the loop more

        def release() -> None:
            if not held.done():
                held.set_result(None)

        async def make() -> bytes:
            try:
                return await anext(self._frames)
            finally:
                release()

        self._first = asyncio.Task(make(), loop=loop, eager_start=True)
        timer = loop.call_later(min(hold_s, self._deadline_s()), release)
        try:
            await held
        except asyncio.CancelledError:
            await self._leave_frames()
            raise
        finally:
            timer.cancel()
        if not self._first.done() and self._deadline_s() <= 0:  # no time to say anything after a 200
            await self._leave_frames()
            raise out_of_time()
        if self._first.done():
            self._first.result()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A client that has stopped reading is left after the deadline: its connection may stay as long as it likes,
        the upstream's and the reservation may not."""
        try:
            async with asyncio.timeout(self._deadline_s() + _LAST_WORDS_S):
                await self._send_all(send)
        except TimeoutError:
            log("client_stopped_reading", level=30)
        finally:
            try:
                await self._leave_frames()
            finally:
                await self._after()

    async def _send_all(self, send: Send) -> None:
        line = Line(send, self._heartbeat, self._heartbeat_s, self._made)
        start: dict[str, Any] = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if self._opening is not None:
            start["lambda_runtime.opening"] = self._opening
        await send(start)
        line.open(late=self._first is not None and not self._first.done())
        try:
            await self._relay(line)
        finally:
            await line.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _leave_frames(self) -> None:
        """Whoever makes the frames notes what the answer used when they are closed, also those that nobody took: a
        client that reads no further, and a server that stops, end a stream while a frame is on its way."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        await self._frames.aclose()

    def _made(self) -> bool:
        """Whether the first frame is made and waits for its turn."""
        return self._first is not None and self._first.done()

    async def _relay(self, line: "Line") -> None:
        try:
            async with asyncio.timeout(self._deadline_s()):
                if self._first is not None:
                    data, self._first = await self._first, None
                    await line.write(data)
                    await asyncio.sleep(0)  # a loop may write at the end of its turn, and the rest takes time to make
                async for data in self._frames:
                    await line.write(data)
        except GatewayError as error:
            await self._break_off(error, line)
        except TimeoutError:
            await self._break_off(out_of_time(), line)
        except asyncio.CancelledError:
            self._failed(GatewayError("upstream_interrupted", "The server is stopping."))
            raise
        except Exception as error:
            log("stream_failed", level=40, exc=error)
            await self._break_off(GatewayError("internal", "Internal error."), line)

    async def _break_off(self, error: GatewayError, line: "Line") -> None:
        last = self._failed(error)
        if self._ending is not None:
            await self._ending()
        await line.write(last)


class Line:
    """The way of a stream to its client: frames, and heartbeats where nothing was sent for `heartbeat_s`, neither
    inside the other. `made` says that a frame is about to be written."""

    def __init__(
        self, send: Send, heartbeat: Callable[[], bytes], heartbeat_s: float, made: Callable[[], bool]
    ) -> None:
        self._send = send
        self._heartbeat = heartbeat
        self._heartbeat_s = heartbeat_s
        self._made = made
        self._writing = False
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None  # on its way

    def open(self, *, late: bool) -> None:
        """`late`: the first frame was waited for in vain, and the client has waited for something as long."""
        self._sent_at = time.monotonic()
        if late:
            self._sent_at -= self._heartbeat_s
            self._due()
        else:
            self._wait(self._heartbeat_s)

    async def write(self, data: bytes) -> None:
        self._writing = True
        if self._beat is not None:
            await asyncio.wait({self._beat})
        self._sent_at = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing = False

    async def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait({self._beat})
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        now = time.monotonic()
        silent_s = now - self._sent_at
        if silent_s < self._heartbeat_s:
            self._wait(self._heartbeat_s - silent_s)
            return
        self._sent_at = now
        if not self._writing and not self._made() and (data := self._heartbeat()):  # else words are on their way
            self._beat = asyncio.ensure_future(self._say(data))
        else:
            self._wait(self._heartbeat_s)

    async def _say(self, data: bytes) -> None:
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except OSError:  # the next frame meets it too
            return
        finally:
            self._beat = None
        self._wait(self._sent_at + self._heartbeat_s - time.monotonic())
