"""One streamed reply of the upstream: its chunks as they arrive, and how long they are waited for."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from shared.errors import GatewayError
from shared.gemini.errors import from_chunk, from_response
from shared.gemini.plain_text import NOT_PLAIN_TEXT, PlainText, decode_plain_text
from shared.http1 import HttpFailure, Reply
from shared.json_codec import decode_reply
from shared.sse import SseEvent, SseSplitter

ERROR_BYTES = 1024 * 1024

Chunk = Mapping[str, Any] | PlainText
Burst = list[Chunk]  # chunks that arrived together: what one wake-up brings is carried on as one


class Deadline:
    """The end of a call's time, and of the waits within it, in the event loop's own seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._clock = asyncio.get_running_loop().time
        self._end = math.inf if seconds is None else self._clock() + seconds

    def within(self, seconds: float) -> float:
        end = self._clock() + seconds
        return end if end < self._end else self._end


class UpstreamStream:
    """The chunks of one reply, in order and as they arrived, once `begin` has seen the first; that one comes alone, so
    that it need not wait for the work on those that arrived with it. `service_tier` is the tier that served it, in
    lower case, "" where the upstream did not say. Leaving the iteration early is fine: the call's context frees the
    connection."""

    def __init__(self, reply: Reply, deadline: Deadline, idle_s: float) -> None:
        self.service_tier = reply.headers.get("x-gemini-service-tier", "").lower()
        self._reply = reply
        self._deadline = deadline
        self._idle_s = idle_s
        self._splitter = SseSplitter()
        self._events: list[SseEvent] = []
        self._ended = False
        self._first: Burst | None = None

    async def begin(self, until: float) -> None:
        """Wait for the first chunk; raises what a refusal means."""
        reply = self._reply
        if reply.status != 200:
            raise from_response(reply.status, await read_error(reply, until))
        if not reply.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise GatewayError("upstream_invalid_response", "The upstream answered a stream in another form.")
        await self._read(until, begun=False)
        while not self._events:
            if self._ended:
                raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")
            await self._read(min(until, self._deadline.within(self._idle_s)), begun=False)
        first = read_chunk(self._events.pop(0))
        if type(first) is not PlainText and "error" in first:
            raise from_chunk(first["error"])
        self._first = [first]

    def __aiter__(self) -> "UpstreamStream":
        return self

    async def __anext__(self) -> Burst:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            await self._read(self._deadline.within(self._idle_s), begun=True)
        events, self._events = self._events, []
        burst: Burst = []
        try:
            for event in events:
                burst.append(read_chunk(event))
        except GatewayError:
            if not burst:
                raise
            self._events = events[len(burst) :]  # what came whole before the fault is the client's; the fault is next
        return burst

    async def _read(self, until: float, *, begun: bool) -> None:
        try:
            piece = await self._reply.read(until)
        except (HttpFailure, TimeoutError) as error:
            raise read_failure(error, begun=begun) from error
        self._ended = not piece
        self._events = self._splitter.feed(piece) if piece else self._splitter.close()


class Pieces:
    """The body's bytes as they arrive, the first of them `until` then; between two of them `idle_s` may pass."""

    def __init__(self, reply: Reply, until: float, deadline: Deadline, idle_s: float) -> None:
        self._reply = reply
        self._until = until
        self._deadline = deadline
        self._idle_s = idle_s
        self._begun = False

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        until = self._deadline.within(self._idle_s) if self._begun else self._until
        try:
            piece = await self._reply.read(until)
        except (HttpFailure, TimeoutError) as error:
            raise read_failure(error, begun=self._begun) from error
        if not piece:
            raise StopAsyncIteration
        self._begun = True
        return piece


async def read_error(reply: Reply, until: float) -> bytes:
    """The body of a refusal, or its beginning."""
    return (await _whole(reply, ERROR_BYTES, until))[:ERROR_BYTES]


async def read_whole(reply: Reply, limit: int, until: float) -> bytes:
    data = await _whole(reply, limit, until)
    if len(data) > limit:
        raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
    return data


async def _whole(reply: Reply, limit: int, until: float) -> bytes:
    try:
        return await reply.whole(limit, until)
    except (HttpFailure, TimeoutError) as error:
        raise read_failure(error) from error


def read_failure(error: Exception, *, begun: bool = True) -> GatewayError:
    """A connection that breaks before anything was `begun` was as good as never made."""
    if isinstance(error, TimeoutError):
        return timed_out()
    if begun:
        return GatewayError("upstream_interrupted", "The upstream's reply broke off.")
    return GatewayError("upstream_unreachable", "The upstream could not be reached.")


def read_chunk(event: SseEvent) -> Chunk:
    try:
        return decode_plain_text(event.data)
    except NOT_PLAIN_TEXT:
        return parse_object(event.data, unwrap=event.kind == "bare")


def timed_out() -> GatewayError:
    return GatewayError("upstream_timeout", "The upstream did not answer in time.")


def parse_object(data: bytes, *, unwrap: bool = False) -> dict[str, Any]:
    """One JSON object; an error outside of any event may come wrapped in an array."""
    try:
        parsed = decode_reply(data)
    except (ValueError, RecursionError) as error:
        raise GatewayError("upstream_invalid_response", "The upstream's reply is not valid JSON.") from error
    if unwrap and isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        raise GatewayError("upstream_invalid_response", "The upstream's reply is no JSON object.")
    return parsed
