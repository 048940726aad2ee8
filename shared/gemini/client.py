"""The way to the upstream.

A call sends exactly one credential, follows no redirect, asks for no compression and never logs a URL. Failures are
`GatewayError`s; no type of the HTTP client leaves this module.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
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
    Deadline,
    Pieces,
    UpstreamStream,
    parse_object,
    read_error,
    read_whole,
    timed_out,
)
from shared.http1 import Headers, HttpClient, HttpFailure, Reply, Request, header_lines, tls_context
from shared.sse import MAX_EVENT_BYTES

_MODEL = re.compile(r"[A-Za-z0-9._-]{1,100}")
_RELAY_PATH = r"[A-Za-z]{1,40}(?:/[A-Za-z0-9._-]{1,128})?(?::[A-Za-z]{1,64})?"
_METHOD = re.compile(r"[A-Za-z]{1,64}")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}")
_PLAIN_HEADERS = (("accept-encoding", "identity"), ("user-agent", "serverless-gemini-gateway"))
_JSON = ("content-type", "application/json")
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
    headers: Headers = (_JSON,)
    upload: bool = False
    url: str = ""
    patient: bool = False


class RelayReply(Struct, frozen=True):
    """A 2xx of the upstream; `pieces` are the body's bytes as they come, with the errors of `GeminiClient.stream`."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


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

    def stream(
        self, model: str, body: Body, credential: str, *, deadline_s: float | None = None, thinking: bool = False
    ) -> AbstractAsyncContextManager[UpstreamStream]:
        """`streamGenerateContent` as server-sent events. `deadline_s` is the time that this call may take in all.

        Entering waits for the first event, so that a refusal keeps its own kind: every row of the upstream's errors,
        `upstream_unreachable`, `upstream_timeout`, `upstream_invalid_response`. Iterating raises `upstream_interrupted`
        where the stream breaks, and `upstream_timeout` where it stalls. A later chunk that holds an error object is
        yielded as it came: the reader judges it.
        """
        return _Opening(self._streamed(model, body, credential, deadline_s, thinking))

    async def _streamed(
        self, model: str, body: Body, credential: str, deadline_s: float | None, thinking: bool
    ) -> tuple[Reply, UpstreamStream]:
        wait, idle = self._patience(thinking)
        deadline = Deadline(deadline_s)
        request = _request(self._root, model, "streamGenerateContent", "?alt=sse")
        lines, content = _changing(credential, deadline_s), _encoded(body)
        until = deadline.within(wait)  # one wait for the head and the first event together
        with self._breaker.watch(model):
            reply = await self._send(request, until, lines, content)
            try:
                stream = UpstreamStream(reply, deadline, idle)
                await stream.begin(until)
            except BaseException:
                reply.close()
                raise
        return reply, stream

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
        request = _request(self._root, model, method, "")
        lines, content = _changing(credential, deadline_s), _encoded(body)
        until = Deadline(deadline_s).within(self._timeouts.whole if patient else self._timeouts.first_byte)
        with self._breaker.watch(model):
            reply = await self._send(request, until, lines, content)
            if reply.status != 200:
                raise from_response(reply.status, await read_error(reply, until))
            parsed = parse_object(await read_whole(reply, MAX_EVENT_BYTES, until))
            if "error" in parsed:
                raise from_chunk(parsed["error"])
        return parsed

    def relay(
        self, call: RelayCall, credential: str, *, deadline_s: float | None = None, thinking: bool = False
    ) -> AbstractAsyncContextManager[RelayReply]:
        """Any call, its reply unread. A status outside 2xx raises what it means, like `stream` before its first
        event."""
        return _Opening(self._relayed(call, credential, deadline_s, thinking))

    async def _relayed(
        self, call: RelayCall, credential: str, deadline_s: float | None, thinking: bool
    ) -> tuple[Reply, RelayReply]:
        wait, idle = self._patience(thinking)
        deadline = Deadline(deadline_s)
        request = self._relay_request(call)
        changing = _changing(credential, deadline_s)
        # one wait for the head and the first bytes together
        until = deadline.within(self._timeouts.whole if call.patient else wait)
        with self._breaker.watch(_model_of(call.path)):
            reply = await self._send(request, until, _passed_on(call.headers) + changing, call.body or b"")
            if not 200 <= reply.status < 300:
                raise from_response(reply.status, await read_error(reply, until))
        return reply, RelayReply(reply.status, reply.headers, Pieces(reply, until, deadline, idle))

    def _patience(self, thinking: bool) -> tuple[float, float]:
        """Seconds for the first byte, and between two."""
        timeouts = self._timeouts
        if thinking:
            return timeouts.first_byte_thinking, timeouts.idle_thinking
        return timeouts.first_byte, timeouts.idle

    def _relay_request(self, call: RelayCall) -> Request:
        if not call.url:
            return _relay_request(self._root, call.method, call.path, call.query, call.upload)
        # the credential follows only to where it came from
        if urlsplit(call.url).netloc != urlsplit(self._root).netloc:
            raise GatewayError("upstream_invalid_response", "The upstream named an upload address elsewhere.")
        return Request(call.method, _with_query(call.url, call.query), _PLAIN_HEADERS)

    async def _send(self, request: Request, until: float, lines: bytes, body: bytes) -> Reply:
        try:
            return await self._http.send(request, until, lines, body)
        except HttpFailure as error:
            raise GatewayError("upstream_unreachable", "The upstream could not be reached.") from error
        except TimeoutError as error:
            raise timed_out() from error


class _Opening[T]:
    """A reply that is opened on entering and closed on leaving. A plain class, because a context manager made of a
    generator costs several times as much."""

    __slots__ = ("_opening", "_reply")

    def __init__(self, opening: Coroutine[None, None, tuple[Reply, T]]) -> None:
        self._opening = opening

    async def __aenter__(self) -> T:
        self._reply, opened = await self._opening
        return opened

    async def __aexit__(self, *raised: object) -> None:
        self._reply.close()


@lru_cache(256)
def _request(root: str, model: str, method: str, query: str) -> Request:
    if not _MODEL.fullmatch(model) or model.strip(".") == "" or not _METHOD.fullmatch(method):
        # neither dot segments nor other marks of a URL may get through
        raise GatewayError("model_not_found", "The model name is not valid.", param="model")
    return Request("POST", f"{root}/models/{model}:{method}{query}", (*_PLAIN_HEADERS, _JSON))


@lru_cache(256)
def _relay_request(root: str, method: str, path: str, query: tuple[tuple[str, str], ...], upload: bool) -> Request:
    if not re.fullmatch(_RELAY_PATH, path) or ".." in path:
        raise GatewayError("not_found", "There is no such path.")
    host, _, version = root.rpartition("/")
    url = f"{host}/upload/{version}/{path}" if upload else f"{root}/{path}"
    return Request(method, _with_query(url, query), _PLAIN_HEADERS)


def _with_query(url: str, query: tuple[tuple[str, str], ...]) -> str:
    return url + ("&" if "?" in url else "?") + urlencode(query, safe="$;=") if query else url


def _changing(credential: str, deadline_s: float | None) -> bytes:
    """The header lines that a call has of its own."""
    key = _key_line(credential)
    return key if deadline_s is None else b"%bx-server-timeout: %d\r\n" % (key, max(1, int(deadline_s)))


@lru_cache(64)
def _key_line(credential: str) -> bytes:
    if not _CREDENTIAL.fullmatch(credential):
        raise GatewayError("upstream_auth", "The gateway's upstream credential is malformed.", reason="credentials")
    return header_lines((("x-goog-api-key", credential),))


@lru_cache(64)
def _passed_on(headers: Headers) -> bytes:
    try:
        return header_lines(tuple(dict(headers).items()))
    except HttpFailure as error:
        raise GatewayError("upstream_unreachable", "The upstream could not be reached.") from error


def _model_of(path: str) -> str:
    """The model that a relayed call is about; everything that is about none counts as one."""
    kind, _, rest = path.partition("/")
    return rest.partition(":")[0] if kind == "models" else ""


def _encoded(body: Body) -> bytes:
    if isinstance(body, bytes):
        return body
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # an integer beyond 64 bits, or half a surrogate pair
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
