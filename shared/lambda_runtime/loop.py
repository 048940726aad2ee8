"""The process from start to end: import, lifespan, one event after another, SIGTERM."""

import asyncio
import gc
import importlib
import json
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from shared.lambda_runtime import logs
from shared.lambda_runtime.connection import RuntimeConnection
from shared.lambda_runtime.cycle import Cycle
from shared.lambda_runtime.event import Scope, body_of, is_payload_v2, scope_of
from shared.lambda_runtime.invocation import Invocation, invocation_of
from shared.lambda_runtime.lifespan import Lifespan
from shared.lambda_runtime.reply import ROOT, Fault, StreamedReply
from shared.lambda_runtime.snapstart import pass_snapshot

logger = logging.getLogger(__name__)


async def run(environ: Mapping[str, str], stock_command: Sequence[str]) -> int:
    """Serves ``_HANDLER`` until SIGTERM (returns 0) or until the Runtime API refuses to go on (1).

    ``stock_command`` is how AWS would start its own loop. A handler without ``.app`` is no web application, so that
    loop replaces this process. A handler that cannot be imported, or an application that fails to start, is reported to
    ``/init/error`` (returns 1).
    """
    logs.install(environ.get("LOG_LEVEL", "INFO"))
    try:
        return await _run(environ, stock_command)
    except Exception as error:  # most likely an OSError: the Runtime API is gone
        logger.critical("the loop cannot go on", exc_info=error)
        return 1


async def _run(environ: Mapping[str, str], stock_command: Sequence[str]) -> int:
    address = environ["AWS_LAMBDA_RUNTIME_API"]
    connection = RuntimeConnection(address)
    try:
        handler = load_handler(environ["_HANDLER"])
        if not hasattr(handler, "app"):
            _become(stock_command)
        lifespan = Lifespan(handler.app)
        await lifespan.startup()
    except (Exception, SystemExit) as error:
        await _report_init_error(connection, error)
        return 1
    gc.freeze()  # whatever start-up made stays; until here `__main__` has kept the collector off
    gc.enable()
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        status = await pass_snapshot(connection)
        if status:
            return status
    return await _serve_until_terminated(Loop(handler, lifespan, address))


def load_handler(name: str) -> Any:
    """``handlers.chat_completions.handler`` -> the object; ``/`` counts as ``.``, as in AWS's own loop."""
    module, _, attribute = name.replace("/", ".").rpartition(".")
    return getattr(importlib.import_module(module), attribute)


class Loop:
    """Two connections to the Runtime API, one that polls and one that answers, and the application between them."""

    def __init__(self, handler: Any, lifespan: Lifespan, address: str) -> None:
        self._handler = handler
        self.lifespan = lifespan
        self._polling = RuntimeConnection(address)
        self._answering = RuntimeConnection(address)

    async def serve(self) -> int:
        """One event at a time, for ever; returns 1 when ``/next`` is refused, so that Lambda starts the process
        again.
        """
        while True:
            answer = await self._polling.request("GET", f"{ROOT}/invocation/next")
            if answer.status != 200:
                logger.critical("the Runtime API refused the next event", extra={"fields": {"status": answer.status}})
                return 1
            invocation = invocation_of(answer)
            token = logs.REQUEST_ID.set(invocation.context.aws_request_id)
            try:
                await self._answer(invocation)
            finally:
                logs.REQUEST_ID.reset(token)

    async def close(self) -> None:
        await self._polling.close()
        await self._answering.close()

    async def _answer(self, invocation: Invocation) -> None:
        _set_trace(invocation.trace_id)
        reply = StreamedReply(self._answering, invocation)
        try:
            try:
                scope, body = self._request_of(invocation)
            except Exception as error:
                logger.error("the event is no HTTP request", exc_info=error)
                await reply.fail(Fault.of(error))
                return
            remaining = invocation.context.get_remaining_time_in_millis() / 1000
            await Cycle(reply, body).run(self._handler.app, scope, remaining)
        except OSError as error:
            # Not even the fault arrived; the connection is closed, and the next event gets a fresh one.
            logger.error("a fault could not be reported", exc_info=error)

    def _request_of(self, invocation: Invocation) -> tuple[Scope, bytes]:
        event, context = json.loads(invocation.payload), invocation.context
        if is_payload_v2(event):
            scope, body = scope_of(event, context), body_of(event)
        else:
            inferred = self._handler.infer(event, context)
            scope, body = inferred.scope, inferred.body
        scope["state"] = {**self.lifespan.state, "deadline_ms": context.deadline_ms}
        return scope, body


async def _serve_until_terminated(loop: Loop) -> int:
    serving = asyncio.ensure_future(loop.serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await asyncio.wait({serving})
        return 0 if serving.cancelled() else serving.result()
    finally:
        await loop.lifespan.shutdown()
        await loop.close()


async def _report_init_error(connection: RuntimeConnection, error: BaseException) -> None:
    logger.critical("the function cannot start", exc_info=error)
    fault = Fault.of(error)
    headers = [fault.header(), ("content-type", "application/json")]
    await connection.request("POST", f"{ROOT}/init/error", headers, fault.document())
    await connection.close()


def _become(stock_command: Sequence[str]) -> None:
    if not stock_command:
        raise TypeError("the handler has no ASGI application (.app) and no stock runtime was given to replace this one")
    os.execv(stock_command[0], list(stock_command))  # noqa: S606 - the command is the managed runtime's own


def _set_trace(trace_id: str | None) -> None:
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
