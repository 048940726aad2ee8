"""How answers leave: a JSON object, or a stream of frames that never falls silent and never ends unsettled."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.errors import GatewayError
from shared.gateway.telemetry import log
from shared.json_codec import encode

Settle = Callable[[], Awaitable[None]]


def json_response(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None, after: Settle | None = None
) -> Response:
    """`after` runs once the last byte has left."""
    return JsonAnswer(status, encode(body), headers or {}, after)


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them; the names are lower case as they are."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


class JsonAnswer(Response):
    """A whole JSON document. Starlette's constructor asks what is known here: that the body is bytes, and that the
    headers name neither its length nor its type."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str], after: Settle | None) -> None:
        self.status_code = status
        self.body = body
        self.background = Afterwards(after) if after else None
        self.raw_headers = raw_headers(headers)
        self.raw_headers += ((b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"))


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
    ends.
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
    ) -> None:
        super().__init__(None, 200, {**headers, "cache-control": "no-cache"}, media_type="text/event-stream")
        # a stream has no length; Response computed one from the empty body
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        self._frames = frames
        self._heartbeat = heartbeat if callable(heartbeat) else lambda: heartbeat
        self._heartbeat_s = heartbeat_s
        self._deadline_s = deadline_s
        self._failed = failed
        self._after = after
        self._ending = ending
        self._first: asyncio.Future[bytes] | None = None
        self._sent_at = 0.0

    async def first(self, hold_s: float) -> None:
        """Wait for the first frame, at most `hold_s` seconds; an error until then is raised here."""
        self._first = asyncio.ensure_future(anext(self._frames))
        try:
            await asyncio.wait({self._first}, timeout=min(hold_s, self._deadline_s()))
        except asyncio.CancelledError:
            self._first.cancel()
            raise
        if not self._first.done() and self._deadline_s() <= 0:  # no time to say anything after a 200
            self._first.cancel()
            await asyncio.wait({self._first})
            raise GatewayError("upstream_timeout", "The answer took longer than the time left.")
        if self._first.done():
            self._first.result()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        clock = loop.time
        writing = False
        beating: asyncio.Future[None] | None = None

        async def write(data: bytes) -> None:
            nonlocal writing
            if beating is not None:
                await beating
            writing, self._sent_at = True, clock()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            writing = False

        async def beat() -> None:
            nonlocal beating
            while True:
                await asyncio.sleep(max(0.0, self._sent_at + self._heartbeat_s - clock()))
                ready = self._first is not None and self._first.done()  # made before this beat, and written next
                if clock() - self._sent_at < self._heartbeat_s:
                    continue
                self._sent_at = clock()
                if not writing and not ready and (data := self._heartbeat()):  # else words are on their way
                    beating = loop.create_future()
                    try:
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                    finally:
                        beating.set_result(None)
                        beating = None

        self._sent_at = clock()
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            heart = asyncio.ensure_future(beat())
            try:
                await self._relay(write)
            finally:
                heart.cancel()
                await asyncio.gather(heart, return_exceptions=True)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._after()

    async def _relay(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._deadline_s()):
                if self._first is not None:
                    data, self._first = await self._first, None
                    await write(data)
                    await asyncio.sleep(0)  # a loop may write at the end of its turn, and the rest takes time to make
                async for data in self._frames:
                    await write(data)
        except GatewayError as error:
            await self._break_off(error, write)
        except TimeoutError:
            late = GatewayError("upstream_timeout", "The answer took longer than the time left.")
            await self._break_off(late, write)
        except asyncio.CancelledError:
            self._failed(GatewayError("upstream_interrupted", "The server is stopping."))
            raise
        except Exception as error:
            log("stream_failed", level=40, exc=error)
            await self._break_off(GatewayError("internal", "Internal error."), write)

    async def _break_off(self, error: GatewayError, write: Callable[[bytes], Awaitable[None]]) -> None:
        last = self._failed(error)
        if self._ending is not None:
            await self._ending()
        await write(last)
