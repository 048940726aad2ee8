"""What the contents of one request refer to: files that the gateway or the upstream keeps for the account, and public
links that the upstream may not be able to fetch.

Most requests refer to nothing and never come here. A link goes upstream as it is; the gateway fetches it only where the
upstream cannot, and only for keys that may.
"""

import asyncio
import base64
import importlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from shared.errors import GatewayError
from shared.events import Event
from shared.gateway.context import Exchange
from shared.gateway.kept_files import KeptFiles
from shared.gateway.metering import Meter
from shared.gateway.telemetry import log
from shared.gateway.upstream import Upstream
from shared.gemini.catalog import ResolvedModel
from shared.gemini.file_links import (
    KEPT_FILE,
    KEPT_OBJECT,
    file_links,
    is_public_link,
    path_of,
    takes_urls,
    upstream_file,
    with_files,
)
from shared.gemini.types import GenerateContentRequest
from shared.stores.protocols import KeyRecord, OwnedObjectStore, StoreUnavailable

MAX_LINKS = 8  # that the gateway fetches for one request
MAX_FETCHED_BYTES = 30_000_000  # of all of them together: they are held in memory and sent as base64
_AT_ONCE = 2
_CACHED = "cachedContents/"


class Fetched(Protocol):
    @property
    def media_type(self) -> str: ...

    @property
    def data(self) -> bytes: ...


class Fetcher(Protocol):
    """The guarded way to other people's servers; see `shared.gemini.url_fetcher`."""

    async def fetch(self, url: str, param: str | None = None) -> Fetched: ...


class FetcherOnDemand:
    """Imports and makes the fetcher with the first link that needs it."""

    def __init__(self, *, plain_http: bool) -> None:
        self._plain_http = plain_http
        self._fetcher: Fetcher | None = None

    async def fetch(self, url: str, param: str | None = None) -> Fetched:
        if self._fetcher is None:
            module = importlib.import_module("shared.gemini.url_fetcher")
            self._fetcher = module.UrlFetcher(plain_http=self._plain_http)
        return await self._fetcher.fetch(url, param)


class RequestMedia:
    """The references of one request. `body` is the client's, in which errors name the place; `fetcher` None: links are
    never fetched here; `kept` None: this gateway keeps no files."""

    def __init__(
        self,
        key: KeyRecord,
        body: Mapping[str, Any],
        exchange: Exchange,
        *,
        owned: OwnedObjectStore | None,
        kept: KeptFiles | None,
        fetcher: Fetcher | None,
    ) -> None:
        self._key = key
        self._body = body
        self._exchange = exchange
        self._owned = owned
        self._kept = kept
        self._fetcher = fetcher
        self._turn = asyncio.Lock()  # candidates of one request share what is made ready and fetched
        self._found: dict[str, Mapping[str, Any]] = {}
        self._fetched_bytes = 0
        self.credential_id: str | None = None  # of the one credential that sees the request's files

    async def ready(
        self, request: GenerateContentRequest, model_id: str, upstream: Upstream, *, fetch: bool = True
    ) -> GenerateContentRequest:
        """The request as the upstream can read it: files of the account in the upstream's own names, links that it
        would refuse inlined. Raises GatewayError."""
        async with self._turn:
            uris = list(dict.fromkeys(file["fileUri"] for file in file_links(request)))
            cached = request.get("cachedContent")  # the prompt that this one goes on from
            await self._own([cached, *uris] if cached else uris)
            await self._keep_ready([uri for uri in uris if _is_kept(uri)], model_id, upstream)
            if fetch:
                https_too = not takes_urls(model_id)
                links = [uri for uri in uris if is_public_link(uri)]
                await self._fetch([uri for uri in links if https_too or uri.lower().startswith("http:")])
        return with_files(request, self._found) if self._found else request

    async def inlined(self, request: GenerateContentRequest) -> GenerateContentRequest | None:
        """The request with every public link fetched, after the upstream said that it cannot; None where there is
        nothing to fetch, or nobody who may."""
        links = [file["fileUri"] for file in file_links(request) if is_public_link(file["fileUri"])]
        if not links or self._fetcher is None or not self._key.url_fetch:
            return None
        async with self._turn:
            await self._fetch(links)
        return with_files(request, self._found)

    async def _own(self, names: list[str]) -> None:
        """The upstream's project is shared: what another account keeps there is unknown."""
        for uri in names:
            name = uri if uri.startswith(_CACHED) else upstream_file(uri)
            if not name:
                continue
            try:
                item = await self._owned.get(self._key.acct, name) if self._owned is not None else None
            except StoreUnavailable as error:
                message = "The records of files cannot be read now."
                raise GatewayError("unavailable", message, retry_after=error.retry_after) from error
            if item is None:
                raise self._unknown(uri)
            if self.credential_id not in (None, item.credential_id):
                message = "The files of this request stand in different upstream projects."
                raise GatewayError("invalid_request", message, param=self._place(uri))
            self.credential_id = item.credential_id

    async def _keep_ready(self, uris: list[str], model_id: str, upstream: Upstream) -> None:
        for uri in uris:
            if uri in self._found:
                continue
            file_id = uri
            if found := re.fullmatch(KEPT_OBJECT, uri):
                bucket, acct, file_id = found.groups()
                if self._kept is None or (bucket, acct) != (self._kept.bucket, self._key.acct):
                    raise self._unknown(uri)
            if self._kept is None:
                raise self._unknown(uri)
            sent = await self._kept.at_upstream(
                self._key.acct, file_id, model_id, upstream, self.credential_id, self._exchange
            )
            if sent is None:
                raise self._unknown(uri)
            self.credential_id = sent.credential_id
            self._found[uri] = {"fileData": {"mimeType": sent.media_type, "fileUri": sent.uri}}

    async def _fetch(self, links: list[str]) -> None:
        wanted = [link for link in dict.fromkeys(links) if link not in self._found]
        if not wanted:
            return
        if self._fetcher is None or not self._key.url_fetch:
            message = "Links of this kind have to be fetched by the gateway, which this key may not ask for."
            raise GatewayError("feature_not_allowed", message, param=self._place(wanted[0]))
        if len(self._found) + len(wanted) > MAX_LINKS:
            message = f"More than {MAX_LINKS} links would have to be fetched."
            raise GatewayError("invalid_request", message, param=self._place(wanted[MAX_LINKS - 1]))
        gate = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.timeout(self._exchange.remaining_s), asyncio.TaskGroup() as tasks:
                for link in wanted:
                    tasks.create_task(self._inline(link, self._fetcher, gate))
        except* GatewayError as failures:
            raise _first(failures) from failures
        except* TimeoutError:
            raise GatewayError("upstream_timeout", "The links could not be fetched in time.") from None
        log("links_fetched", request_id=self._exchange.request_id, count=len(wanted))

    async def _inline(self, link: str, fetcher: Fetcher, gate: asyncio.Semaphore) -> None:
        place = self._place(link)
        async with gate:
            fetched = await fetcher.fetch(link, place)
        self._fetched_bytes += len(fetched.data)
        if self._fetched_bytes > MAX_FETCHED_BYTES:
            message = f"The files behind the links have more than {MAX_FETCHED_BYTES} bytes together."
            raise GatewayError("request_too_large", message, param=place)
        encoded = base64.b64encode(fetched.data).decode("ascii")
        self._found[link] = {"inlineData": {"mimeType": fetched.media_type, "data": encoded}}

    def _place(self, uri: str) -> str | None:
        """Where the client wrote it; the bare name of a file becomes a link on its way."""
        return path_of(self._body, uri) or path_of(self._body, upstream_file(uri) or uri)

    def _unknown(self, uri: str) -> GatewayError:
        kind = "cached content" if uri.startswith(_CACHED) else "file"
        message = f"The {kind} does not exist or you do not have access to it."
        return GatewayError("not_found", message, param=self._place(uri))


