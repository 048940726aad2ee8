"""The emulator as a real HTTP server on the loopback address, in a thread of its own."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from infra.local.emulator.app import create_app
from infra.local.emulator.control import set_state
from infra.local.emulator.state import State
from infra.local.emulator.transport import ResettableProtocol

type Json = dict[str, Any]


class EmulatorServer:
    """Runs the emulator while a test or the local server needs an upstream.

    `port` 0 takes a free one; `base_url` is known after `start()`. `script`, `requests` and `reset` act on the running
    emulator directly, without HTTP.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1", replay: Path | None = None) -> None:
        self.host, self.port = host, port
        self.app = create_app(replay=replay)
        self.state: State = self.app.state.emulator
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.app,
            http=ResettableProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )

    def start(self) -> None:
        """Binds, starts the thread and returns when the server accepts connections."""
        # The protocol number is given because asyncio sets TCP_NODELAY only on sockets that name it.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.host, self.port))
        self._socket.listen(512)
        self.port = self._socket.getsockname()[1]
        server = self._server = uvicorn.Server(self.config())
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [self._socket]}, name="gemini-emulator", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the emulator did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(timeout=5)
        if self._socket:
            self._socket.close()
        self._server = self._thread = self._socket = None

    def script(self, *steps: Json) -> None:
        """Queues steps for the next requests; ValueError for an unknown key."""
        self.state.script.add(list(steps))

    @property
    def requests(self) -> list[Json]:
        """Recorded requests, oldest first, as `GET /emulator/requests` shows them."""
        return self.state.requests()

    def set_state(self, model: str, state: Any) -> None:
        """Fixes a model's state: "dead", "closed", "alive", ("rerouted", target), or None to follow the clock."""
        set_state(self.state, model, state)

    def set_clock(self, now: float | None) -> None:
        """Fixes the emulator's Unix time; None follows the real clock again."""
        self.state.fixed_now = now

    def refuse_old_call_ids(self, refuse: bool = True) -> None:
        """Whether models before 3 answer 400 to a functionCall or functionResponse that carries an id."""
        self.state.refuse_old_call_ids = refuse

    def reset(self) -> None:
        """Forgets steps, recorded requests, the fixed clock and fixed states."""
        self.state.reset()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
