"""Which links may be handed on: judged by spelling alone, before anybody resolves or fetches anything."""

import ipaddress
import re
import unicodedata
from functools import cache
from urllib.parse import SplitResult, urlsplit

from shared.errors import GatewayError

# as text: `re` keeps what it has compiled, and most requests hold no link
_ODD_CHARACTERS = r"[\s\x00-\x20\x7f\\]"
_HOST = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "localdomain", "onion", "arpa", "test")
_PORTS = (None, 80, 443)
_YOUTUBE = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"})
_GEMINI_HOSTS = frozenset({"generativelanguage.googleapis.com"})

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_youtube(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _YOUTUBE
    except ValueError:  # half an IPv6 address
        return False


def is_gemini_file(url: str) -> bool:
    parts = urlsplit(url)
    return (
        parts.hostname in _GEMINI_HOSTS
        and re.fullmatch(r"/(?:download/)?v1[a-z0-9]*/files/[\w-]+(?::\w+)?", parts.path) is not None
    )


def refuse_unless_public(url: str, param: str | None) -> None:
    """Raise `url_not_allowed` unless the link is plainly spelled and names a public host: http(s) on its own port, no
    user-info, no odd characters, no disguised or private address, no name that only resolves inside a network."""
    parts = _split(url)
    if parts is None or not _is_public_host(parts.hostname or ""):
        raise GatewayError("url_not_allowed", "The URL must be a plain http(s) link to a public host.", param=param)


def is_public_address(address: IPAddress) -> bool:
    """Whether an address is one of the open internet, embedded IPv4 addresses judged too."""
    if any(address.version == network.version and address in network for network in _denied()):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None and not is_public_address(inner):
            return False
        if address.ipv4_mapped is not None:
            return True  # another spelling of an IPv4 address; Pythons differ on whether it is global
    return address.is_global


def _split(url: str) -> SplitResult | None:
    if re.search(_ODD_CHARACTERS, url) or len(url) > 8192:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or port not in _PORTS:
        return None
    return parts


def _is_public_host(host: str) -> bool:
    if ":" in host:  # only an IPv6 literal has colons; a zone id makes it link-local
        try:
            return "%" not in host and is_public_address(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    try:
        return is_public_address(ipaddress.IPv4Address(host))
    except ValueError:
        pass  # a name, or one of the odd spellings of an address, which the pattern below refuses
    if unicodedata.normalize("NFKC", host) != host or "\u3002" in host:
        return False  # full-width digits and dots turn into an address when resolved
    try:
        name = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return False
    return re.fullmatch(_HOST, name) is not None and name.rpartition(".")[2] not in _INSIDE


@cache  # made for the first link: most requests hold none
def _denied() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """What some Python from 3.12 on calls global although it is not, or leads somewhere else: multicast, protocol
    assignments, Azure's host, the 6to4 relays; site-local, segment routing, documentation, and the transition prefixes
    that nobody on the internet answers at: IPv4-compatible, NAT64 of a local network, Teredo, 6to4."""
    ipv4 = ("224.0.0.0/4", "192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24")
    ipv6 = ("ff00::/8", "fec0::/10", "5f00::/16", "3fff::/20", "::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
    return tuple(ipaddress.ip_network(text) for text in (*ipv4, *ipv6))


@cache
def _embedding_ipv4() -> tuple[tuple[ipaddress.IPv6Network, int], ...]:
    """The prefixes of IPv6 that hold an IPv4 address, and how many bits stand behind it."""
    last = ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96")
    return (*((ipaddress.IPv6Network(text), 0) for text in last), (ipaddress.IPv6Network("2002::/16"), 80))


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.teredo is not None:
        return address.teredo[1]
    for network, shift in _embedding_ipv4():
        if address in network:
            return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return None
