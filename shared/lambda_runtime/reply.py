"""The reply as bytes of the Runtime API: prelude, chunks, error trailers."""

import base64
import json
import logging
from collections.abc import Iterable

from shared.lambda_runtime.connection import Answer, Headers, RuntimeConnection
from shared.lambda_runtime.invocation import Invocation
from shared.lambda_runtime.logs import redact

ROOT = "/2018-06-01/runtime"
_DELIMITER = b"\0" * 8
# Lambda has been seen to hold the first small chunk back until the next write
# (aws-lambda-nodejs-runtime-interface-client#102), which would cost an SSE client its first token. A comment is
# invisible to SSE parsers and pushes the prelude out; b"" switches it off. An application whose clients parse less than
# SSE names other bytes as `lambda_runtime.opening` in its `http.response.start`.
OPENING_COMMENT = b": ok\n\n"
# An empty streamed body makes function URL and CloudFront wait until the timeout
# (aws-lambda-nodejs-runtime-interface-client#95).
_FILLER = b"\n"
_BODILESS = frozenset({204, 205, 304})
_HOP_BY_HOP = frozenset({"content-length", "transfer-encoding", "connection"})
# Trailers of about 4,096 bytes together break the Runtime API's parser, which then kills the process. Quotes and
# backslashes double in JSON and base64 adds a third: 1,200 bytes of message stay below 4,000.
_MAX_MESSAGE_CHARACTERS = 1_000
_MAX_MESSAGE_BYTES = 1_200
_TRAILER_NAMES = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"

logger = logging.getLogger(__name__)


class Fault:
    """What went wrong, for Lambda's logs and metrics: no stack (a trailer has no room), the message cut to a
    trailer's size.
    """

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message

    @classmethod
    def of(cls, error: BaseException) -> "Fault":
        # A class may be named in any script, a header may not.
        name = type(error).__name__.encode("ascii", "replace").decode()
        return cls(f"Runtime.{name}", f"{name}: {error}")

    def fields(self) -> dict[str, str]:
        """``errorType`` and ``errorMessage`` as the Runtime API names them."""
        printable = "".join(c if c.isprintable() else " " for c in redact(self.message)[:_MAX_MESSAGE_CHARACTERS])
        cut = printable.encode("utf-8", "replace")[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
        return {"errorType": self.kind[:100], "errorMessage": cut}

    def document(self) -> bytes:
        """The body of ``/error`` and ``/init/error``."""
        return json.dumps({**self.fields(), "stackTrace": []}).encode()

    def header(self) -> tuple[str, str]:
        return ("lambda-runtime-function-error-type", self.kind[:100])

    def trailers(self) -> Headers:
        """Both trailers, below 4,000 bytes together."""
        document = json.dumps(self.fields(), ensure_ascii=False).encode()
        return [self.header(), ("lambda-runtime-function-error-body", base64.b64encode(document).decode())]


def prelude_of(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Status and headers as JSON and eight NUL bytes. Names lower case, duplicates joined by a comma, ``set-cookie``
    apart.

    A status that may have no body becomes 200, because a streamed reply without a body hangs.
    """
    joined: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "set-cookie":
            cookies.append(value)
        elif name not in _HOP_BY_HOP:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
    document = {"statusCode": 200 if status in _BODILESS else status, "headers": joined, "cookies": cookies}
    return json.dumps(document, separators=(",", ":")).encode() + _DELIMITER


class StreamedReply:
    """The one POST that answers an invocation: ``start``, ``write`` as often as wanted, then ``end`` or ``fail``.

    After a write has failed the connection is closed and every later write raises ``OSError``.
    """

    def __init__(self, connection: RuntimeConnection, invocation: Invocation) -> None:
        self._connection = connection
        self._path = f"{ROOT}/invocation/{invocation.context.aws_request_id}"
        echo = invocation.invocation_id
        self._echo = [("lambda-runtime-invocation-id", echo)] if echo else []
        self._empty = True
        self.started = False
        self.finished = False

    async def start(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], *, opening: bytes = OPENING_COMMENT
    ) -> None:
        """Opens the POST and sends the prelude, and for an event stream the opening as a chunk of its own."""
        pairs = list(headers)
        request = [
            ("content-type", "application/vnd.awslambda.http-integration-response"),
            ("lambda-runtime-function-response-mode", "streaming"),
            ("trailer", _TRAILER_NAMES),
            *self._echo,
        ]
        self.started = True
        await self._connection.begin(f"{self._path}/response", request, prelude_of(status, pairs))
        if opening and _is_event_stream(pairs):
            await self.write(opening)

    async def write(self, chunk: bytes) -> None:
        """One chunk, sent and drained before return; nothing for an empty one."""
        if chunk:
            self._empty = False
            await self._connection.write(chunk)

    async def end(self) -> None:
        """Completes the reply; from here Lambda lets the client go."""
        self.finished = True
        if self._empty:
            await self.write(_FILLER)
        _expect_accepted(await self._connection.finish())

    async def fail(self, fault: Fault) -> None:
        """Reports a fault: by ``/error`` while nothing was sent, else by trailers, where the client sees its body
        cut.
        """
        if self.finished:
            return
        self.finished = True
        if self.started:
            _expect_accepted(await self._connection.finish(fault.trailers()))
            return
        headers = [fault.header(), ("content-type", "application/json"), *self._echo]
        _expect_accepted(await self._connection.request("POST", f"{self._path}/error", headers, fault.document()))


def _is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )


def _expect_accepted(answer: Answer) -> None:
    if answer.status != 202:
        logger.error(
            "the Runtime API refused a reply",
            extra={"fields": {"status": answer.status, "detail": answer.body[:500].decode("utf-8", "replace")}},
        )
