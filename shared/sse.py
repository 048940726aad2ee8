"""Server-sent events over bytes, both ways, without any input or output of its own.

Text decoders and `str.splitlines` also break lines at U+2028, U+2029 and U+0085, which stand unescaped inside JSON
strings; so everything here works on bytes and knows CR, LF and CRLF only.
"""

import re
from typing import Literal

from msgspec import Struct

from shared.errors import GatewayError

MAX_EVENT_BYTES = 32 * 1024 * 1024  # inline images are large
MAX_TOTAL_BYTES = 200 * 1024 * 1024  # the quota of a streamed function-URL reply

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]')


class SseEvent(Struct, frozen=True, gc=False):
    """One event. `bare` is JSON that stood outside any field, as the upstream sends errors in mid-stream."""

    data: bytes
    event: str = ""
    kind: Literal["event", "bare"] = "event"


class SseSplitter:
    """Bytes in, whole events out; any split of the same bytes gives the same events.

    Comments, unknown fields, `id` and `retry` are skipped. A missing final blank line is forgiven. Raises
    `GatewayError` upstream_invalid_response over 32 MB in one event or 200 MB in all.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, max_total_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._max_event = max_event_bytes
        self._max_total = max_total_bytes
        self._total = 0
        self._buffer = bytearray()
        self._searched = 0  # the buffer holds no line end before this offset
        self._started = False
        self._after_cr = False
        self._data: list[bytes] = []
        self._event = ""
        self._bare: list[bytes] = []
        self._depth = 0
        self._size = 0

    def feed(self, data: bytes) -> list[SseEvent]:
        self._total += len(data)
        if self._total > self._max_total:
            raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
        events: list[SseEvent] = []
        if not (self._data or self._bare or self._event or self._after_cr):
            data = self._take_plain(data, events)
            if not data:
                return events
        self._buffer += data
        if not self._started and not self._skip_bom():
            return []
        for line in self._lines():
            self._take(line, events)
        self._check_size(self._size + len(self._buffer))
        return events

    def close(self) -> list[SseEvent]:
        """The events that the end of the bytes completes."""
        events: list[SseEvent] = []
        if self._buffer:
            line = bytes(self._buffer)
            self._buffer.clear()
            self._take(line, events)
        self._end_bare(events)
        self._end_event(events)
        return events

    def _take_plain(self, data: bytes, events: list[SseEvent]) -> bytes:
        """Whole events of one data line with CRLF line ends, which is all that the upstream sends unless something is
        wrong; gives back what has to be read line by line."""
        end = data.rfind(b"\r\n\r\n")
        if end < 0:
            return data
        whole = data
        if self._buffer:
            whole = bytes(self._buffer) + data
            end += len(self._buffer)
        if not whole.startswith(b"data: "):
            return data
        values = [whole[6:end]]
        if whole.find(b"\r") < end or whole.find(b"\n") < end:  # more than one event
            values = values[0].split(b"\r\n\r\ndata: ")
            content = b"".join(values)
            if content.find(b"\r") >= 0 or content.find(b"\n") >= 0:
                return data
        if end > self._max_event:
            self._check_size(max(map(len, values)))
        events += [SseEvent(value) for value in values]
        self._started = True
        if whole is not data:
            self._buffer.clear()
            self._searched = 0
        return whole[end + 4 :]

    def _skip_bom(self) -> bool:
        """Whether the start is settled: a byte order mark may come in pieces."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._started = True
        return True

    def _lines(self) -> list[bytes]:
        if self._after_cr and self._buffer:
            if self._buffer[0] == 0x0A:  # the second half of a CRLF whose CR already ended its line
                del self._buffer[0]
            self._after_cr = False
        lines: list[bytes] = []
        start = 0
        for end in _LINE_END.finditer(self._buffer, self._searched):
            lines.append(bytes(self._buffer[start : end.start()]))
            start = end.end()
            self._after_cr = start == len(self._buffer) and end.group() == b"\r"
        del self._buffer[:start]
        self._searched = len(self._buffer)
        return lines

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        name, colon, value = line.partition(b":")
        is_field = name in (b"data", b"event", b"id", b"retry") or (colon and not name)
        if self._bare and not (is_field and name == b"data" and colon):
            self._take_bare(line, events)
            return
        self._end_bare(events)
        if not line:
            self._end_event(events)
        elif is_field:
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
                self._size += len(value) + 1
            elif name == b"event":
                self._event = value.decode("utf-8", "replace")
        elif line.lstrip().startswith((b"{", b"[")):
            self._end_event(events)
            self._take_bare(line, events)

    def _take_bare(self, line: bytes, events: list[SseEvent]) -> None:
        self._bare.append(line)
        self._size += len(line) + 1
        for token in _BRACKETS.findall(line):
            if token in (b"{", b"["):
                self._depth += 1
            elif token in (b"}", b"]"):
                self._depth -= 1
        if self._depth <= 0:
            self._end_bare(events)

    def _end_bare(self, events: list[SseEvent]) -> None:
        if self._bare:
            self._check_size(self._size)
            events.append(SseEvent(b"\n".join(self._bare), kind="bare"))
            self._bare = []
            self._depth = 0
            self._size = 0

    def _end_event(self, events: list[SseEvent]) -> None:
        if self._data:
            self._check_size(self._size)
            events.append(SseEvent(b"\n".join(self._data), self._event))
            self._data = []
        self._event = ""
        self._size = 0

    def _check_size(self, size: int) -> None:
        if size > self._max_event:
            raise GatewayError("upstream_invalid_response", "An event of the upstream's reply is too large.")


def frame(data: bytes | str, event: str | None = None) -> bytes:
    """One event as bytes: `event:` where given, a `data:` field per line, LF line ends, the blank line that ends it."""
    encoded = data.encode() if isinstance(data, str) else data
    if encoded.find(b"\n") >= 0 or encoded.find(b"\r") >= 0:  # `in` costs several times a `find`
        encoded = b"\ndata: ".join(_LINE_END.split(encoded))
    return b"event: %b\ndata: %b\n\n" % (event.encode(), encoded) if event else b"data: %b\n\n" % encoded
