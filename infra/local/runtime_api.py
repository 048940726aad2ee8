"""AWS's side of the Lambda Runtime API for one process, on 127.0.0.1. Strict: what the cloud punishes is refused or
recorded here.

References: the AWS Lambda runtime API and custom-runtime streaming documentation, and the behaviour of
aws-lambda-runtime-interface-emulator.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h11

from infra.local.http_connection import ClientClosed, HttpConnection

_ROOT = "/2018-06-01/runtime"
_PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
_DELIMITER = b"\0" * 8
_MAX_PRELUDE_BYTES = 16 * 1024  # API Gateway looks for the delimiter in the first 16 KB
_MAX_TRAILER_BYTES = 4_096  # Go's HTTP server gives up on longer ones; Lambda then kills the process
_JSON = [("content-type", "application/json")]


@dataclass(frozen=True, slots=True)
class Head:
    """Status, headers (single values, lower case) and cookies of a reply."""

    status: int
    headers: Mapping[str, str]
    cookies: list[str]


@dataclass(frozen=True, slots=True)
class End:
    """The reply is complete; with ``error_type`` the function reported a failure in the middle of it."""

    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no (further) reply: the function reported an error, died, broke the protocol or ran out of time."""

    error_type: str
    message: str = ""


Piece = Head | bytes | End | Failure


@dataclass(slots=True)
class Invocation:
    """One event on its way. ``pieces`` brings Head, bytes and End in that order, or a Failure at any point; End or
    Failure is the last.
    """

    event: bytes
    request_id: str
    deadline_ms: int
    arn: str
    pieces: asyncio.Queue[Piece] = field(default_factory=asyncio.Queue)
    answered: bool = False  # a reply or an error has begun
    closed: bool = False

    def put(self, piece: Piece) -> None:
        if self.closed:
            return
        self.closed = isinstance(piece, End | Failure)
        self.pieces.put_nowait(piece)


