"""The figures of the console: what was used in a range of days, by whom, and what is left."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from msgspec import Struct

from shared.gateway import usage_queries as queries
from shared.gateway.control_access import ControlPlane
from shared.stores.protocols import KeyRecord
from shared.stores.usage_protocols import UsageReader

_AT_ONCE = 8  # balances that are read side by side


class Account(Struct, frozen=True):
    """What owns a budget: a key and its rotations, under the kid of the first. Nano-dollars; None = unlimited."""

    kid: str
    name: str
    kids: tuple[str, ...]
    budget_period: str
    limit_nano: int | None = None
    spent_nano: int = 0  # in the period that runs
    holds: int = 0  # requests that run now


class Overview(Struct, frozen=True):
    """`first` and `last` are days as the ledger writes them, both included."""

    first: str
    last: str
    accounts: Sequence[Account]
    found: Sequence[queries.Found]

    @property
    def total(self) -> dict[str, Any]:
        return queries.summed(total for _, total in self.found)

    def by(self, dimension: str) -> list[dict[str, Any]]:
        """Lines of `usage_queries.grouped`, the dearest first."""
        return sorted(queries.grouped(self.found, (dimension,)), key=lambda line: -int(line["cost_nano_usd"]))

    def by_day(self) -> list[tuple[date, dict[str, Any]]]:
        """Every day of the range, those without use too."""
        lines = {line["day"]: line for line in queries.grouped(self.found, ("day",))}
        first, last = _date(self.first), _date(self.last)
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return [(day, lines.get(day.isoformat()) or queries.summed(())) for day in days]


def _date(compact: str) -> date:
    return datetime.strptime(compact, "%Y%m%d").date()


async def gather(plane: ControlPlane, first: str, last: str, only: KeyRecord | None = None) -> Overview:
    """Every account, or that of `only`. StoreUnavailable where a store does not answer."""
    records = [only] if only is not None else [record for record in await _all(plane) if not _operators(record)]
    found = await queries.totals_of(plane.usage, records, first, last)
    kids: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda record: -record.created_at):
        kids.setdefault(record.acct, []).append(record.kid)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def account(record: KeyRecord) -> Account:
        async with gate:
            return await _account(plane.usage, record, tuple(kids[record.acct]))

    accounts = await asyncio.gather(*(account(record) for record in queries.accounts_of(records)))
    return Overview(first, last, sorted(accounts, key=lambda account: (account.name.casefold(), account.kid)), found)


async def _all(plane: ControlPlane) -> list[KeyRecord]:
    records, cursor = await plane.registry.page()
    found = list(records)
    while cursor is not None:
        records, cursor = await plane.registry.page(cursor)
        found += records
    return found


def _operators(record: KeyRecord) -> bool:
    """A key of the control plane only: nothing is ever metered on it."""
    return record.endpoints == ("admin",)


async def _account(usage: UsageReader, record: KeyRecord, kids: tuple[str, ...]) -> Account:
    """The ledger's word on the limit counts; without a limit nobody needs to ask it."""
    balance: Mapping[str, Any] = {}
    if record.budget_limit_nano is not None:
        balance = await usage.balance(record.acct) or {}
    return Account(
        kid=record.kid,
        name=record.name or record.kid,
        kids=kids,
        budget_period=record.budget_period,
        limit_nano=balance.get("limit_nano", record.budget_limit_nano),
        spent_nano=balance.get("spent_nano", 0),
        holds=balance.get("holds", 0),
    )


def as_json(overview: Overview) -> dict[str, Any]:
    """Days as ISO dates, money as integer nano-dollars."""
    return {
        "from": queries.dashed(overview.first),
        "to": queries.dashed(overview.last),
        "accounts": [
            {
                "kid": account.kid,
                "name": account.name,
                "kids": list(account.kids),
                "budget_period": account.budget_period,
                "limit_nano_usd": account.limit_nano,
                "spent_nano_usd": account.spent_nano,
                "holds": account.holds,
            }
            for account in overview.accounts
        ],
        "data": queries.grouped(overview.found, ("day", "model", "key")),
        "total": overview.total,
    }
