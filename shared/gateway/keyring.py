"""Client keys: their text form, and the cached directory that requests ask."""

import asyncio
import base64
import hashlib
import hmac
import random
import re
import time
import zlib
from collections.abc import Callable

from cachetools import LRUCache, TTLCache
from msgspec import Struct

from shared.gateway.telemetry import hide
from shared.stores.protocols import KeyRecord, KeyStore, SecretStore, StoreUnavailable

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX = "sk-gw1_"  # the digit is the version of the format
KID_LENGTH, SECRET_LENGTH, _CHECK_LENGTH = 16, 43, 6
_FORM = re.compile(rf"{_PREFIX}([0-9A-Za-z]{{{KID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{6}})")

_ENTRIES = 10_000
_FRESH_S = 60.0
_NEGATIVE_S = 10.0
_STALE_S = 300.0
_DOWN_S = 2.0  # how long a failed refresh keeps the next one from being tried
_RETRY_JITTER_S = 0.05
_NO_HASH = "0" * 64


class ParsedKey(Struct, frozen=True):
    """A key whose form and checksum are right; nothing is known about its truth."""

    kid: str
    secret: str

    @property
    def text(self) -> str:
        return make_key(self.kid, self.secret)

    def __repr__(self) -> str:
        return f"ParsedKey(kid={self.kid!r})"


def make_key(kid: str, secret: str) -> str:
    text = f"{_PREFIX}{kid}_{secret}"
    return text + _check(text)


def parse_key(text: str) -> ParsedKey | None:
    """None for whatever is not one of our keys: no store is asked about it."""
    match = _FORM.fullmatch(text)
    if match is None or _check(text[:-_CHECK_LENGTH]) != match[3]:
        return None
    return ParsedKey(match[1], match[2])


def _check(text: str) -> str:
    """CRC-32 in base 62: a filter against typos and garbage, no security control."""
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK_LENGTH):
        rest, digit = divmod(rest, 62)
        digits = BASE62[digit] + digits
    return digits


def key_hash(pepper: bytes, secret: str) -> str:
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def in_force(record: KeyRecord, now: float) -> bool:
    """Active, already valid, not expired. `now` in epoch seconds."""
    return (
        record.status == "active"
        and (record.not_before is None or now >= record.not_before)
        and (record.expires_at is None or now < record.expires_at)
    )


class _Known(Struct):
    record: KeyRecord
    read_at: float
    retry_at: float = 0.0  # not asked again before, while the store is down


class KeyDirectory:
    """The registry as requests see it. `clock` gives epoch seconds.

    A right key is believed for 60 s, up to 5 min while the store is down; a wrong one is refused for 10 s without
    asking. Both caches are keyed by the digest of the whole key, so that a wrong secret never meets a cached success.
    """

    def __init__(self, keys: KeyStore, secret_store: SecretStore, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._secrets = secret_store
        self._clock = clock
        self._known: LRUCache[bytes, _Known] = LRUCache(_ENTRIES)  # right keys only
        self._unknown: TTLCache[bytes, str] = TTLCache(_ENTRIES, _NEGATIVE_S, timer=clock)  # their kids
        self._flights: dict[str, asyncio.Task[KeyRecord | None]] = {}

    def remembered(self, text: str) -> KeyRecord | None:
        """The record that `lookup` would give for a key in its text form, where it need not ask anybody."""
        known, now = self._known.get(_digest(text)), self._clock()
        fresh = known is not None and now - known.read_at < _FRESH_S and in_force(known.record, now)
        return known.record if known is not None and fresh else None

    def knows(self, key: ParsedKey) -> bool:
        """Whether the key was right a moment ago, without asking anybody."""
        known = self._known.get(_digest(key.text))
        return known is not None and self._clock() - known.read_at < _STALE_S

    def forget(self, kid: str) -> None:
        """Ask again about this kid: its record was changed in this process. Other processes follow within 60 s."""
        for digest in [digest for digest, known in self._known.items() if known.record.kid == kid]:
            del self._known[digest]
        for digest in list(self._unknown):
            if self._unknown.get(digest) == kid:  # or it has run out meanwhile
                self._unknown.pop(digest, None)

    async def lookup(self, key: ParsedKey) -> KeyRecord | None:
        """The record of a right key that is in force now, else None. StoreUnavailable where nobody can say."""
        record = await self._verified(key)
        return record if record is not None and in_force(record, self._clock()) else None

    async def active(self, kid: str) -> KeyRecord | None:
        """The record of a kid that is in force now, whoever asks: its key must have been checked before."""
        record = await self._read(kid)
        return record if record is not None and in_force(record, self._clock()) else None

    async def _verified(self, key: ParsedKey) -> KeyRecord | None:
        digest, now = _digest(key.text), self._clock()
        known = self._known.get(digest)
        if known is not None and (now - known.read_at < _FRESH_S or now < known.retry_at):
            return known.record
        if digest in self._unknown:
            return None
        try:
            record = await self._read(key.kid)
            right = await self._matches(key, record)
        except StoreUnavailable:
            if known is None or now - known.read_at >= _STALE_S:
                raise
            known.retry_at = min(now + _DOWN_S, known.read_at + _STALE_S)
            return known.record
        if record is None or not right:
            self._known.pop(digest, None)
            self._unknown[digest] = key.kid
            return None
        self._known[digest] = _Known(record, now)
        return record

    async def _read(self, kid: str) -> KeyRecord | None:
        """Concurrent misses of one kid share one read, which outlives whoever began it."""
        flight = self._flights.get(kid)
        if flight is None:
            flight = self._flights[kid] = asyncio.ensure_future(self._resolve(kid))
            flight.add_done_callback(lambda done: self._landed(kid, done))
        return await asyncio.shield(flight)

    def _landed(self, kid: str, flight: asyncio.Task[KeyRecord | None]) -> None:
        del self._flights[kid]
        if not flight.cancelled():
            flight.exception()  # seen here, even where every waiter has left

    async def _resolve(self, kid: str) -> KeyRecord | None:
        try:
            return await self._keys.resolve(kid)
        except StoreUnavailable:
            await asyncio.sleep(random.random() * _RETRY_JITTER_S)  # noqa: S311 - spreads load, guards nothing
            return await self._keys.resolve(kid)

    async def _matches(self, key: ParsedKey, record: KeyRecord | None) -> bool:
        """The same work for an unknown kid as for a wrong secret."""
        _, pepper = await named_pepper(self._secrets, record.pepper_id if record else None)
        return hmac.compare_digest(key_hash(pepper, key.secret), record.hash if record else _NO_HASH)


def _digest(text: str) -> bytes:
    """Keys themselves are not kept in memory."""
    return hashlib.sha256(text.encode()).digest()


async def named_pepper(secret_store: SecretStore, pepper_id: str | None) -> tuple[str, bytes]:
    try:
        name, pepper = await secret_store.pepper(pepper_id)
    except KeyError as error:  # the record is of a pepper that was withdrawn, or not yet seen here
        raise StoreUnavailable(f"the pepper {pepper_id} is not known", retry_after=30) from error
    hide(pepper.decode("latin-1"), base64.b64encode(pepper).decode())
    return name, pepper
