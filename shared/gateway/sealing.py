"""State that clients carry for us: encrypted and authenticated with the standard library alone.

Encrypt-then-MAC: the keystream is HMAC-SHA256 over a counter under a key of this message's own (drawn by HKDF-SHA256,
RFC 5869, from the deployment's pepper, the account and a random nonce), the tag is HMAC-SHA256 over everything that
crosses. A token of another account, or one changed in any bit, opens to nothing.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Callable

from msgspec import Struct

from shared.stores.protocols import SecretStore

_PREFIX = "gw1."
_FORM = re.compile(r"[A-Za-z0-9_-]+")
_NONCE, _TAG = 24, 32
_BLOCK = hashlib.sha256().digest_size
MAX_PLAIN_BYTES = 8_000_000  # of one token, unpacked


class Sealer(Struct, frozen=True):
    """Seals and opens for one account. `random` gives that many unpredictable bytes."""

    secret: bytes
    audience: str
    random: Callable[[int], bytes] = secrets.token_bytes

    def __repr__(self) -> str:
        return f"Sealer(audience={self.audience!r})"

    def seal(self, plain: bytes) -> str:
        """A printable token, url-safe; two of the same bytes differ."""
        nonce = self.random(_NONCE)
        stream_key, tag_key = self._keys(nonce)
        body = nonce + _masked(zlib.compress(plain), stream_key)
        sealed = body + hmac.digest(tag_key, body, "sha256")
        return _PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def unseal(self, token: str) -> bytes | None:
        """What was sealed for this account, or None for anything else."""
        text = token.removeprefix(_PREFIX)
        if text == token or not _FORM.fullmatch(text):
            return None
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except binascii.Error:
            return None
        if len(sealed) < _NONCE + _TAG:
            return None
        body, tag = sealed[:-_TAG], sealed[-_TAG:]
        stream_key, tag_key = self._keys(body[:_NONCE])
        if not hmac.compare_digest(hmac.digest(tag_key, body, "sha256"), tag):
            return None
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(_masked(body[_NONCE:], stream_key), MAX_PLAIN_BYTES)
        return plain if unpacker.eof else None

    def _keys(self, nonce: bytes) -> tuple[bytes, bytes]:
        """HKDF: the nonce is the salt, the account the context."""
        extracted = hmac.digest(nonce, self.secret, "sha256")
        info = b"gateway/sealing/1/" + self.audience.encode("utf-8", "surrogatepass")
        first = hmac.digest(extracted, info + b"\x01", "sha256")
        return first, hmac.digest(extracted, first + info + b"\x02", "sha256")


def _masked(data: bytes, key: bytes) -> bytes:
    """The data under the keystream; its own inverse."""
    blocks = -(-len(data) // _BLOCK)
    stream = b"".join(hmac.digest(key, number.to_bytes(8, "big"), "sha256") for number in range(blocks))
    masked = int.from_bytes(data, "big") ^ int.from_bytes(stream[: len(data)], "big")
    return masked.to_bytes(len(data), "big")


async def sealer_for(audience: str, secret_store: SecretStore) -> Sealer:
    """The sealer of an account under the current pepper. After its rotation older tokens open to nothing.
    StoreUnavailable where the secret cannot be read."""
    _, pepper = await secret_store.pepper()
    return Sealer(pepper, audience)