class RuntimeApi:
    """The HTTP server a function process polls. ``idle`` is set while ``/next`` is held; ``violations`` lists what
    the cloud would punish.
    """

    def __init__(self) -> None:
        self.address = ""
        self.idle = asyncio.Event()
        self.init_error: Failure | None = None
        self.violations: list[str] = []
        self.poisoned = False  # the process must not serve again
        self.current: Invocation | None = None
        self._due: asyncio.Queue[Invocation] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def invoke(self, invocation: Invocation) -> None:
        """Hands the event to the process, which must be ``idle``."""
        self.idle.clear()
        self.current = invocation
        self._due.put_nowait(invocation)

    def lose(self, failure: Failure) -> None:
        """The process is gone: whatever was being answered ends with this failure."""
        if self.current is not None:
            self.current.put(failure)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = HttpConnection(reader, writer)
        try:
            while (request := await connection.request()) is not None:
                await self._dispatch(connection, request)
        except (ClientClosed, ConnectionError, asyncio.CancelledError):
            pass  # the process ended or we do; its exit is noticed where the process is watched
        finally:
            self._tasks.discard(task)
            connection.abort()

    async def _dispatch(self, connection: HttpConnection, request: h11.Request) -> None:
        method, path = request.method.decode(), request.target.decode()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        parts = path.removeprefix(f"{_ROOT}/").split("/")
        match method, parts:
            case "GET", ["invocation", "next"]:
                await self._next(connection)
            case "POST", ["invocation", request_id, ("response" | "error") as verb]:
                await self._answer(connection, headers, request_id, verb)
            case "POST", ["init", "error"]:
                await self._init_error(connection)
            case _:
                await _drain(connection)
                await connection.respond(404, _JSON, _error("NotFound", f"{method} {path}"))

    async def _next(self, connection: HttpConnection) -> None:
        await _drain(connection)
        if self.poisoned or (self.current is not None and not self.current.closed):
            self._violate("/next was asked for while an event was still unanswered")
            self.lose(Failure("InvalidStateTransition"))
            await connection.respond(403, _JSON, _error("InvalidStateTransition", "State transition is not allowed"))
            return
        self.current = None
        self.idle.set()
        invocation = await self._due.get()
        headers = [
            *_JSON,
            ("lambda-runtime-aws-request-id", invocation.request_id),
            ("lambda-runtime-deadline-ms", str(invocation.deadline_ms)),
            ("lambda-runtime-invoked-function-arn", invocation.arn),
            (
                "lambda-runtime-trace-id",
                f"Root=1-{invocation.request_id[:8]}-{invocation.request_id[-12:]}00000000;Sampled=0",
            ),
        ]
        await connection.respond(200, headers, invocation.event)

    async def _answer(self, connection: HttpConnection, headers: Mapping[str, str], request_id: str, verb: str) -> None:
        invocation = self.current
        if invocation is None or invocation.request_id != request_id or invocation.answered:
            self._violate(f"a second or foreign /{verb}")
            await _drain(connection)
            await connection.respond(400, _JSON, _error("InvalidRequestID", "Invalid request ID"))
            return
        invocation.answered = True
        if verb == "error":
            document = _document(await _drain(connection))
            invocation.put(Failure(str(document.get("errorType")), str(document.get("errorMessage"))))
        elif headers.get("lambda-runtime-function-response-mode") == "streaming":
            if not await self._streamed(connection, headers.get("content-type", ""), invocation):
                connection.abort()
                return
        else:
            self._buffered(await _drain(connection), invocation)
        await connection.respond(202, _JSON, b'{"status":"OK"}')

    async def _streamed(self, connection: HttpConnection, content_type: str, invocation: Invocation) -> bool:
        """Forwards the chunks as they come. False where the cloud would have killed the process."""
        pending: bytes | None = b"" if content_type == _PRELUDE_TYPE else None
        if pending is None:
            invocation.put(Head(200, {"content-type": "application/octet-stream"}, []))
        empty = True
        async for received in connection.body():
            chunk = received
            if pending is not None:
                pending += received
                head, found, chunk = pending.partition(_DELIMITER)
                if not found and len(pending) <= _MAX_PRELUDE_BYTES:
                    continue
                if not found or not self._prelude(head, invocation):
                    return self._kill(invocation, "no prelude")
                pending = None
            if chunk:
                empty = False
                invocation.put(chunk)
        if pending is not None:
            return self._kill(invocation, "no prelude")
        trailers = connection.trailers
        if sum(len(name) + len(value) + 4 for name, value in trailers) > _MAX_TRAILER_BYTES:
            return self._kill(invocation, "trailers above 4,096 bytes")
        if empty:
            self._violate("an empty streamed body: a function URL would hang until the timeout")
            invocation.put(Failure("EmptyBody"))
        invocation.put(End(dict(trailers).get("lambda-runtime-function-error-type")))
        return True

    def _prelude(self, head: bytes, invocation: Invocation) -> bool:
        document = _document(head)
        headers, cookies = document.get("headers", {}), document.get("cookies", [])
        status = document.get("statusCode")
        if not isinstance(status, int) or not all(isinstance(value, str) for value in [*headers.values(), *cookies]):
            return False
        invocation.put(Head(status, {name.lower(): value for name, value in headers.items()}, list(cookies)))
        return True

    def _buffered(self, body: bytes, invocation: Invocation) -> None:
        """A plain result, as the stock loop posts it: the JSON document of a web reply, or any value."""
        result = json.loads(body) if body else None
        if not isinstance(result, dict) or "statusCode" not in result:
            invocation.put(Head(200, {"content-type": "application/json"}, []))
            invocation.put(body or b"null")
        else:
            headers = {name.lower(): str(value) for name, value in (result.get("headers") or {}).items()}
            text = result.get("body") or ""
            invocation.put(Head(int(result["statusCode"]), headers, result.get("cookies") or []))
            invocation.put(base64.b64decode(text) if result.get("isBase64Encoded") else text.encode())
        invocation.put(End())

    async def _init_error(self, connection: HttpConnection) -> None:
        document = _document(await _drain(connection))
        self.init_error = Failure(str(document.get("errorType")), str(document.get("errorMessage")))
        await connection.respond(202, _JSON, b'{"status":"OK"}')

    def _kill(self, invocation: Invocation, reason: str) -> bool:
        self._violate(reason)
        self.poisoned = True
        invocation.put(Failure("Runtime.ExitError", reason))
        return False

    def _violate(self, what: str) -> None:
        self.violations.append(what)


async def _drain(connection: HttpConnection) -> bytes:
    return b"".join([chunk async for chunk in connection.body()])


def _document(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        document = json.loads(data)
        if isinstance(document, dict):
            return document
    return {}


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": kind}).encode()
