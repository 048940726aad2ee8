"""The way to the upstream.

A call sends exactly one credential, follows no redirect, asks for no compression and never logs a URL. Failures are
`GatewayError`s; no type of the HTTP client leaves this module.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from msgspec import Struct

from shared.errors import GatewayError
from shared.gemini.breaker import CircuitBreaker
from shared.gemini.errors import from_chunk, from_response
from shared.gemini.grounding import REDIRECT_HOST, redirect_path
from shared.gemini.timeouts import Timeouts
from shared.gemini.upload_sessions import public_session
from shared.gemini.upstream_stream import (
    ERROR_BYTES,
    Deadline,
    UpstreamStream,
    parse_object,
    read_piece,
    read_whole,
    timed_out,
)
from shared.http1 import HttpClient, HttpFailure, Reply, Request, tls_context
from shared.sse import MAX_EVENT_BYTES

_MODEL = re.compile(r"[A-Za-z0-9._-]{1,100}")
_RELAY_PATH = re.compile(r"[A-Za-z]{1,40}(?:/[A-Za-z0-9._-]{1,128})?(?::[A-Za-z]{1,64})?")
_METHOD = re.compile(r"[A-Za-z]{1,64}")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}")
_PLAIN_HEADERS = (("accept-encoding", "identity"), ("user-agent", "serverless-gemini-gateway"))
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_VERSION_PATH = re.compile(r"/v\d\w*$")

Body = Mapping[str, Any] | bytes


class RelayCall(Struct, frozen=True):
    """A call whose reply is passed on as bytes. `path` stands under the version, `models/x:generateContent` for
    example; `upload` puts `/upload` before it; `url`, an upload session's address, replaces both. `patient`: one long
    answer may be silent for all the time there is."""

    path: str
    body: bytes | None = None
    method: str = "POST"
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    upload: bool = False
    url: str = ""
    patient: bool = False


class RelayReply(Struct, frozen=True):
    """A 2xx of the upstream; `pieces` are the body's bytes as they come, with the errors of `GeminiClient.stream`."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncGenerator[bytes]


