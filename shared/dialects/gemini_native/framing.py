"""How Google frames its answers: server-sent events with CRLF, or one JSON array that grows; and its JSON style.

What passes through is carried as bytes: a splitter cuts the upstream's stream into the bytes of its JSON objects, a
writer puts the same bytes between the frames that the client asked for.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shared.errors import GatewayError
from shared.sse import MAX_EVENT_BYTES, MAX_TOTAL_BYTES, SseSplitter

JSON_TYPE = "application/json; charset=UTF-8"
SSE_TYPE = "text/event-stream"

_LINE_END = re.compile(rb"\r\n|\n|\r")
# past everything that says nothing of depth, whole strings too; "" where the bytes end before a mark
_UP_TO_MARK = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+(["{}\[\]]?)', re.DOTALL)
_STRING_END = re.compile(rb'["\\]')


def compact(value: Any) -> bytes:
    """One line as Google writes it in events: a space after colons, none after commas, angle brackets escaped."""
    return _google(json.dumps(value, ensure_ascii=False, separators=(",", ": ")))


def pretty(value: Any) -> bytes:
    """Two spaces of indent, as in plain answers."""
    return _google(json.dumps(value, ensure_ascii=False, indent=2))


def _google(text: str) -> bytes:
    return text.replace("<", "\\u003c").replace(">", "\\u003e").encode("utf-8", "replace")


class Splitter(Protocol):
    """Bytes in, the bytes of whole JSON objects out."""

    def feed(self, data: bytes) -> list[bytes]: ...

    def close(self) -> list[bytes]: ...


class EventObjects:
    """The objects of a stream of server-sent events, and of an error that stands outside of any event."""

    def __init__(self) -> None:
        self._events = SseSplitter()

    def feed(self, data: bytes) -> list[bytes]:
        return [event.data for event in self._events.feed(data)]

    def close(self) -> list[bytes]:
        return [event.data for event in self._events.close()]


class WholeObject:
    """The one object of a plain reply. Raises `upstream_invalid_response` over the same size as `SseSplitter`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
        return []

    def close(self) -> list[bytes]:
        return [b"".join(self._pieces)]


class ArrayObjects:
    """The objects of one JSON array, or of bare objects one after the other; any split of the bytes gives the same.

    Raises `upstream_invalid_response` over the same sizes as `SseSplitter`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0  # everything before it is understood
        self._depth = 0
        self._in_string = False
        self._start: int | None = None
        self._floor = 0  # the depth at which the running object began
        self._total = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._total += len(data)
        self._buffer += data
        found: list[bytes] = []
        while self._step(found):
            pass
        self._forget()
        if len(self._buffer) > MAX_EVENT_BYTES or self._total > MAX_TOTAL_BYTES:
            raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
        return found

    def close(self) -> list[bytes]:
        if self._start is not None:
            raise GatewayError("upstream_interrupted", "The upstream's reply broke off.")
        return []

    def _step(self, found: list[bytes]) -> bool:
        """Understand the bytes up to the next mark; False when more are needed."""
        if self._in_string:
            return self._leave_string()
        passed = _UP_TO_MARK.match(self._buffer, self._position)
        assert passed is not None  # as it matches nothing too
        mark, self._position = passed[1], passed.end()
        if mark == b'"':
            self._in_string = True  # its end has not come yet
        elif mark in (b"{", b"["):
            if mark == b"{" and self._start is None:
                self._start, self._floor = self._position - 1, self._depth
            self._depth += 1
        elif mark:
            self._depth -= 1
            if self._start is not None and self._depth == self._floor:
                found.append(bytes(self._buffer[self._start : self._position]))
                self._start = None
        return bool(mark)

    def _leave_string(self) -> bool:
        mark = _STRING_END.search(self._buffer, self._position)
        if mark is None:
            self._position = len(self._buffer)
            return False
        if mark.group() == b"\\":
            if mark.end() == len(self._buffer):
                self._position = mark.start()  # the escaped byte has not come yet
                return False
            self._position = mark.end() + 1
        else:
            self._position = mark.end()
            self._in_string = False
        return True

    def _forget(self) -> None:
        keep = self._position if self._start is None else self._start
        del self._buffer[:keep]
        self._position -= keep
        if self._start is not None:
            self._start = 0


class Writer(Protocol):
    """The frames of one streamed answer around the bytes of its objects."""

    content_type: str
    heartbeat: bytes

    def element(self, raw: bytes) -> bytes: ...

    def elements(self, raws: Sequence[bytes]) -> bytes:
        """The frames of all of them."""

    def fail(self, body: Mapping[str, Any]) -> bytes:
        """The last bytes of a stream that broke: an error object in place of the next one."""

    def close(self) -> bytes: ...


class EventWriter:
    """`data: {json}` and two CRLF; the end of the bytes is the end of the answer."""

    content_type = SSE_TYPE
    # Comments are no part of what Google's SDKs read; an empty event is. A single line end would become part of the
    # next event for those that cut at every empty line, and the Go SDK takes such an event for an error.
    heartbeat = b"\r\n\r\n"

    def element(self, raw: bytes) -> bytes:
        if b"\n" in raw or b"\r" in raw:
            return b"".join(b"data: " + line + b"\r\n" for line in _LINE_END.split(raw)) + b"\r\n"
        return b"data: " + raw + b"\r\n\r\n"

    def elements(self, raws: Sequence[bytes]) -> bytes:
        content = b"".join(raws)
        if not raws or b"\n" in content or b"\r" in content:
            return b"".join(map(self.element, raws))
        return b"data: " + b"\r\n\r\ndata: ".join(raws) + b"\r\n\r\n"

    def fail(self, body: Mapping[str, Any]) -> bytes:
        """In both forms that the upstream uses, one after the other, because no single one is seen by every client.

        Outside of any event it is what the Go SDK and JS SDKs before 3 raise, the latter only where it arrives alone;
        JS 3 drops it where it arrives together with a chunk and raises the event, which is also all that a plain SSE
        parser sees. The Python SDK raises either.
        """
        error = compact(body)
        return error + b"\r\n\r\ndata: " + error + b"\r\n\r\n"

    def close(self) -> bytes:
        return b""


class ArrayWriter:
    """`[{…}`, then a comma and CRLF before every further object, a line end after each, `]` last."""

    content_type = JSON_TYPE
    heartbeat = b"\n"

    def __init__(self) -> None:
        self._begun = False

    def element(self, raw: bytes) -> bytes:
        head, self._begun = b",\r\n" if self._begun else b"[", True
        return head + raw + b"\n"

    def elements(self, raws: Sequence[bytes]) -> bytes:
        return b"".join(map(self.element, raws))

    def fail(self, body: Mapping[str, Any]) -> bytes:
        return self.element(pretty(body)) + self.close()

    def close(self) -> bytes:
        return b"]" if self._begun else b"[]"
