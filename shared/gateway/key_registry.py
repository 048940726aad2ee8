"""The life of a client key as operators drive it: issued, changed, rotated, revoked.

The ledger is written before the registry, so that no key is ever usable without its account's state, and so that a
revocation is effective at once.
"""

import contextlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from shared.errors import GatewayError
from shared.gateway.key_terms import KeyTerms, check_terms
from shared.gateway.keyring import (
    BASE62,
    KID_LENGTH,
    SECRET_LENGTH,
    in_force,
    key_hash,
    make_key,
    named_pepper,
    parse_key,
)
from shared.gateway.limits import period_of
from shared.stores.protocols import (
    AccountLimits,
    KeyRecord,
    KeyStatus,
    KeyStore,
    Ledger,
    SecretStore,
    StoreConflict,
    StoreUnavailable,
)

OVERLAP_S = 86_400
LONGEST_OVERLAP_S = 30 * 86_400

# what every key of an account shares: the state of all of these lives with the account
_OF_ACCOUNT = (
    "rpm",
    "rpm_burst",
    "tpm",
    "tpm_burst",
    "max_concurrency",
    "budget_period",
    "budget_limit_nano",
)
_IN_LEDGER = ("max_concurrency", "budget_period", "budget_limit_nano")


def _nobody(kid: str) -> None:
    """Where no cache of this process needs to know."""