class GeminiClient:
    """One connection pool and one TLS context for the life of the process: make it at start-up, `aclose()` it last.

    `base_url` is the upstream's root; `version` goes before the path unless the root already ends with one. After
    `breaker_failures` failed calls of a model in a row (0: never) its calls are refused for a while. Google's
    redirects are asked for at `redirect_root`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts | None = None,
        version: str = "v1beta",
        breaker_failures: int = 0,
        redirect_root: str = f"https://{REDIRECT_HOST}",
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        chance = random.SystemRandom()
        self._breaker = CircuitBreaker(breaker_failures, time.monotonic, chance.uniform)
        root = base_url.rstrip("/")
        self._root = root if _VERSION_PATH.search(root) else f"{root}/{version}"
        self._http = HttpClient(tls_context, connect_s=self._timeouts.connect, write_s=self._timeouts.write)
        if urlsplit(root).scheme == "https":
            tls_context()  # loaded now, not in the first request
        self._redirect_root = redirect_root

    async def aclose(self) -> None:
        self._http.close()

    def session_url(self, url: str, credential: str) -> str:
        """The address of an upload that this credential began, where a client may see it; see `public_session`."""
        return public_session(url, self._root, credential)

    async def location(self, link: str) -> str | None:
        """Where one of Google's redirects leads, by the head of its answer; None for other links and other answers.
        Nothing is followed. Cancelling it is fine."""
        path = redirect_path(link)
        if path is None:
            return None
        try:
            async with asyncio.timeout(self._timeouts.connect):
                reply = await self._http.send(Request("HEAD", self._redirect_root + path, _PLAIN_HEADERS))
                reply.close()
        except (HttpFailure, TimeoutError):
            return None
        return reply.headers.get("location") if reply.status in _REDIRECTS else None

    @asynccontextmanager
    async def stream(
        self, model: str, body: Body, credential: str, *, deadline_s: float | None = None, thinking: bool = False
    ) -> AsyncGenerator[UpstreamStream]:
        """`streamGenerateContent` as server-sent events. `deadline_s` is the time that this call may take in all.

        Entering waits for the first event, so that a refusal keeps its own kind: every row of the upstream's errors,
        `upstream_unreachable`, `upstream_timeout`, `upstream_invalid_response`. Iterating raises `upstream_interrupted`
        where the stream breaks, and `upstream_timeout` where it stalls. A later chunk that holds an error object is
        yielded as it came: the reader judges it.
        """
        wait = self._timeouts.first_byte_thinking if thinking else self._timeouts.first_byte
        idle = self._timeouts.idle_thinking if thinking else self._timeouts.idle
        deadline = Deadline(deadline_s)
        request = self._request(model, "streamGenerateContent", body, credential, deadline_s, stream=True)
        until = deadline.within(wait)  # one wait for the head and the first event together
        response: Reply | None = None
        try:
            with self._breaker.watch(model):
                response = await self._send(request, until)
                stream = UpstreamStream(response, deadline, idle)
                await stream.begin(until)
            yield stream
        finally:
            if response is not None:
                response.close()

    async def call(
        self,
        method: str,
        model: str,
        body: Body,
        credential: str,
        *,
        deadline_s: float | None = None,
        patient: bool = False,
    ) -> dict[str, Any]:
        """A plain call, `countTokens` or `batchEmbedContents` for example, and its JSON object. `patient` where
        the answer takes long to make. Same errors as `stream` before its first event."""
        request = self._request(model, method, body, credential, deadline_s, stream=False)
        until = Deadline(deadline_s).within(self._timeouts.whole if patient else self._timeouts.first_byte)
        with self._breaker.watch(model):
            response = await self._send(request, until)
            try:
                data = await read_whole(response, MAX_EVENT_BYTES if response.status == 200 else ERROR_BYTES, until)
            finally:
                response.close()
            if response.status != 200:
                raise from_response(response.status, data)
            parsed = parse_object(data)
            if "error" in parsed:
                raise from_chunk(parsed["error"])
        return parsed

    @asynccontextmanager
    async def relay(
        self, call: RelayCall, credential: str, *, deadline_s: float | None = None, thinking: bool = False
    ) -> AsyncGenerator[RelayReply]:
        """Any call, its reply unread. A status outside 2xx raises what it means, like `stream` before its first
        event."""
        wait = self._timeouts.first_byte_thinking if thinking else self._timeouts.first_byte
        idle = self._timeouts.idle_thinking if thinking else self._timeouts.idle
        deadline = Deadline(deadline_s)
        request = self._relay_request(call, credential, deadline_s)
        # one wait for the head and the first bytes together
        until = deadline.within(self._timeouts.whole if call.patient else wait)
        with self._breaker.watch(_model_of(call.path)):
            response = await self._send(request, until)
            try:
                if not 200 <= response.status < 300:
                    raise from_response(response.status, await read_whole(response, ERROR_BYTES, until))
            except BaseException:
                response.close()
                raise
        try:
            async with aclosing(_timed_pieces(response, until, deadline, idle)) as pieces:
                yield RelayReply(response.status, response.headers, pieces)
        finally:
            response.close()

    def _relay_request(self, call: RelayCall, credential: str, deadline_s: float | None) -> Request:
        if call.url:
            # the credential follows only to where it came from
            if urlsplit(call.url).netloc != urlsplit(self._root).netloc:
                raise GatewayError("upstream_invalid_response", "The upstream named an upload address elsewhere.")
            url = call.url
        else:
            if not _RELAY_PATH.fullmatch(call.path) or ".." in call.path:
                raise GatewayError("not_found", "There is no such path.")
            host, _, version = self._root.rpartition("/")
            url = f"{host}/upload/{version}/{call.path}" if call.upload else f"{self._root}/{call.path}"
        if not _CREDENTIAL.fullmatch(credential):
            raise GatewayError("upstream_auth", "The gateway's upstream credential is malformed.", reason="credentials")
        headers = {**dict(call.headers), "x-goog-api-key": credential}
        if deadline_s is not None:
            headers["x-server-timeout"] = str(max(1, int(deadline_s)))
        query = urlencode(call.query, safe="$;=")
        url += ("&" if "?" in url else "?") + query if query else ""
        return Request(call.method, url, (*_PLAIN_HEADERS, *headers.items()), call.body or b"")

    def _request(
        self, model: str, method: str, body: Body, credential: str, deadline_s: float | None, *, stream: bool
    ) -> Request:
        if not _MODEL.fullmatch(model) or model.strip(".") == "" or not _METHOD.fullmatch(method):
            # neither dot segments nor other marks of a URL may get through
            raise GatewayError("model_not_found", "The model name is not valid.", param="model")
        if not _CREDENTIAL.fullmatch(credential):
            raise GatewayError("upstream_auth", "The gateway's upstream credential is malformed.", reason="credentials")
        headers = {"x-goog-api-key": credential, "content-type": "application/json"}
        if deadline_s is not None:
            headers["x-server-timeout"] = str(max(1, int(deadline_s)))
        content = body if isinstance(body, bytes) else _encode(body)
        url = f"{self._root}/models/{model}:{method}" + ("?alt=sse" if stream else "")
        return Request("POST", url, (*_PLAIN_HEADERS, *headers.items()), content)

    async def _send(self, request: Request, until: float) -> Reply:
        try:
            return await self._http.send(request, until)
        except HttpFailure as error:
            raise GatewayError("upstream_unreachable", "The upstream could not be reached.") from error
        except TimeoutError as error:
            raise timed_out() from error


def _model_of(path: str) -> str:
    """The model that a relayed call is about; everything that is about none counts as one."""
    kind, _, rest = path.partition("/")
    return rest.partition(":")[0] if kind == "models" else ""


async def _timed_pieces(response: Reply, until: float, deadline: Deadline, idle: float) -> AsyncGenerator[bytes]:
    """The body's bytes, the first of them until then; between two of them `idle` seconds may pass."""
    piece = await read_piece(response, until, begun=False)
    while piece:
        yield piece
        piece = await read_piece(response, deadline.within(idle))


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, or half a surrogate pair
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
