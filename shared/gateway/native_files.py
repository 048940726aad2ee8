"""The Files API: uploads in one request or resumable, through the gateway or, where they are too large, past it."""

import secrets
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.gemini_native.errors import render_error, unimplemented
from shared.dialects.gemini_native.framing import pretty
from shared.dialects.gemini_native.query import read_options
from shared.dialects.gemini_native.reading import parsed
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.direct_uploads import DirectUploads, goes_past
from shared.gateway.native_life import NativeLife, json_bytes
from shared.gateway.native_objects import OwnedResources, Owners, unknown
from shared.gateway.native_upstream import NativeUpstream, passed
from shared.gateway.request_body import read_bytes
from shared.gemini.client import RelayCall
from shared.stores.protocols import OwnedObject

_KEPT_S = 48 * 3600  # how long Google keeps a file
_SESSION_S = 3600
_PREFIX = "x-goog-upload-"
_PASSED_UP = ("command", "offset", "protocol", "header-content-length", "header-content-type", "file-name")


class NativeFiles:
    def __init__(self, life: NativeLife, owners: Owners, upstream: NativeUpstream) -> None:
        self._life = life
        self._owners = owners
        self._upstream = upstream
        self._resources = OwnedResources("files", owners, upstream)
        self._direct = DirectUploads(owners, upstream)

    async def upload(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """`POST /upload/{version}/files`: a start, a piece of a running upload, or the whole in one request."""
        if upload_id := request.query_params.get("upload_id", ""):
            try:
                return await self._piece(request, exchange, upload_id)
            except GatewayError as error:
                # without a status Google's SDKs send the same piece again and again
                status, refusal, headers = render_error(error, exchange.shown_id)
                return json_bytes(pretty(refusal), {**headers, f"{_PREFIX}status": "final"}, status=status)
        key = await self._life.principal(request, exchange, endpoint)
        past = goes_past(request.headers, self._limit, elsewhere=self._elsewhere)
        body = await read_bytes(request, self._limit)
        if past:
            return json_bytes(*await self._direct.start(key.acct, request.headers, body, exchange))
        query = tuple((n, v) for n, v in request.query_params.items() if n == "uploadType")
        call = RelayCall("files", body, query=query, headers=_headers(request), upload=True)
        content, reply, credential_id = await self._upstream.fetch(call, "", exchange)
        url = reply.headers.get(f"{_PREFIX}url", "")
        if not url:
            await self._own(key.acct, content, credential_id, exchange)
            return json_bytes(content)
        upload_id = f"{key.acct}.{secrets.token_urlsafe(24)}"
        session = OwnedObject(f"uploads/{upload_id}", credential_id, exchange.created + _SESSION_S, url)
        await self._owners.add(key.acct, session)
        return json_bytes(content, _session_headers(request, upload_id, reply.headers))

    async def _piece(self, request: Request, exchange: Exchange, upload_id: str) -> Response:
        """The session's id, which nobody can guess, stands for the key: SDKs send none with the pieces."""
        acct = upload_id.partition(".")[0]
        session = await self._owners.get(acct, f"uploads/{upload_id}")
        body = await read_bytes(request, self._limit)
        call = RelayCall("", body, headers=_headers(request), url=session.url)
        content, reply, credential_id = await self._upstream.fetch(call, "", exchange, session.credential_id)
        status = reply.headers.get(f"{_PREFIX}status", "")
        if status == "final":
            await self._own(acct, content, credential_id, exchange)
            await self._owners.remove(acct, session.name)
        return json_bytes(content, {f"{_PREFIX}status": status} if status else {})

    async def one(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        key = await self._life.principal(request, exchange, endpoint)
        name = request.path_params["file"]
        if ":" in name:
            raise unimplemented(f"The method {name.rpartition(':')[2]} of files")
        if not name.replace("-", "").replace("_", "").isalnum():
            raise unknown("files/")
        options = read_options(request.query_params)
        content = await self._resources.call(key.acct, name, exchange, method=request.method)
        return json_bytes(passed(content, options))

    async def list(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        key = await self._life.principal(request, exchange, endpoint)
        options = read_options(request.query_params)
        return json_bytes(written(await self._resources.page(key.acct, request.query_params, exchange), options))

    async def _own(self, acct: str, content: bytes, credential_id: str, exchange: Exchange) -> None:
        file = parsed(content).get("file")
        name = file.get("name") if isinstance(file, dict) else None
        if not isinstance(name, str) or not name.startswith("files/"):
            raise GatewayError("upstream_invalid_response", "The upstream did not name the new file.")
        item = OwnedObject(name, credential_id, exchange.created + _KEPT_S)
        await self._resources.own(acct, item, exchange)

    @property
    def _limit(self) -> int:
        return self._life.services.settings.max_body_bytes

    @property
    def _elsewhere(self) -> str:
        return " POST /v1/uploads takes larger files." if self._life.services.files is not None else ""


def _headers(request: Request) -> tuple[tuple[str, str], ...]:
    names = ("content-type", *(_PREFIX + name for name in _PASSED_UP))
    return tuple((name, request.headers[name]) for name in names if name in request.headers)


def _session_headers(request: Request, upload_id: str, reply: Mapping[str, str]) -> dict[str, str]:
    granularity = reply.get(f"{_PREFIX}chunk-granularity", "")
    url = request.url.replace(query=f"upload_id={upload_id}&upload_protocol=resumable")
    headers = {f"{_PREFIX}url": str(url), f"{_PREFIX}status": "active"}
    return headers | ({f"{_PREFIX}chunk-granularity": granularity} if granularity else {})
