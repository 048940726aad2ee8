"""The benchmark's client: blocking sockets, raw bytes with their arrival times, parsed only after the last of them."""

import re
import socket
import time
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_STAMP = re.compile(rb"\[(\d{10,20})\]")


class BadReply(Exception):
    """The reply does not count: no HTTP, cut off, or not what the stub said."""


@dataclass(slots=True)
class Answer:
    """`frames` are the pieces in which the server sent the body, with their arrival in monotonic ns."""

    status: int
    head: bytes
    frames: list[tuple[int, bytes]]
    sent_ns: int
    done_ns: int

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.frames)

    @property
    def ttft_ms(self) -> float:
        return (self.frames[0][0] - self.sent_ns) / 1e6

    @property
    def duration_ms(self) -> float:
        return (self.done_ns - self.sent_ns) / 1e6


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int, timeout_s: float = 120) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> Answer:
        """Raises BadReply, and OSError."""
        sent_ns = time.monotonic_ns()
        self._socket.sendall(request)
        received: list[tuple[int, bytes]] = []
        head_end, want, gathered = -1, -1, bytearray()
        while True:
            data = self._socket.recv(262_144)
            now = time.monotonic_ns()
            if not data:
                raise BadReply("the reply breaks off")
            received.append((now, data))
            if head_end < 0:
                gathered += data
                head_end = gathered.find(b"\r\n\r\n")
                if head_end < 0:
                    continue
                length = _LENGTH.search(gathered, 0, head_end)
                want = head_end + 4 + int(length[1]) if length else -1
                total, tail = len(gathered), bytes(gathered[-7:])
            else:
                total += len(data)
                tail = (tail + data)[-7:]
            if (want >= 0 and total >= want) or (want < 0 and tail.endswith(b"0\r\n\r\n")):
                return parse(received, sent_ns)


def parse(received: list[tuple[int, bytes]], sent_ns: int) -> Answer:
    raw = b"".join(data for _, data in received)
    ends, at = [], 0
    for now, data in received:
        at += len(data)
        ends.append((at, now))
    head, _, body = raw.partition(b"\r\n\r\n")
    start = len(head) + 4
    status = int(head[9:12])
    frames: list[tuple[int, bytes]] = []
    if b"transfer-encoding: chunked" not in head.lower():
        frames.append((ends[-1][1], body))
    else:
        position, which = start, 0
        while True:
            line = raw.find(b"\r\n", position)
            if line < 0:
                raise BadReply("chunked framing is broken")
            size = int(raw[position:line].partition(b";")[0], 16)
            if size == 0:
                break
            end = line + 2 + size
            while ends[which][0] < end:
                which += 1
            frames.append((ends[which][1], raw[line + 2 : end]))
            position = end + 2
    return Answer(status, head, frames, sent_ns, received[-1][0])


def stamps(answer: Answer) -> dict[int, int]:
    """The stub's time stamp of each chunk, in order, and when it first arrived here: some dialects repeat the text."""
    seen: dict[int, int] = {}
    for now, piece in answer.frames:
        for stamp in _STAMP.findall(piece):
            seen.setdefault(int(stamp), now)
    return seen


def lags_ms(answer: Answer) -> list[float]:
    """Of every stamped chunk: from the stub's write to its arrival here."""
    return [(arrived - stamp) / 1e6 for stamp, arrived in stamps(answer).items()]
