"""A server on an event loop in a thread of its own, for callers that have no loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import Self


class ThreadedServer:
    """``with`` starts and stops it; ``base_url`` is known once it has started."""

    def __init__(self, name: str) -> None:
        self.base_url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def _serve(self, started: Callable[[], None], stopping: asyncio.Event) -> None:
        """Until ``stopping``; calls ``started`` once."""
        raise NotImplementedError

    def start(self) -> Self:
        """Returns when it serves; raises what kept it from doing so."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._serve(self._started.set, self._stopping)
