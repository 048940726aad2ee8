"""The HTTP side of Lambda on the laptop: requests in, events to functions, their replies out chunk by chunk.

Shared by the emulator of one function URL and by the edge in front of deployed functions. No TLS, no IAM.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import h11

from infra.local.execution import Function
from infra.local.http_connection import ClientClosed, HttpConnection
from infra.local.runtime_api import End, Failure, Head, Piece
from infra.local.url_event import MAX_BODY_BYTES, Refusal, UrlRequest, build_event, encode_event

_JSON = [("content-type", "application/json")]
_DROPPED = frozenset({"content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Routed:
    """`request` is what the function's URL receives."""

    function: Function
    request: UrlRequest


@dataclass(frozen=True, slots=True)
class Served:
    """One request that reached a function, in one line of a log. The query is left out: it may hold a key."""

    function: str
    request_id: str
    method: str
    path: str


type Router = Callable[[UrlRequest], Routed | Refusal]


class LambdaFront:
    """An HTTP server; `router` says for each request which function gets it, `report` is told when it does. The
    functions are the caller's to stop.
    """

    def __init__(
        self, router: Router, host: str = "127.0.0.1", port: int = 0, report: Callable[[Served], None] | None = None
    ) -> None:
        self._router = router
        self._report = report
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Returns the base URL, without a slash at its end."""
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Closes every connection, replies under way are cut."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = HttpConnection(reader, writer)
        try:
            while (request := await connection.request()) is not None:
                await self._serve(connection, request)
        except (ClientClosed, ConnectionError):
            connection.abort()
        except asyncio.CancelledError:
            connection.abort()  # we are told to stop; nobody waits for this task's result
        finally:
            self._tasks.discard(task)
            await connection.close()

    async def _serve(self, connection: HttpConnection, head: h11.Request) -> None:
        """One request through one function, with the answers of Lambda's front where the function gives none."""
        body = bytearray()
        async for chunk in connection.body():
            # read to the end even when it is too large: a client still sending would see a reset instead of the 413
            body += chunk[: MAX_BODY_BYTES + 1 - len(body)]
        if len(body) > MAX_BODY_BYTES:
            await connection.respond(413, _JSON, b'{"Message":null}')
            return
        request = UrlRequest(
            method=head.method.decode(),
            target=head.target.decode("latin-1"),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers],
            body=bytes(body),
            source_ip=connection.peer,
        )
        routed = self._router(request)
        if isinstance(routed, Refusal):
            await connection.respond(routed.status, _JSON, json.dumps({"Message": routed.message}).encode())
            return
        request_id = str(uuid.uuid4())
        if self._report is not None:
            name, path = routed.function.configuration.name, routed.request.target.partition("?")[0]
            self._report(Served(name, request_id, request.method, path))
        await _invoke(connection, routed, request_id)


async def _invoke(connection: HttpConnection, routed: Routed, request_id: str) -> None:
    event = encode_event(build_event(routed.request, request_id=request_id, now=time.time()))
    environment = await routed.function.acquire()
    if environment is None:
        await connection.respond(429, _JSON, b'{"Message":"Rate Exceeded."}')
    elif isinstance(environment, Failure):
        await _bad_gateway(connection, environment)
    else:
        await _forward(connection, environment.invoke(event, request_id), request_id)


async def _forward(connection: HttpConnection, pieces: AsyncIterator[Piece], request_id: str) -> None:
    """Passes a reply on as it comes.

    The head waits for the first byte of the body, as an empty streamed body never reaches a client. A client that
    leaves is not noticed by the function: the reply is read to its end all the same.
    """
    head: Head | None = None
    started = gone = False
    async for piece in pieces:
        if gone:
            continue
        try:
            if isinstance(piece, Head):
                head = piece
            elif isinstance(piece, bytes):
                if head is not None and not started:
                    await connection.start(head.status, _client_headers(head, request_id))
                    started = True
                await connection.chunk(piece)
            elif isinstance(piece, Failure) and not started:
                await _bad_gateway(connection, piece)
            elif isinstance(piece, End) and piece.error_type is None:
                await connection.end()
            else:
                connection.abort()
        except ConnectionError:
            gone = True


async def _bad_gateway(connection: HttpConnection, failure: Failure) -> None:
    """What a client sees of a function without an answer; the reason goes to standard error only."""
    print(f"{failure.error_type}: {failure.message}", file=sys.stderr, flush=True)
    await connection.respond(502, _JSON, b'{"message":"Internal Server Error"}')


def _client_headers(head: Head, request_id: str) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in head.headers.items() if name not in _DROPPED]
    cookies = [("set-cookie", cookie) for cookie in head.cookies]
    return [*kept, *cookies, ("x-amzn-requestid", request_id), ("transfer-encoding", "chunked")]
