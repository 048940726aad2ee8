"""One streamed reply of the upstream: its chunks as they arrive, and how long they are waited for."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from shared.errors import GatewayError
from shared.gemini.errors import from_chunk, from_response
from shared.gemini.plain_text import PlainText, plain_text
from shared.http1 import HttpFailure, Reply
from shared.json_codec import decode_reply
from shared.sse import SseEvent, SseSplitter

ERROR_BYTES = 1024 * 1024

Chunk = Mapping[str, Any] | PlainText
Burst = list[Chunk]  # chunks that arrived together: what one wake-up brings is carried on as one
_MANY = 4  # that a look for plain text is worth it


class Deadline:
    """The end of a call's time, and of the waits within it, in the event loop's own seconds."""

    def __init__(self, seconds: float | None) -> None:
        self._clock = asyncio.get_running_loop().time
        self._end = math.inf if seconds is None else self._clock() + seconds

    def within(self, seconds: float) -> float:
        return min(self._clock() + seconds, self._end)


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
            raise from_response(reply.status, await read_whole(reply, ERROR_BYTES, until))
        if not reply.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise GatewayError("upstream_invalid_response", "The upstream answered a stream in another form.")
        wait = until
        while not self._events:
            if self._ended:
                raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")
            await self._read(wait, begun=False)
            wait = min(until, self._deadline.within(self._idle_s))
        event = self._events.pop(0)
        first = parse_object(event.data, unwrap=event.kind == "bare")
        if "error" in first:
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
            for chunk in _parsed(events):
                burst.append(chunk)
        except GatewayError:
            if not burst:
                raise
            self._events = events[len(burst) :]  # what came whole before the fault is the client's; the fault is next
        return burst

    async def _read(self, until: float, *, begun: bool) -> None:
        piece = await read_piece(self._reply, until, begun=begun)
        self._ended = not piece
        self._events = self._splitter.feed(piece) if piece else self._splitter.close()


async def read_piece(reply: Reply, until: float, *, begun: bool = True) -> bytes:
    """What has arrived of the body, decompressed, should the upstream compress although nobody asked for it; b"" at the
    end. A connection that breaks before anything was `begun` was as good as never made."""
    try:
        return await reply.read(until)
    except TimeoutError as error:
        raise timed_out() from error
    except HttpFailure as error:
        if begun:
            raise GatewayError("upstream_interrupted", "The upstream's reply broke off.") from error
        raise GatewayError("upstream_unreachable", "The upstream could not be reached.") from error


async def read_whole(reply: Reply, limit: int, until: float) -> bytes:
    """The whole body of an answer, or its first `limit` bytes where that is an error's."""
    gathered = bytearray()
    while piece := await read_piece(reply, until):
        gathered += piece
        if len(gathered) > limit:
            if reply.status == 200:
                raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
            break
    return bytes(gathered[:limit])


def _parsed(events: Sequence[SseEvent]) -> Iterator[Chunk]:
    """The chunks one by one; what another chunk of plain text follows is plain text only, as that one counts anew."""
    plain = [plain_text(event.data) if event.kind == "event" else None for event in events if len(events) >= _MANY]
    for event, chunk, next_chunk in zip_longest(events, plain, plain[1:]):
        if chunk is not None and next_chunk is not None:
            yield chunk
        else:
            yield parse_object(event.data, unwrap=event.kind == "bare")


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