class KeyRegistry:
    """Issue, list, change, rotate and revoke. `clock` gives epoch seconds; `changed` is told the kid of every record
    that was written, after the write."""

    def __init__(
        self,
        keys: KeyStore,
        secret_store: SecretStore,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
        changed: Callable[[str], None] = _nobody,
    ) -> None:
        self._keys = keys
        self._secrets = secret_store
        self._ledger = ledger
        self._clock = clock
        self._changed = changed

    async def issue(self, terms: KeyTerms) -> tuple[KeyRecord, str]:
        """A new key: its record, and its text, which is kept nowhere. `invalid_request` names the term at fault."""
        check_terms(terms)
        kid = _random(KID_LENGTH)
        # the first key of an account names it; its rotations keep the name
        record = KeyRecord(kid=kid, acct=kid, hash="", pepper_id="", created_at=int(self._clock()), **terms.fields())
        return await self._issue(record)

    async def _issue(self, record: KeyRecord) -> tuple[KeyRecord, str]:
        """The record with a secret of its own."""
        secret = _random(SECRET_LENGTH)
        pepper_id, pepper = await named_pepper(self._secrets, None)
        record = replace(record, hash=key_hash(pepper, secret), pepper_id=pepper_id)
        await self._write(record, overwrite=False)
        return record, make_key(record.kid, secret)

    async def restore(self, key_text: str, terms: KeyTerms) -> KeyRecord:
        """Put a key that somebody still holds back into stores that lost it; what is there stays as it is."""
        key = parse_key(key_text)
        if key is None:
            raise GatewayError("invalid_request", "The text is not a key of this gateway.", param="key")
        check_terms(terms)
        held = await self._keys.resolve(key.kid, fresh=True)
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

    async def held(self, kid: str) -> KeyRecord:
        """`not_found` where there is no such key."""
        record = await self._keys.resolve(kid, fresh=True)
        if record is None:
            raise GatewayError("not_found", f"There is no key {kid[:64]}.", param="kid")
        return record

    async def revoke(self, kid: str) -> KeyRecord:
        """For ever. `not_found` where there is no such key."""
        record = await self.held(kid)
        with contextlib.suppress(StoreConflict):  # without a state it was never usable; the record must still say so
            await self._ledger.set_key_status(record.acct, kid, "revoked")
        if record.status == "revoked":
            return record
        return await self._put(replace(record, status="revoked", version=record.version + 1))

    async def change(self, kid: str, changes: Mapping[str, Any], status: KeyStatus | None = None) -> KeyRecord:
        """Other terms, by the names of `KeyTerms`, and switched on or off by `status`. Counters are never touched:
        what was spent stays spent. The account's limits also enter the records of its other keys."""
        record = await self.held(kid)
        if record.status == "revoked":
            raise _conflict("A revoked key cannot be changed.")
        terms = replace(KeyTerms.of(record), **changes)
        check_terms(terms)
        changed = replace(record, **terms.fields(), status=status or record.status, version=record.version + 1)
        if status is not None:
            await self._set_status(changed)
        if not set(_IN_LEDGER).isdisjoint(changes):
            await self._ledger.change_limits(record.acct, self._limits(changed))
        if (held := await self.held(kid)) != record:  # rotated, say: what it became meanwhile stays
            terms = replace(KeyTerms.of(held), **changes)
            changed = replace(held, **terms.fields(), status=status or held.status, version=held.version + 1)
        if (await self._put_again(changed)).status == "revoked":
            raise _conflict("The key was revoked meanwhile.")
        if not set(_OF_ACCOUNT).isdisjoint(changes):  # asked now: a key that joined before the put has the old terms
            kids = await self._ledger.account_kids(record.acct)
            await self._spread({name: getattr(changed, name) for name in _OF_ACCOUNT}, [k for k in kids if k != kid])
        return changed

    async def rotate(self, kid: str, overlap_s: int = OVERLAP_S) -> tuple[KeyRecord, str]:
        """A new key of the same account and terms: its record and text. The old one works for `overlap_s` seconds
        more, on the same budget; with 0 it ends at once."""
        old, now = await self.held(kid), int(self._clock())
        if old.replaced_by is not None:
            raise _conflict(f"The key was rotated already, into {old.replaced_by}.")
        if not in_force(old, max(now, old.not_before or 0)):
            raise _conflict("Only a key that is active and has not expired can be rotated.")
        fresh = replace(old, kid=_random(KID_LENGTH), created_at=now, version=1)
        issued = await self._issue(fresh)
        with contextlib.suppress(StoreUnavailable):
            held = await self.held(kid)
            if held.status == old.status and held.replaced_by is None:
                issued, old = await self._with_terms(issued, held), held
        end = now + overlap_s if old.expires_at is None else min(old.expires_at, now + overlap_s)
        ended: KeyStatus = old.status if overlap_s else "revoked"
        if not overlap_s:
            await self._ledger.set_key_status(old.acct, kid, ended)
        replaced = replace(old, replaced_by=fresh.kid, expires_at=end, status=ended, version=old.version + 1)
        await self._put(replaced)
        with contextlib.suppress(StoreUnavailable):  # the new key is in force, and nobody else is told its text
            await self._unless_revoked(replaced)
        return issued

    async def _with_terms(self, issued: tuple[KeyRecord, str], of: KeyRecord) -> tuple[KeyRecord, str]:
        """A key that was issued on the terms of another, which may have been given others meanwhile."""
        record, text = issued
        changed = replace(record, **KeyTerms.of(of).fields())
        return issued if changed == record else (await self._put(changed), text)

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        """ValueError for a cursor that is none."""
        return await self._keys.page(cursor)

    async def _spread(self, limits: Mapping[str, Any], kids: Sequence[str]) -> None:
        for kid in kids:
            sibling = await self._keys.resolve(kid, fresh=True)
            if sibling is not None and sibling.status != "revoked":
                await self._put_again(replace(sibling, **limits, version=sibling.version + 1))

    async def _set_status(self, record: KeyRecord) -> None:
        try:
            await self._ledger.set_key_status(record.acct, record.kid, record.status)
        except StoreConflict:
            if (await self._ledger.account_kids(record.acct)).get(record.kid) == "revoked":
                raise _conflict("The key was revoked meanwhile.") from None
            raise

    async def _put_again(self, record: KeyRecord) -> KeyRecord:
        """The record as it stands afterwards."""
        return await self._unless_revoked(await self._put(record))

    async def _unless_revoked(self, record: KeyRecord) -> KeyRecord:
        """What was just put; revoked where somebody revoked it since it was read. A revocation writes the ledger first,
        so that one which is not seen here writes its own record after this one."""
        if record.status != "revoked" and (await self._ledger.account_kids(record.acct)).get(record.kid) == "revoked":
            return await self._put(replace(record, status="revoked", version=record.version + 1))
        return record

    async def _write(self, record: KeyRecord, *, overwrite: bool) -> None:
        # a state whose record is refused holds nothing and admits nobody
        await self._ledger.open_account(record, period=self._period(record))
        await self._put(record, overwrite=overwrite)

    async def _put(self, record: KeyRecord, *, overwrite: bool = True) -> KeyRecord:
        try:
            await self._keys.put(record, overwrite=overwrite)
        except ValueError as error:
            raise GatewayError("invalid_request", str(error)) from error
        self._changed(record.kid)
        return record

    def _limits(self, record: KeyRecord) -> AccountLimits:
        return AccountLimits(record.budget_limit_nano, record.max_concurrency, self._period(record), self._today())

    def _period(self, record: KeyRecord) -> str:
        return period_of(record, self._today())

    def _today(self) -> str:
        return time.strftime("%Y%m%d", time.gmtime(self._clock()))


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def _conflict(message: str) -> GatewayError:
    return GatewayError("invalid_request", message, param="kid", reason="conflict")


async def _current_or_named(secret_store: SecretStore, held: KeyRecord | None) -> tuple[str, bytes]:
    """The pepper of a record, or the current one where there is no record or its pepper is gone."""
    if held is not None:
        try:
            return await secret_store.pepper(held.pepper_id)
        except KeyError:
            return await secret_store.pepper()
    return await secret_store.pepper()
