"""One ASGI request: the application on one side, the streamed reply on the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from shared.lambda_runtime.event import Scope
from shared.lambda_runtime.reply import OPENING_COMMENT, Fault, StreamedReply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Left of the invocation's time when an application that ignores its own deadline is cancelled: Lambda would kill the
# whole process, and with it what the application still has to book.
_RESERVE_SECONDS = 1.0
_CANCEL_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Cycle:
    """Runs the application for one request and sees to it that the invocation is answered exactly once."""

    def __init__(self, reply: StreamedReply, body: bytes) -> None:
        self._reply = reply
        self._body: bytes | None = body
        self._over = asyncio.Event()
        self._undelivered: OSError | None = None

    async def run(self, app: Application, scope: Scope, remaining_seconds: float) -> None:
        """Returns when the application has returned, background tasks included. Raises ``OSError`` only if the fault
        cannot be reported.
        """
        task = asyncio.create_task(self._call(app, scope))
        try:
            await asyncio.wait({task}, timeout=remaining_seconds - min(_RESERVE_SECONDS, remaining_seconds / 10))
            fault = self._fault_of(task) if task.done() else await self._overrun(task)
        except asyncio.CancelledError:  # the process is told to end
            await self._stop(task)
            raise
        finally:
            self._over.set()
        if fault is not None:
            await self._reply.fail(fault)

    def _fault_of(self, task: "asyncio.Task[None]") -> Fault | None:
        if self._undelivered is not None:
            # The application was told by the failed send and has closed its upstream; Lambda has nobody to tell.
            logger.error("the Runtime API did not take the reply", exc_info=self._undelivered)
            if not task.cancelled():
                task.exception()  # taken, or asyncio would print it
            return None
        if task.cancelled():
            return Fault("Runtime.Cancelled", "the application cancelled its own request")
        error = task.exception()
        if error is not None:
            # Starlette's ServerErrorMiddleware answers 500 and raises all the same: then the reply is finished and
            # this is only a log line.
            logger.error("the application raised", exc_info=error)
            return Fault.of(error)
        if not self._reply.finished:
            logger.error("the application returned before its reply was complete")
            return Fault("Runtime.IncompleteReply", "the application returned before its reply was complete")
        return None

    async def _call(self, app: Application, scope: Scope) -> None:
        await app(scope, self._receive, self._send)

    async def _overrun(self, task: "asyncio.Task[None]") -> Fault:
        message = "the application overran the invocation's deadline"
        logger.error(message)
        await self._stop(task)
        return Fault("Runtime.DeadlineExceeded", message)

    async def _stop(self, task: "asyncio.Task[None]") -> None:
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
        if task.done() and not task.cancelled() and (error := task.exception()):
            logger.error("the application raised while it was cancelled", exc_info=error)

    async def _receive(self) -> Message:
        """The body once, then silence until the reply is over: an earlier disconnect would make Starlette cancel the
        stream.
        """
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind, reply = message["type"], self._reply
        if kind == "http.response.start" and not reply.started:
            # the last is no word of ASGI, which has servers pass over what they do not know
            opening = message.get("lambda_runtime.opening", OPENING_COMMENT)
            call = reply.start(message["status"], message.get("headers", ()), opening=opening)
        elif kind == "http.response.body" and reply.started and not reply.finished:
            call = self._write(bytes(message.get("body", b"")), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind}")
        try:
            await call
        except OSError as error:
            self._undelivered = error
            self._over.set()
            raise

    async def _write(self, chunk: bytes, *, last: bool) -> None:
        await self._reply.write(chunk)
        if last:
            await self._reply.end()
            self._over.set()
