"""The guarded fetcher: media behind a public link that the upstream cannot fetch itself.

Whoever can make a server fetch a link can make it ask its own network: metadata services, the Lambda runtime API,
neighbours. Therefore a name is resolved once, every address it has is judged, and the connection goes to a judged
address, never to the name again. Redirects are followed by hand under the same rules. This is the only module that
imports httpx.
"""

import asyncio
import re
import socket
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx
from msgspec import Struct

from shared.errors import GatewayError
from shared.gemini.media_types import accepted, normalise_mime, sniff, suits
from shared.gemini.public_urls import IPAddress, is_public_address, refuse_unless_public

MAX_REDIRECTS: Final = 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:<\?xml[^>]*>|<!--.*?-->)\s*)*<(?:!doctype|html|head|body|script|svg|meta|iframe)\b",
    re.IGNORECASE | re.DOTALL,
)
_HEAD = 4096  # bytes in which a document shows what it is
_ADDRESSES_TRIED = 2
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_PIECE = 65_536  # bytes decompressed at once

Resolve = Callable[[str, int], Awaitable[Sequence[IPAddress]]]


class FetchLimits(Struct, frozen=True):
    """Seconds for everything from the name to the last byte, and bytes of one body once decompressed."""

    seconds: float = 20.0
    connect_seconds: float = 5.0
    size: int = 15_000_000


class Fetched(Struct, frozen=True):
    """`media_type` is normalised, one that Gemini takes, and the one that the bytes show."""

    media_type: str
    data: bytes


class UrlFetcher:
    """Makes no connection of its own accord and keeps none open; its TLS roots are loaded by the first fetch.

    `resolve` gives every address of a name. `judge` decides which addresses may be connected to.
    `plain_http`: links without TLS are fetched too. `transport` replaces the network.
    """

    def __init__(
        self,
        limits: FetchLimits | None = None,
        *,
        resolve: Resolve | None = None,
        judge: Callable[[IPAddress], bool] = is_public_address,
        plain_http: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits or FetchLimits()
        self._resolve = resolve or resolved
        self._judge = judge
        self._plain_http = plain_http
        self._transport = transport

    async def aclose(self) -> None:
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

    async def fetch(self, url: str, param: str | None = None) -> Fetched:
        """The media behind a link. GatewayErrors, all naming `param`: `url_not_allowed` for a link or an address that
        must not be asked, which then is not; `invalid_request` for what is no media or cannot be had;
        `request_too_large`; `upstream_timeout`."""
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._follow(url, param)
        except TimeoutError:
            message = "The URL could not be fetched in time."
            raise GatewayError("upstream_timeout", message, param=param, reason="url_fetch_timeout") from None

    async def _follow(self, url: str, param: str | None) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url, param)
            async with self._opened(url, param) as response:
                if response.status_code not in _REDIRECTS:
                    return await self._media(response, param)
                target = _joined(url, response.headers.get("location", ""), param)
            if url.lower().startswith("https:") and not target.startswith("https:"):
                raise _forbidden("The URL leads from https to another scheme.", param)
            url = target
        raise GatewayError("invalid_request", "The URL redirects too often.", param=param)

    def _check(self, url: str, param: str | None) -> None:
        refuse_unless_public(url, param)
        if not self._plain_http and not url.lower().startswith("https:"):
            raise _forbidden("Only https links are fetched here.", param)

    @asynccontextmanager
    async def _opened(self, url: str, param: str | None) -> AsyncIterator[httpx.Response]:
        """The answer of the first address that can be reached; its body is unread."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        host = _ascii(parts.hostname or "")
        addresses = await self._judged(host, port, param)
        response: httpx.Response | None = None
        for address in addresses[:_ADDRESSES_TRIED]:
            request = self._request(parts.scheme, address, port, host, parts.path, parts.query)
            try:
                response = await self._way().handle_async_request(request)
                break
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except httpx.HTTPError as error:
                raise _unreachable(param) from error
        if response is None:
            raise _unreachable(param)
        try:
            yield response
        finally:
            await response.aclose()

    async def _judged(self, host: str, port: int, param: str | None) -> Sequence[IPAddress]:
        """Every address of the name, or `url_not_allowed` if one of them may not be asked. A name without any is
        answered the same: whether a private name exists is nobody's business."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses or not all(self._judge(address) for address in addresses):
            raise _forbidden("The URL must be a plain http(s) link to a public host.", param)
        return addresses

    def _request(self, scheme: str, address: IPAddress, port: int, host: str, path: str, query: str) -> httpx.Request:
        """Addressed by number: the name serves as Host and, for TLS, as the name that the certificate must prove."""
        literal = f"[{address}]" if address.version == 6 else str(address)
        target = f"{scheme}://{literal}:{port}{path or '/'}" + (f"?{query}" if query else "")
        usual = port == (443 if scheme == "https" else 80)
        shown = f"[{host}]" if ":" in host else host
        headers = {
            "host": shown if usual else f"{shown}:{port}",
            "accept": "image/*, audio/*, video/*, application/pdf, text/*;q=0.5",
            "accept-encoding": "identity",
            "user-agent": "serverless-gemini-gateway",
        }
        patience = httpx.Timeout(self._limits.seconds, connect=self._limits.connect_seconds).as_dict()
        named = {"sni_hostname": host} if scheme == "https" else {}
        request = httpx.Request("GET", target, headers=headers, extensions={"timeout": patience, **named})
        if request.url.host != str(address):  # two readings of one link are how such guards are passed
            raise GatewayError("internal", "Internal error.")
        return request

    def _way(self) -> httpx.AsyncBaseTransport:
        """The bare transport: it knows no cookies, redirects, proxies or headers of its own."""
        if self._transport is None:
            self._transport = httpx.AsyncHTTPTransport(
                verify=httpx.create_ssl_context(trust_env=False),
                trust_env=False,
                limits=httpx.Limits(max_keepalive_connections=0),  # two names of one address share no connection
            )
        return self._transport

    async def _media(self, response: httpx.Response, param: str | None) -> Fetched:
        if response.status_code != 200:
            message = f"The URL answered with status {response.status_code}."
            raise GatewayError("invalid_request", message, param=param)
        stated = normalise_mime(response.headers.get("content-type", ""))
        if stated not in _UNTYPED and (not accepted(stated) or stated.startswith("audio/L16")):
            raise _no_media(param)  # before its body is read
        gathered = bytearray()
        try:
            async for piece in _decoded(response, param):
                gathered += piece
                if len(gathered) > self._limits.size:
                    message = f"The file behind the URL is larger than {self._limits.size} bytes."
                    raise GatewayError("request_too_large", message, param=param)
        except httpx.HTTPError as error:
            raise _unreachable(param) from error
        data = bytes(gathered)
        return Fetched(media_type_of(stated, data, param), data)


