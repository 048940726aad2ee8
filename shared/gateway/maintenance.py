"""What keeps the books straight after crashes: the sweep of expired holds, the booking of queued settlements, the
reconciliation of what was booked as lost with what the log knows, and the recount of the totals of all accounts.

Everything here may run twice, at the same time, or not to its end: each step is one idempotent write of the ledger.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from shared.gateway import usage_lines
from shared.gateway.telemetry import emf, log, record
from shared.stores.protocols import KeyStore, LedgerUpkeep, Settlement, StoreUnavailable
from shared.stores.usage_protocols import GlobalUpkeep, LostRequest, LostRequests, UsageLog

_AT_ONCE = 8
_RUN_S = 1_020  # an invocation at its longest, the grace of its hold, and a minute for clocks that differ
_ARRIVED_S = 900  # a log line that is not there by then was never written
DAYS_BACK = 3

Enough = Callable[[], bool]


class Upkeep(Struct, frozen=True):
    """What a sweep found: accounts looked at, holds ended, accounts whose store failed."""

    accounts: int = 0
    holds: int = 0
    failed: int = 0


async def account_names(keys: KeyStore) -> list[str]:
    """Every account of the registry, in no order: a run that is cut short leaves out others each time."""
    found: set[str] = set()
    cursor: str | None = None
    while True:
        records, cursor = await keys.page(cursor)
        found |= {record.acct for record in records}
        if cursor is None:
            accounts = sorted(found)
            random.shuffle(accounts)
            return accounts


async def sweep(accounts: Sequence[str], ledger: LedgerUpkeep, now_s: int, enough: Enough) -> Upkeep:
    """End the holds that outlived their requests, until `enough` says so. What fails now is found again next time."""
    done = Upkeep(*await _each(accounts, lambda acct: ledger.sweep_expired(acct, now_s), enough))
    metrics = {"LostReservations": done.holds, "SweepFailures": done.failed}
    log("swept", metrics=metrics, accounts=done.accounts, of=len(accounts), holds=done.holds, failed=done.failed)
    return done


async def recount(
    accounts: Sequence[str], totals: GlobalUpkeep, now_s: int, enough: Enough, days_back: int = DAYS_BACK
) -> dict[str, int]:
    """Count what the stream did not bring of the last days, today included; `left` are accounts it had no time for."""
    today = datetime.fromtimestamp(now_s, UTC).date()
    first, last = ((today - timedelta(days=back)).strftime("%Y%m%d") for back in (days_back - 1, 0))
    looked, changed, failed = await _each(accounts, lambda acct: totals.recount(acct, first, last), enough)
    counts = {"accounts": looked, "left": len(accounts) - looked, "changed": changed, "failed": failed}
    record("recounted", counts)
    return counts


async def _each(
    accounts: Sequence[str], work: Callable[[str], Coroutine[Any, Any, int]], enough: Enough
) -> tuple[int, int, int]:
    """(accounts looked at, the sum of what their work returned, accounts whose store failed)."""
    looked = found = failed = 0
    for start in range(0, len(accounts), _AT_ONCE):
        if enough():
            break
        batch = accounts[start : start + _AT_ONCE]
        for answer in await asyncio.gather(*map(work, batch), return_exceptions=True):
            looked += 1
            if isinstance(answer, StoreUnavailable):
                failed += 1
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer
    return looked, found, failed


async def book(
    messages: Iterable[Mapping[str, Any]],
    read: Callable[[str], Settlement],
    settle: Callable[[Settlement], Any],
) -> list[str]:
    """Settle what the queue brings; returns the ids of the messages that must come again. A message that is no
    settlement comes again too, until the queue puts it aside where somebody looks."""
    failed: list[str] = []
    for message in messages:
        try:
            await settle(read(message["body"]))
        except (StoreUnavailable, ValueError) as error:
            failure = {"SettlementFailed": 1}
            log("settle_failed_again", level=40, exc=error, metrics=failure, message_id=message["messageId"])
            failed.append(message["messageId"])
    return failed


class Reconciler:
    """Corrects what was booked as lost, once the log can say what became of it.

    `whole_log` says that start lines are kept (LOG_LEVEL is INFO or DEBUG): only then does their absence prove that
    the upstream was never called.
    """

    def __init__(
        self,
        lost: LostRequests,
        usage_log: UsageLog,
        settle: Callable[[Settlement], Any],
        *,
        whole_log: bool,
    ) -> None:
        self._lost = lost
        self._log = usage_log
        self._settle = settle
        self._whole_log = whole_log

    async def run(self, accounts: Sequence[str], now_s: int, enough: Enough) -> dict[str, int]:
        """Counts by what was decided: `adjusted`, `voided`, `stands`, `booked`, `failed`."""
        counts = dict.fromkeys(("adjusted", "voided", "stands", "booked", "failed"), 0)
        for rid in await self._unwritten(now_s):
            await self._count(counts, self._book(rid, now_s))
        today = datetime.fromtimestamp(now_s, UTC).date()
        days = [(today - timedelta(days=back)).strftime("%Y%m%d") for back in range(DAYS_BACK)]
        for acct in accounts:
            for day in days:
                if enough():
                    break
                for request in await self._lost.lost(acct, day):
                    await self._count(counts, self._judge(request, now_s))
        drift = counts["adjusted"] + counts["voided"] + counts["booked"]
        metrics = {"ReconcileDrift": drift, "ReconcileFailures": counts["failed"]}
        record("reconciled", {**emf([((("service",),), metrics)], {}), **counts})
        return counts

    async def _count(self, counts: dict[str, int], decision: Any) -> None:
        try:
            counts[await decision] += 1
        except StoreUnavailable as error:
            log("reconcile_failed", level=40, exc=error)
            counts["failed"] += 1

    async def _unwritten(self, now_s: int) -> list[str]:
        """Requests that neither the ledger nor the queue took: their usage line is all there is."""
        lines = await self._log.lines("settle_lost", (now_s - DAYS_BACK * 86_400) * 1000, now_s * 1000)
        named = (str(line.get("request_id", "")) for line in lines if line.get("message") == "settle_lost")
        return list(dict.fromkeys(name for name in named if name))

    async def _book(self, rid: str, now_s: int) -> str:
        settlement = _usage_of(await self._log.lines(rid, (now_s - (DAYS_BACK + 1) * 86_400) * 1000, now_s * 1000))
        if settlement is None:
            return "stands"
        await self._settle(settlement)
        return "booked"

    async def _judge(self, lost: LostRequest, now_s: int) -> str:
        since, until = lost.ended_at - _RUN_S, lost.ended_at + _ARRIVED_S
        lines = await self._log.lines(lost.rid, since * 1000, until * 1000)
        settlement = _usage_of(lines)
        if settlement is not None:
            await self._settle(settlement)
            return "adjusted"
        started = any(line.get("message") == "upstream_start" for line in lines)
        if started or not self._whole_log or now_s < until:
            return "stands"
        await self._settle(never_called(lost))
        return "voided"


def _usage_of(lines: Iterable[Mapping[str, Any]]) -> Settlement | None:
    return next((found for line in lines if (found := usage_lines.read(line)) is not None), None)


def never_called(lost: LostRequest) -> Settlement:
    """The request died between its admission and the upstream: it cost nothing."""
    return Settlement(
        acct=lost.acct,
        kid=lost.kid,
        rid=lost.rid,
        nonce="",
        day=lost.day,
        ts_ms=lost.ended_at * 1000,
        state="void",
        dialect="",
        endpoint="",
        stream=False,
        model=lost.model,
        model_version="",
        status=500,
        finish_reason="never_called",
        input_tokens=0,
        cached_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        cost_nano=0,
        estimate_nano=lost.estimate_nano,
        estimate_tokens=0,
        price_version="",
        estimated=False,
        ttft_ms=None,
        duration_ms=0,
        had_hold=False,
    )
