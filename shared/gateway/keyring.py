"""Client keys: their text form, the cached directory that requests ask, and the life cycle that operators drive."""

import asyncio
import contextlib
import hashlib
import hmac
import random
import re
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cachetools import LRUCache, TTLCache

from shared.errors import GatewayError
from shared.gateway.key_terms import KeyTerms, check_terms
from shared.gateway.limits import period_of
from shared.stores.protocols import KeyRecord, KeyStore, Ledger, SecretStore, StoreConflict, StoreUnavailable

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX = "sk-gw1_"  # the digit is the version of the format
_KID_LENGTH, _SECRET_LENGTH, _CHECK_LENGTH = 16, 43, 6
_FORM = re.compile(rf"{_PREFIX}([0-9A-Za-z]{{{_KID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{6}})")

_ENTRIES = 10_000
_FRESH_S = 60.0
_NEGATIVE_S = 10.0
_STALE_S = 300.0
_DOWN_S = 2.0  # how long a failed refresh keeps the next one from being tried
_RETRY_JITTER_S = 0.05
_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key whose form and checksum are right; nothing is known about its truth."""

    kid: str
    secret: str = field(repr=False)


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
        digits = _BASE62[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def key_hash(pepper: bytes, secret: str) -> str:
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def in_force(record: KeyRecord, now: float) -> bool:
    """Active, already valid, not expired. `now` in epoch seconds."""
    return (
        record.status == "active"
        and (record.not_before is None or now >= record.not_before)
        and (record.expires_at is None or now < record.expires_at)
    )


@dataclass(slots=True)
class _Known:
    record: KeyRecord
    read_at: float
    retry_at: float = 0.0  # not asked again before, while the store is down


class KeyDirectory:
    """The registry as requests see it. `clock` gives epoch seconds.

    A right key is believed for 60 s, up to 5 min while the store is down; a wrong one is refused for 10 s without
    asking. Both caches are keyed by kid and secret, so that a wrong secret never meets a cached success.
    """

    def __init__(self, keys: KeyStore, secret_store: SecretStore, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._secrets = secret_store
        self._clock = clock
        self._known: LRUCache[bytes, _Known] = LRUCache(_ENTRIES)
        self._unknown: TTLCache[bytes, bool] = TTLCache(_ENTRIES, _NEGATIVE_S, timer=clock)
        self._flights: dict[str, asyncio.Task[KeyRecord | None]] = {}

    def knows(self, key: ParsedKey) -> bool:
        """Whether the key was right a moment ago, without asking anybody."""
        known = self._known.get(_cache_key(key))
        return known is not None and self._clock() - known.read_at < _STALE_S

    async def lookup(self, key: ParsedKey) -> KeyRecord | None:
        """The record of a right key that is in force now, else None. StoreUnavailable where nobody can say."""
        record = await self._verified(key)
        return record if record is not None and in_force(record, self._clock()) else None

    async def _verified(self, key: ParsedKey) -> KeyRecord | None:
        cache_key, now = _cache_key(key), self._clock()
        known = self._known.get(cache_key)
        if known is not None and (now - known.read_at < _FRESH_S or now < known.retry_at):
            return known.record
        if cache_key in self._unknown:
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
            self._known.pop(cache_key, None)
            self._unknown[cache_key] = True
            return None
        self._known[cache_key] = _Known(record, now)
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
        _, pepper = await _pepper(self._secrets, record.pepper_id if record else None)
        return hmac.compare_digest(key_hash(pepper, key.secret), record.hash if record else _NO_HASH)


def _cache_key(key: ParsedKey) -> bytes:
    return key.kid.encode() + hashlib.sha256(key.secret.encode()).digest()


async def _pepper(secret_store: SecretStore, pepper_id: str | None) -> tuple[str, bytes]:
    try:
        return await secret_store.pepper(pepper_id)
    except KeyError as error:  # the record is of a pepper that was withdrawn, or not yet seen here
        raise StoreUnavailable(f"the pepper {pepper_id} is not known", retry_after=30) from error


class KeyRegistry:
    """Issue, list and revoke. The ledger is written first, so that no key is ever usable without its account's state
    and a revocation is effective at once. `clock` gives epoch seconds."""

    def __init__(
        self, keys: KeyStore, secret_store: SecretStore, ledger: Ledger, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._secrets = secret_store
        self._ledger = ledger
        self._clock = clock

    async def issue(self, terms: KeyTerms) -> tuple[KeyRecord, str]:
        """A new key: its record, and its text, which is kept nowhere. `invalid_request` names the term at fault."""
        check_terms(terms)
        kid, secret = _random(_KID_LENGTH), _random(_SECRET_LENGTH)
        pepper_id, pepper = await _pepper(self._secrets, None)
        record = KeyRecord(
            kid=kid,
            acct=kid,  # the first key of an account names it; its rotations keep the name
            hash=key_hash(pepper, secret),
            pepper_id=pepper_id,
            created_at=int(self._clock()),
            **terms.fields(),
        )
        await self._write(record, overwrite=False)
        return record, make_key(kid, secret)

    async def restore(self, key_text: str, terms: KeyTerms) -> KeyRecord:
        """Put a key that somebody still holds back into stores that lost it; what is there stays as it is."""
        key = parse_key(key_text)
        if key is None:
            raise GatewayError("invalid_request", "The text is not a key of this gateway.", param="key")
        check_terms(terms)
        held = await self._keys.resolve(key.kid)
        pepper_id, pepper = await _current_or_named(self._secrets, held)
        right_hash = key_hash(pepper, key.secret)
        if held is not None and held.pepper_id == pepper_id and hmac.compare_digest(held.hash, right_hash):
            await self._ledger.open_account(held, period=self._period(held))
            return held
        if held is not None:  # its pepper was lost: the same record under the new one
            record = replace(held, hash=right_hash, pepper_id=pepper_id, version=held.version + 1)
        else:
            record = KeyRecord(
                kid=key.kid,
                acct=key.kid,
                hash=right_hash,
                pepper_id=pepper_id,
                created_at=int(self._clock()),
                **terms.fields(),
            )
        await self._write(record, overwrite=held is not None)
        return record

    async def revoke(self, kid: str) -> KeyRecord:
        """For ever. `not_found` where there is no such key."""
        record = await self._keys.resolve(kid)
        if record is None:
            raise GatewayError("not_found", f"There is no key {kid}.", param="kid")
        with contextlib.suppress(StoreConflict):  # without a state it was never usable; the record must still say so
            await self._ledger.set_key_status(record.acct, kid, "revoked")
        revoked = replace(record, status="revoked", version=record.version + 1)
        await self._keys.put(revoked)
        return revoked

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        return await self._keys.page(cursor)

    async def _write(self, record: KeyRecord, *, overwrite: bool) -> None:
        await self._ledger.open_account(record, period=self._period(record))
        try:  # a state whose record is refused holds nothing and admits nobody
            await self._keys.put(record, overwrite=overwrite)
        except ValueError as error:
            raise GatewayError("invalid_request", str(error)) from error

    def _period(self, record: KeyRecord) -> str:
        return period_of(record, time.strftime("%Y%m%d", time.gmtime(self._clock())))


async def _current_or_named(secret_store: SecretStore, held: KeyRecord | None) -> tuple[str, bytes]:
    """The pepper of a record, or the current one where there is no record or its pepper is gone."""
    if held is not None:
        try:
            return await secret_store.pepper(held.pepper_id)
        except KeyError:
            return await secret_store.pepper()
    return await secret_store.pepper()
