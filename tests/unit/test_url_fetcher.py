"""The guarded fetcher on a network of the test's own: who is asked, by which address, and what is believed."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.gemini.public_urls import IPAddress, is_public_address
from shared.gemini.url_fetcher import Fetched, FetchLimits, UrlFetcher, media_type_of, resolved

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
PDF = b"%PDF-1.7\n" + bytes(64)
PUBLIC = "93.184.216.34"
OTHER = "151.101.1.69"

Answer = Callable[[httpx.Request], httpx.Response]


class Network:
    """A resolver and every server behind it."""

    def __init__(self, answer: Answer, **names: Sequence[str] | str) -> None:
        self.answer = answer
        self.names = {name.replace("_", "."): given for name, given in names.items()}
        self.looked_up: list[str] = []
        self.requests: list[httpx.Request] = []

    async def resolve(self, host: str, port: int) -> Sequence[IPAddress]:
        self.looked_up.append(host)
        given = self.names.get(host)
        if given is None:
            raise OSError("no such name")
        return [ip_address(text) for text in ([given] if isinstance(given, str) else given)]

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)

    def fetcher(self, **options: object) -> UrlFetcher:
        limits = FetchLimits(seconds=2, size=10_000)
        return UrlFetcher(limits, resolve=self.resolve, transport=httpx.MockTransport(self.handle), **options)

    async def fetch(self, url: str, **options: object) -> Fetched:
        return await self.fetcher(**options).fetch(url, "messages[0]")

    async def refusal(self, url: str, **options: object) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.fetch(url, **options)
        assert caught.value.param == "messages[0]"
        return caught.value


def serving(data: bytes, media_type: str = "image/png", **headers: str) -> Answer:
    named = {"content-type": media_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda request: httpx.Response(200, stream=httpx.ByteStream(data), headers=named)


async def test_media_is_fetched_from_the_judged_address_under_its_name() -> None:
    network = Network(serving(PNG, set_cookie="a=b"), img_example_com=PUBLIC)
    fetcher = network.fetcher()
    for _ in range(2):
        assert await fetcher.fetch("https://img.example.com/a%20b/c.png?q=1&r=%2F#f") == Fetched("image/png", PNG)
    request = network.requests[-1]
    assert str(request.url) == f"https://{PUBLIC}/a%20b/c.png?q=1&r=%2F"
    assert request.headers["host"] == request.extensions["sni_hostname"] == "img.example.com"
    assert set(request.headers) == {"host", "accept", "accept-encoding", "user-agent"}, "no cookie, no client header"


async def test_an_ipv6_address_and_a_literal_are_connected_to_as_they_are() -> None:
    network = Network(serving(PNG), **{"six_example_com": "2606:4700::1111", PUBLIC: PUBLIC})
    await network.fetch("http://six.example.com:80/a.png")
    await network.fetch(f"https://{PUBLIC}/a.png")
    assert [request.url.host for request in network.requests] == ["2606:4700::1111", PUBLIC]


PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.9.9", "192.168.1.1", "100.64.0.1", "169.254.169.254", "169.254.170.2"),
    *("0.0.0.0", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "fe80::1", "fec0::1", "fc00::1"),
    *("fd00:ec2::254", "ff02::1", "5f00::1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::"),
    *("2001:0:7f00:1::", "2001:db8::1", "::ffff:0:127.0.0.1", "100::1", "3fff::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_with_an_address_that_is_not_public_is_never_asked(address: str) -> None:
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        network = Network(serving(PNG), evil_example_com=addresses)
        error = await network.refusal("https://evil.example.com/a.png")
        assert error.kind == "url_not_allowed"
        assert address not in error.message
        assert network.requests == []


async def test_an_unknown_name_is_refused_in_the_same_words() -> None:
    network = Network(serving(PNG), evil_example_com="10.0.0.1")
    known, unknown = [await network.refusal(f"https://{name}.example.com/") for name in ("evil", "nobody")]
    assert (known.kind, known.message) == (unknown.kind, unknown.message)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://localhost/", "ftp://a.example.com/", "//a.example.com/x"),
        *("https://a.example.com:8443/", "https://u@a.example.com/", "https://0x7f.1/"),
    ],
)
async def test_a_link_that_is_refused_by_its_spelling_is_not_even_resolved(url: str) -> None:
    network = Network(serving(PNG), a_example_com=PUBLIC)
    assert (await network.refusal(url)).kind == "url_not_allowed"
    assert network.looked_up == []


async def test_one_look_up_a_hop_decides_and_connects() -> None:
    """A resolver that answers differently the second time changes nothing: nobody asks it twice."""
    network = Network(serving(PNG), rebind_example_com=PUBLIC)
    fetcher = network.fetcher()
    await fetcher.fetch("https://rebind.example.com/a.png")
    assert network.looked_up == ["rebind.example.com"]
    network.names["rebind.example.com"] = "127.0.0.1"
    with pytest.raises(GatewayError):
        await fetcher.fetch("https://rebind.example.com/a.png")
    assert [request.url.host for request in network.requests] == [PUBLIC]


def redirecting(**targets: str) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        target = targets.get(request.url.path.strip("/"))
        if target is None:
            return serving(PNG)(request)
        return httpx.Response(302, headers={"location": target, "set-cookie": "tracked=1"})

    return answer


async def test_redirects_are_followed_under_the_same_rules() -> None:
    network = Network(redirecting(a="/b", b="https://cdn.example.org/c"), a_example_com=PUBLIC, cdn_example_org=OTHER)
    assert (await network.fetch("https://a.example.com/a")).data == PNG
    assert [str(request.url) for request in network.requests] == [
        f"https://{PUBLIC}/a",
        f"https://{PUBLIC}/b",
        f"https://{OTHER}/c",
    ]
    assert network.looked_up == ["a.example.com", "a.example.com", "cdn.example.org"]
    assert all("cookie" not in request.headers for request in network.requests)


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "http://169.254.169.254/latest/meta-data/"),
        *("https://inside.example.com/", "http://a.example.com/", "file:///etc/passwd", "gopher://a.example.com/"),
        *("//127.0.0.1/", "https://a.example.com:22/", "https://user@a.example.com/", "https://[::1]/"),
        *("https://[", "//[::1", "https://[a.example.com]/"),
    ],
)
@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
async def test_a_bad_hop_is_blocked_at_the_hop(scheme: str, target: str) -> None:
    network = Network(redirecting(a=target), a_example_com=PUBLIC, inside_example_com="10.1.2.3")
    assert (await network.refusal(f"{scheme}://a.example.com/a")).kind == "url_not_allowed"
    assert len(network.requests) == 1


async def test_three_redirects_are_enough() -> None:
    network = Network(redirecting(a="/b", b="/c", c="/d"), a_example_com=PUBLIC)
    assert (await network.fetch("https://a.example.com/a")).data == PNG
    endless = Network(redirecting(a="/a"), a_example_com=PUBLIC)
    assert (await endless.refusal("https://a.example.com/a")).kind == "invalid_request"
    assert len(endless.requests) == 4


async def test_plain_http_can_be_switched_off() -> None:
    network = Network(serving(PNG), a_example_com=PUBLIC)
    assert (await network.fetch("http://a.example.com/")).data == PNG
    assert (await network.refusal("http://a.example.com/", plain_http=False)).kind == "url_not_allowed"


@pytest.mark.parametrize(
    ("data", "stated", "kind"),
    [
        (PNG, "image/png; charset=binary", "image/png"),
        (PNG, "application/octet-stream", "image/png"),
        (PNG, "", "image/png"),
        (PDF, "application/pdf", "application/pdf"),
        (b"a,b\n1,2\n", "text/csv; charset=utf-8", "text/csv"),
        (b'{"a": 1}', "application/json", "text/plain"),
        (b"<?xml version='1.0'?><feed/>", "application/xml", "text/xml"),
        (b"GIF89a" + bytes(20), "image/gif", "image/gif"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "video/mp4", "video/mp4"),
    ],
)
async def test_the_type_is_what_server_and_bytes_agree_on(data: bytes, stated: str, kind: str) -> None:
    network = Network(serving(data, stated), a_example_com=PUBLIC)
    assert await network.fetch("https://a.example.com/x") == Fetched(kind, data)


@pytest.mark.parametrize(
    ("data", "stated"),
    [
        (b"", "image/png"),
        (b"<!DOCTYPE html><p>", "image/png"),
        (b"<html></html>", "text/html"),
        (b" \n<HTML>", "text/plain"),
        (b"<!-- a -->\n<svg xmlns='x'/>", "text/xml"),
        (b"<?xml version='1.0'?><svg/>", "text/xml"),
        (b"<svg/>", "image/svg+xml"),
        (b"\xef\xbb\xbf<html>", "text/plain"),
        (b"<script>", "application/octet-stream"),
        (PDF, "image/png"),
        (PNG, "text/plain"),
        (b"plain words", "image/png"),
        (b"plain words", "video/mp4"),
        (b"plain words", ""),
        (b"MZ\x90\0", "application/x-msdownload"),
        (b"PK\x03\x04", "application/zip"),
        (bytes(100), "audio/pcm"),
        (b"binary\0text", "text/plain"),
    ],
)
async def test_what_is_no_media_is_refused(data: bytes, stated: str) -> None:
    network = Network(serving(data, stated), a_example_com=PUBLIC)
    assert (await network.refusal("https://a.example.com/x")).kind == "invalid_request"


@pytest.mark.parametrize("status", [204, 304, 401, 404, 500])
async def test_another_status_than_200_is_no_media(status: int) -> None:
    network = Network(lambda request: httpx.Response(status, content=PNG), a_example_com=PUBLIC)
    error = await network.refusal("https://a.example.com/x")
    assert (error.kind, str(status) in error.message) == ("invalid_request", True)


async def test_the_size_is_counted_and_not_believed() -> None:
    for headers in ({}, {"content_length": "10"}):
        network = Network(serving(PNG + bytes(10_000), **headers), a_example_com=PUBLIC)
        assert (await network.refusal("https://a.example.com/x")).kind == "request_too_large"
    just = PNG + bytes(10_000 - len(PNG))
    assert (await Network(serving(just), a_example_com=PUBLIC).fetch("https://a.example.com/x")).data == just


@pytest.mark.parametrize(("coding", "press"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies_are_counted_as_they_grow(coding: str, press: Callable[[bytes], bytes]) -> None:
    network = Network(serving(press(PNG), content_encoding=coding), a_example_com=PUBLIC)
    assert (await network.fetch("https://a.example.com/x")).data == PNG
    bomb = Network(serving(press(PNG + bytes(200_000_000)), content_encoding=coding), a_example_com=PUBLIC)
    assert (await bomb.refusal("https://a.example.com/x")).kind == "request_too_large"
    cut = Network(serving(press(PNG)[:-6], content_encoding=coding), a_example_com=PUBLIC)
    assert (await cut.refusal("https://a.example.com/x")).kind == "invalid_request"


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd", "nonsense"])
async def test_other_codings_are_refused(coding: str) -> None:
    network = Network(serving(PNG, content_encoding=coding), a_example_com=PUBLIC)
    assert (await network.refusal("https://a.example.com/x")).kind == "invalid_request"


async def test_everything_together_has_one_deadline() -> None:
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b"\x89PNG\r\n\x1a\n"[:1]
                await asyncio.sleep(0.01)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Dripping(), headers={"content-type": "image/png"})

    network = Network(answer, a_example_com=PUBLIC)
    fetcher = UrlFetcher(
        FetchLimits(seconds=0.2), resolve=network.resolve, transport=httpx.MockTransport(network.handle)
    )
    with pytest.raises(GatewayError) as caught:
        await fetcher.fetch("https://a.example.com/x")
    assert caught.value.kind == "upstream_timeout"


async def test_a_dead_first_address_gives_way_to_the_second() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == PUBLIC:
            raise httpx.ConnectError("refused")
        return serving(PNG)(request)

    network = Network(answer, a_example_com=[PUBLIC, OTHER])
    assert (await network.fetch("https://a.example.com/x")).data == PNG
    assert (await Network(answer, a_example_com=PUBLIC).refusal("https://a.example.com/x")).kind == "invalid_request"


async def test_the_system_s_resolver_gives_every_address_once() -> None:
    assert await resolved("127.0.0.1", 443) == [IPv4Address("127.0.0.1")]


@given(st.ip_addresses(v=4))
def test_ipv4_is_judged_the_same_however_it_is_wrapped(address: IPv4Address) -> None:
    number = int(address)
    mapped, nat64 = IPv6Address((0xFFFF << 32) | number), IPv6Address((0x64FF9B << 96) | number)
    assert is_public_address(mapped) == is_public_address(address)
    assert is_public_address(nat64) <= is_public_address(address)
    for transition in (number, (0x2002 << 112) | (number << 80), (0x20010000 << 96) | (number ^ 0xFFFFFFFF)):
        assert not is_public_address(IPv6Address(transition))


@given(
    st.sampled_from(
        [
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
        ]
    ).flatmap(lambda text: st.ip_addresses(network=text))
)
def test_no_address_of_a_special_ipv4_network_is_public(address: IPv4Address) -> None:
    assert not is_public_address(address)


@given(
    st.sampled_from(["::/96", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "5f00::/16", "2001:db8::/32",
                     "64:ff9b:1::/48", "2002::/16", "2001::/32", "100::/64"]).flatmap(
        lambda text: st.ip_addresses(network=text)
    )
)  # fmt: skip
def test_no_address_of_a_special_ipv6_network_is_public(address: IPv6Address) -> None:
    assert not is_public_address(address)


@given(st.ip_addresses())
def test_what_is_judged_public_is_global_to_python_too(address: IPAddress) -> None:
    if is_public_address(address):
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_global
        assert not inner.is_multicast
        assert inner not in (IPv4Network("192.0.0.0/24") if inner.version == 4 else IPv6Network("fec0::/10"))


@given(st.binary(max_size=40), st.sampled_from(["", "image/png", "text/plain", "text/xml", "video/mp4", "text/html"]))
def test_the_judge_of_bytes_gives_a_type_or_a_gateway_error(data: bytes, stated: str) -> None:
    try:
        kind = media_type_of(stated, data, None)
    except GatewayError as error:
        assert error.kind == "invalid_request"
    else:
        assert kind not in ("", "text/html")
