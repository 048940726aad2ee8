"""A Runtime API that follows a script and keeps what it was sent, chunk boundaries included."""

import socket
import threading
from dataclasses import dataclass, field
from typing import BinaryIO, Self


@dataclass
class Exchange:
    """One expected request and its answer; ``status`` 0 closes the connection instead, ``hold`` never answers."""

    method: str
    path: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hold: bool = False


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


class ScriptedApi:
    def __init__(self, script: list[Exchange]) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._script = list(script)
        self._lock = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def wait_for(self, count: int) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= count, timeout=20)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while (received := _read(stream)) is not None:
                with self._lock:
                    self.requests.append(received)
                    step = self._script.pop(0) if self._script else Exchange("", "", 0)
                    self._lock.notify_all()
                if step.hold:
                    stream.read(1)
                    return
                if step.status == 0 or (step.method, step.path) != (received.method, received.path):
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                head = [f"HTTP/1.1 {step.status} X", f"Content-Length: {len(step.body)}"]
                head += [f"{name}: {value}" for name, value in step.headers.items()]
                connection.sendall("\r\n".join([*head, "", ""]).encode() + step.body)


def _read(stream: BinaryIO) -> Received | None:
    line = stream.readline().decode()
    if not line:
        return None
    method, target, _ = line.split()
    received = Received(method, target.removeprefix("/2018-06-01/runtime"), _headers(stream))
    if received.headers.get("transfer-encoding") == "chunked":
        while size := int(stream.readline(), 16):
            received.chunks.append(stream.read(size))
            stream.readline()
        received.trailers = _headers(stream)
    elif length := int(received.headers.get("content-length", 0)):
        received.chunks.append(stream.read(length))
    return received


def _headers(stream: BinaryIO) -> dict[str, str]:
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers
