"""ASGI lifespan: startup once before the first event, shutdown when the process is told to end."""

import asyncio
import logging
from typing import Any

from shared.lambda_runtime.cycle import Application, Message

_SHUTDOWN_SECONDS = 2.0

logger = logging.getLogger(__name__)


class StartupFailed(Exception):
    """The application refused to start; the text is the last line of its reason."""


class Lifespan:
    """The application's lifespan as one task beside the requests. ``state`` is what startup left for them."""

    def __init__(self, app: Application) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outcome: asyncio.Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Raises ``StartupFailed`` if the application says so. An application that knows no lifespan is fine."""
        self._task = asyncio.create_task(self._run())
        outcome = await self._exchange("lifespan.startup")
        if outcome["type"] == "lifespan.startup.failed":
            await asyncio.wait({self._task})
            lines = str(outcome.get("message", "")).strip().splitlines()
            raise StartupFailed(lines[-1] if lines else "lifespan startup failed")

    async def shutdown(self) -> None:
        """Gives the application two seconds to close what it holds."""
        if self._task is None or self._task.done():
            return
        try:
            async with asyncio.timeout(_SHUTDOWN_SECONDS):
                outcome = await self._exchange("lifespan.shutdown")
        except TimeoutError:
            logger.error("lifespan shutdown took too long")
        else:
            if outcome["type"] == "lifespan.shutdown.failed":
                logger.error("lifespan shutdown failed")
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _exchange(self, kind: str) -> Message:
        self._outcome = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": kind})
        return await self._outcome

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except Exception as error:
            # Most often an application that asserts scope["type"] == "http"; one that has a lifespan has reported its
            # failure before raising.
            logger.info("lifespan ended", extra={"fields": {"errorType": type(error).__name__}})
        finally:
            await self._send({"type": "lifespan.ended"})

    async def _send(self, message: Message) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(message)
