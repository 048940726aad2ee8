"""The ledger on one DynamoDB table: admission by one conditional update, settlement by one transaction.

Every write here is guarded by a condition or a client token, so that a lost answer can always be asked again.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from cachetools import LRUCache
from msgspec.structs import replace

from shared.stores.attributes import Item, decode_item
from shared.stores.aws import Aws, AwsFailure, retrying
from shared.stores.dynamodb_accounts import join_update, limits_update, open_put, status_update
from shared.stores.dynamodb_admission import (
    UNLIMITED,
    Arrivals,
    ChangePeriod,
    Limits,
    TryAgain,
    abandoned_update,
    admission_update,
    judge,
    limit_state,
    limits_of,
    period_update,
    release_update,
    state_key,
)
from shared.stores.dynamodb_rows import adjust_transaction, lost_settlement, row_key, settle_transaction
from shared.stores.protocols import (
    AccountLimits,
    Admission,
    Admitted,
    KeyRecord,
    KeyStatus,
    Refused,
    Settlement,
    StoreConflict,
    StoreUnavailable,
)

_log = logging.getLogger(__name__)

_REFUSED = "ConditionalCheckFailedException"
_REASON = "ConditionalCheckFailed"  # the same of one item of a transaction
_ADMIT_TRIES = 5
_SETTLE_TRIES = 6
_SWEEP_AT_ONCE = 10
_TAKEN_BACK_AFTER_S = (0, 0.05, 0.2)
_REMEMBERED_ACCOUNTS = 10_000
_NOTHING_SEEN = Arrivals()
# an expired hold may be what stands in the way of these
_WORTH_SWEEPING = frozenset({"budget", "concurrency", "duplicate_running", "duplicate_mismatch"})


class DynamoLedger:
    """Implements `protocols.Ledger`. Who leaves `admit` leaves no hold."""

    def __init__(self, aws: Aws, table: str) -> None:
        self._aws = aws
        self._table = table
        self._seen: LRUCache[str, Arrivals] = LRUCache(_REMEMBERED_ACCOUNTS)  # of the accounts with rates

    async def warm(self) -> None:
        await self._aws.warm("dynamodb")

    async def open_account(self, record: KeyRecord, *, period: str) -> None:
        if await self._write("put_item", open_put(self._table, record, period)):
            return
        # an account of an older key, or our own lost answer
        await self._write("update_item", join_update(self._table, record))

    async def set_key_status(self, acct: str, kid: str, status: KeyStatus) -> None:
        if not await self._write("update_item", status_update(self._table, acct, kid, status)):
            raise StoreConflict(f"the account {acct} has no state, or its key {kid} is revoked")

    async def change_limits(self, acct: str, limits: AccountLimits) -> Sequence[str]:
        operation = secrets.token_hex(8)
        for _ in range(_ADMIT_TRIES):
            state = await self._state(acct)
            if state is None:
                raise StoreConflict(f"the account {acct} has no state")
            if state.get("op") == operation:  # the answer to our change was lost
                return list(state["kids"])
            change = limits_update(self._table, acct, state, limits, operation)
            if await self._write("update_item", change):
                return list(state["kids"])
        raise StoreUnavailable(f"the limits of {acct} are being changed by others")

    async def account_kids(self, acct: str) -> Mapping[str, KeyStatus]:
        state = await self._state(acct)
        return {} if state is None else state["kids"]

    async def admit(self, admission: Admission) -> Admitted | Refused:
        limits, period = limits_of(admission), admission.period
        seen = self._seen.get(admission.acct, _NOTHING_SEEN)
        try:
            for _ in range(_ADMIT_TRIES):
                verdict, image = await self._ask(admission, limits, period, seen)
                if isinstance(verdict, Admitted):
                    return verdict if admission.body_sha is None else await self._unless_done(admission, verdict)
                if image is not None:
                    seen = self._seen[admission.acct] = Arrivals.of(image)
                swept = image is not None and await self._sweep_image(admission, image)
                match verdict:
                    case ChangePeriod():
                        await self._write("update_item", period_update(self._table, admission.acct, verdict))
                        period = verdict.new
                    case TryAgain():
                        period = verdict.period
                    case Refused() if swept and verdict.kind in _WORTH_SWEEPING:
                        continue  # what stood in the way may be gone
                    case Refused():
                        return verdict
            return Refused("contended", retry_after=1.0)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._take_back(admission)))
            raise

    async def _take_back(self, admission: Admission) -> None:
        """The hold of a caller that left: nobody would end it before it expires, and nobody knows whether it is there
        or still on its way. One that comes later than this is swept."""
        for pause in _TAKEN_BACK_AFTER_S:
            await asyncio.sleep(pause)
            try:
                if await self._write("update_item", release_update(self._table, admission)):
                    return
            except StoreUnavailable as error:
                _log.warning("hold_not_taken_back", extra={"fields": {"acct": admission.acct, "error": str(error)}})
                return

    async def _ask(
        self, admission: Admission, limits: Limits, period: str, seen: Arrivals
    ) -> tuple[Admitted | Refused | ChangePeriod | TryAgain, Item | None]:
        """One try: the verdict, and the image it was read from where the condition failed."""
        request = admission_update(self._table, admission, limits, period, seen)
        try:
            updated = (await self._call("update_item", request, _ADMIT_TRIES))["Attributes"]
        except AwsFailure as failure:
            if failure.code != _REFUSED:
                raise failure.unavailable() from failure
            image = None if failure.item is None else decode_item(failure.item)
            return judge(admission, limits, period, image), image
        arrivals = Arrivals.updated(updated)
        if limits is not UNLIMITED:
            self._seen[admission.acct] = arrivals
        return Admitted(limit_state(admission, limits, int(updated["avail"]["N"]), arrivals)), None

    async def _unless_done(self, admission: Admission, admitted: Admitted) -> Admitted | Refused:
        """With an Idempotency-Key: admit first, then look for the row, so that no order of events lets both run."""
        try:
            row = await self._row(admission.rid)
        except StoreUnavailable:
            await self._write("update_item", release_update(self._table, admission))
            raise
        if row is None:
            return admitted
        await self._write("update_item", release_update(self._table, admission))
        same_body = row.get("body_sha") == admission.body_sha
        return Refused("duplicate_done" if same_body else "duplicate_mismatch", limits=admitted.limits)

    async def settle(self, settlement: Settlement) -> None:
        failure = await self._transact(settle_transaction(self._table, settlement, hold=settlement.had_hold))
        if failure is None:
            return
        row, state, _ = failure.reasons
        if row.code == _REASON:
            settled = decode_item(row.item) if row.item is not None else await self._row(settlement.rid)
            if settled is not None and settled["st"] == "lost" and settlement.state != "lost":
                await self._adjust(settlement, settled)
        elif state.code == _REASON and settlement.state == "lost":
            return  # another sweep, or the request itself, was faster
        elif state.code == _REASON and settlement.had_hold:
            await self.settle(replace(settlement, had_hold=False))
        else:
            raise failure.unavailable()

    async def _adjust(self, settlement: Settlement, lost: Item) -> None:
        failure = await self._transact(adjust_transaction(self._table, settlement, lost))
        if failure is not None and failure.reasons[0].code != _REASON:  # else adjusted before
            raise failure.unavailable()

    async def sweep_expired(self, acct: str, now_s: int) -> int:
        """End every hold of the account that outlived its request; returns how many there were."""
        image = await self._state(acct) or {"holds": {}}
        expired = _expired(image, now_s)
        for rid, hold in expired:
            await self._end_hold(acct, rid, hold)
        return len(expired)

    async def _sweep_image(self, admission: Admission, image: Item) -> bool:
        """The holds of an image that have expired, a few at a time: the slot of a request that died is free again."""
        expired = _expired(image, admission.now_us // 1_000_000)[:_SWEEP_AT_ONCE]
        try:
            for rid, hold in expired:
                await self._end_hold(admission.acct, rid, hold)
        except StoreUnavailable as error:  # the verdict stands without it, and the next request sweeps again
            _log.warning("sweep_failed", extra={"fields": {"acct": admission.acct, "error": str(error)}})
            return False
        return bool(expired)

    async def _end_hold(self, acct: str, rid: str, hold: Mapping[str, Any]) -> None:
        """Row and hold change in one transaction, so a hold beside a row is a duplicate that was never released."""
        if await self._row(rid) is None:
            await self.settle(lost_settlement(acct, rid, hold))
        else:
            await self._write("update_item", abandoned_update(self._table, acct, rid, hold))

    async def _state(self, acct: str) -> Item | None:
        key = {"TableName": self._table, "Key": state_key(acct), "ConsistentRead": True}
        answer = await self._read("get_item", key)
        return decode_item(answer["Item"]) if "Item" in answer else None

    async def _row(self, rid: str) -> Item | None:
        answer = await self._read("get_item", {"TableName": self._table, "Key": row_key(rid), "ConsistentRead": True})
        return decode_item(answer["Item"]) if "Item" in answer else None

    async def _transact(self, request: Mapping[str, Any]) -> AwsFailure | None:
        """None when written; the failure where a condition said no."""
        try:
            await self._call("transact_write_items", request, _SETTLE_TRIES)
        except AwsFailure as failure:
            if any(reason.code == _REASON for reason in failure.reasons):
                return failure
            raise failure.unavailable() from failure
        return None

    async def _write(self, operation: str, request: Mapping[str, Any]) -> bool:
        """False where the condition said no."""
        try:
            await self._call(operation, request, _ADMIT_TRIES)
        except AwsFailure as failure:
            if failure.code == _REFUSED:
                return False
            raise failure.unavailable() from failure
        return True

    async def _read(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self._call(operation, request, _ADMIT_TRIES)
        except AwsFailure as failure:
            raise failure.unavailable() from failure

    def _call(self, operation: str, request: Mapping[str, Any], tries: int) -> Coroutine[Any, Any, Mapping[str, Any]]:
        return retrying(partial(self._aws.call, "dynamodb", operation, **request), tries)


def _expired(image: Item, now_s: int) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(
        ((rid, hold) for rid, hold in image["holds"].items() if hold["x"] < now_s), key=lambda item: item[1]["x"]
    )