def media_type_of(stated: str, data: bytes, param: str | None) -> str:
    """The type of fetched bytes: what the server states, if the bytes agree. `invalid_request` for nothing, for markup
    under any name, and for what is not what it claims."""
    if not data or _MARKUP.match(data[:_HEAD]):
        raise _no_media(param)
    found = sniff(data)
    if stated in _UNTYPED:
        stated = found or ""
    if not accepted(stated):
        raise _no_media(param)
    if stated.startswith("text/"):
        if found is not None or b"\0" in data[:_HEAD] or "svg" in stated:
            raise _no_media(param)
        return stated
    if found is None or not suits(stated, data):
        raise _no_media(param)
    return stated


async def resolved(host: str, port: int) -> Sequence[IPAddress]:
    """Every address that the system's resolver knows for a name. OSError where there is none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # a zone id makes an address link-local, which its judge sees without it
    return list(dict.fromkeys(ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found))


async def _decoded(response: httpx.Response, param: str | None) -> AsyncGenerator[bytes]:
    """The body, decompressed in pieces so small that a bomb is counted before it has grown."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        async for raw in response.aiter_raw():
            yield raw
        return
    if coding not in _WINDOW:
        raise _no_media(param)
    decoder = zlib.decompressobj(_WINDOW[coding])
    try:
        async for raw in response.aiter_raw():
            waiting = raw
            while waiting:
                yield decoder.decompress(waiting, _PIECE)
                waiting = decoder.unconsumed_tail
    except zlib.error as error:
        raise _no_media(param) from error
    if not decoder.eof:
        raise _no_media(param)


def _joined(url: str, location: str, param: str | None) -> str:
    """Where a redirect leads; what its server wrote may be no address at all."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise _forbidden("The URL leads to something that is no address.", param) from None


def _ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _forbidden(message: str, param: str | None) -> GatewayError:
    return GatewayError("url_not_allowed", message, param=param)


def _unreachable(param: str | None) -> GatewayError:
    return GatewayError("invalid_request", "The URL could not be fetched.", param=param)


def _no_media(param: str | None) -> GatewayError:
    return GatewayError("invalid_request", "The URL does not lead to media of a supported type.", param=param)
