"""Addresses of running uploads at the upstream, and which of them may be shown to a client.

Such an address stands for its one upload and needs no credential beside it: Google's Python SDK sends none. A session
that was begun with a key in the query has that key in its address, so each one is read before it leaves the gateway.
"""

import base64
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from shared.errors import GatewayError

_CREDENTIAL_NAMES = frozenset({"key", "api_key", "apikey", "access_token", "oauth_token", "token", "authorization"})
_PORTS = {"http": 80, "https": 443}
_ROUNDS = 5  # of percent-encoding, each around the one before
_URL_SAFE = str.maketrans("+/", "-_")


def public_session(url: str, root: str, credential: str) -> str:
    """The address, where it stands at the upstream of `root` and says nothing of the credential that began the upload.
    Raises `upstream_invalid_response` else."""
    try:
        parts = urlsplit(url)
        at_upstream = _place(parts) == _place(urlsplit(root))
    except ValueError:  # no port, or no address at all
        at_upstream = False
    if not at_upstream or not url.isascii() or not url.isprintable() or any(mark in url for mark in " \\"):
        raise GatewayError("upstream_invalid_response", "The upstream named an upload address elsewhere.")
    if parts.username is not None or parts.fragment or not parts.path.startswith("/upload/"):
        raise GatewayError("upstream_invalid_response", "The upstream named an unusual upload address.")
    names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if names & _CREDENTIAL_NAMES or any(_tells(text, credential) for text in _readings(url)):
        raise GatewayError("upstream_invalid_response", "The upstream's upload address holds a credential.")
    return url


def _place(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def _readings(text: str) -> list[str]:
    """The text as it stands, and as it reads with its percent-encoding taken off, round by round."""
    readings = [text]
    for _ in range(_ROUNDS):
        plain = unquote(readings[-1])
        if plain == readings[-1]:
            break
        readings.append(plain)
    return readings


def _tells(text: str, credential: str) -> bool:
    """Whether a text holds the credential: as it is, in hexadecimal, or in either alphabet of base64 at any offset."""
    raw, lowered = credential.encode(), text.lower()
    if credential.lower() in lowered or raw.hex() in lowered:
        return True
    url_safe = text.translate(_URL_SAFE)
    return any(_core(raw, before) in url_safe for before in range(3))


def _core(raw: bytes, before: int) -> str:
    """The base64 letters that only `raw` decides, with `before` unknown bytes in front and any behind."""
    letters = base64.urlsafe_b64encode(bytes(before) + raw).decode()
    return letters[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