def answered(
    upstream: Upstream,
    request: GenerateContentRequest,
    model: ResolvedModel,
    exchange: Exchange,
    meter: Meter,
    media: RequestMedia | None,
    *,
    drafts: bool = False,
) -> AsyncGenerator[list[Event]]:
    """`Upstream.answer` with what the request refers to made ready."""
    if media is None:
        return upstream.answer(request, model, exchange, meter, drafts=drafts)
    return _answered(upstream, request, model, exchange, meter, media, drafts=drafts)


async def _answered(
    upstream: Upstream,
    request: GenerateContentRequest,
    model: ResolvedModel,
    exchange: Exchange,
    meter: Meter,
    media: RequestMedia,
    *,
    drafts: bool,
) -> AsyncGenerator[list[Event]]:
    """Once more with its links inlined where the upstream could not fetch them and has said nothing else yet."""
    request = await media.ready(request, model.id, upstream)
    begun = False
    try:
        answer = upstream.answer(request, model, exchange, meter, drafts=drafts, credential_id=media.credential_id)
        async with aclosing(answer) as bursts:
            async for events in bursts:
                begun = True
                yield events
        return
    except GatewayError as error:
        inlined = await media.inlined(request) if not begun and error.reason == "url_fetch" else None
        if inlined is None:
            raise
    answer = upstream.answer(inlined, model, exchange, meter, drafts=drafts, credential_id=media.credential_id)
    async with aclosing(answer) as bursts:
        async for events in bursts:
            yield events


async def counted(
    upstream: Upstream,
    request: GenerateContentRequest,
    model: ResolvedModel,
    exchange: Exchange,
    media: RequestMedia | None,
) -> int:
    """`Upstream.count` of a request whose files the upstream can see. Links are left to the upstream: counting is free,
    and fetching is not."""
    if media is None:
        return await upstream.count(request, model.id, exchange, fallback=model.fallback_on_404)
    request = await media.ready(request, model.id, upstream, fetch=False)
    return await upstream.count(request, model.id, exchange, media.credential_id, fallback=model.fallback_on_404)


def _is_kept(uri: str) -> bool:
    return KEPT_FILE.fullmatch(uri) is not None or uri.startswith("s3://")


def _first(failures: BaseExceptionGroup[GatewayError]) -> GatewayError:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
