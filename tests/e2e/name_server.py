"""A DNS server that says what a test wants, and another thing the next time: the resolver of a rebinding attack."""

import socket
import struct
import threading
from ipaddress import ip_address

_A, _AAAA = 1, 28
_NO_SUCH_NAME = 3


class NameServer:
    """`given[name]` lists the answers to successive look-ups, the last one for good; each is a list of addresses. A
    look-up is the pair of questions, A and AAAA, that a resolver asks at once. No answer may be kept: TTL 0."""

    def __init__(self, address: str, port: int = 53) -> None:
        self.given: dict[str, list[list[str]]] = {}
        self._asked: dict[tuple[str, int], int] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4096)
            self._socket.sendto(self._answer(query), sender)

    def _answer(self, query: bytes) -> bytes:
        name, end = _name(query, 12)
        (kind,) = struct.unpack_from(">H", query, end)
        question = query[12 : end + 4]
        answers = self.given.get(name)
        if answers is None:
            return query[:2] + struct.pack(">HHHHH", 0x8180 | _NO_SUCH_NAME, 1, 0, 0, 0) + question
        turn = self._asked.get((name, kind), 0)
        self._asked[name, kind] = turn + 1
        packed = [ip_address(text).packed for text in answers[min(turn, len(answers) - 1)]]
        wanted = [data for data in packed if len(data) == {_A: 4, _AAAA: 16}.get(kind)]
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data for data in wanted)
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(wanted), 0, 0) + question + records


def _name(query: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += 1 + length
    return ".".join(labels), at + 1
