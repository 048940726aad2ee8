"""Usage as it is asked for: days and ranges, totals by day, model and key, the requests of a day, a key's own view.

Aggregates belong to accounts: a key and its rotations are one line, under the kid of the first.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from shared.errors import GatewayError
from shared.gateway.key_view import shown
from shared.gateway.money import usd
from shared.stores.gcra import request_limit, requests_left, token_limit, tokens_left
from shared.stores.protocols import KeyRecord
from shared.stores.usage_protocols import UsageReader, UsageTotal

DIMENSIONS = ("day", "model", "key")
MOST_DAYS = 366
DEFAULT_DAYS = 30
LARGEST_PAGE = 500

_COUNTS = ("requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_LIMITS = ("rpm", "rpm_burst", "tpm", "tpm_burst", "max_concurrency", "max_output_tokens")
_ACCOUNTS_AT_ONCE = 8

Found = tuple[KeyRecord, UsageTotal]


def dashed(compact: str) -> str:
    """`20270131` -> `2027-01-31`, `202701` -> `2027-01`; any other word stays."""
    if not compact.isdigit():
        return compact
    return "-".join(part for part in (compact[:4], compact[4:6], compact[6:]) if part)


def day_of(text: str, param: str) -> str:
    """`2027-01-31` -> `20270131`, or `invalid_request`."""
    try:
        parsed = date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise GatewayError("invalid_request", f"`{param}` must be a day such as 2027-01-31.", param=param)
    return _compact(parsed)


def day_range(first: str | None, last: str | None, today: date) -> tuple[str, str]:
    """Both ends as the ledger writes them, inclusive; thirty days to today where nothing is said."""
    end = date.fromisoformat(day_of(last, "to")) if last else today
    usual = date.fromordinal(max(1, end.toordinal() - DEFAULT_DAYS + 1))
    start = date.fromisoformat(day_of(first, "from")) if first else usual
    if not 0 <= (end - start).days < MOST_DAYS:
        message = f"`from` must not be after `to`, and the range at most {MOST_DAYS} days long."
        raise GatewayError("invalid_request", message, param="from")
    return _compact(start), _compact(end)


def _compact(day: date) -> str:
    """`strftime` writes the years before 1000 with fewer digits."""
    return day.isoformat().replace("-", "")


def dimensions_of(text: str) -> tuple[str, ...]:
    """`day`, `model`, `key`, or several of them separated by commas."""
    named = tuple(dict.fromkeys(text.split(",")))
    if not set(named) <= set(DIMENSIONS):
        message = f"`group_by` must be one of {', '.join(DIMENSIONS)}."
        raise GatewayError("invalid_request", message, param="group_by")
    return named


def accounts_of(records: Iterable[KeyRecord]) -> list[KeyRecord]:
    """One record for each account: the key that named it where it is among them, else the oldest."""
    ordered = sorted(records, key=lambda record: (record.kid != record.acct, record.created_at, record.kid))
    return list({record.acct: record for record in reversed(ordered)}.values())[::-1]


async def totals_of(usage: UsageReader, records: Iterable[KeyRecord], first: str, last: str) -> list[Found]:
    """The daily aggregates of the accounts behind the records, each account once."""
    accounts = accounts_of(records)
    found: list[Found] = []
    for start in range(0, len(accounts), _ACCOUNTS_AT_ONCE):
        batch = accounts[start : start + _ACCOUNTS_AT_ONCE]
        answers = await asyncio.gather(*(usage.daily(record.acct, first, last) for record in batch))
        found += ((record, total) for record, totals in zip(batch, answers, strict=True) for total in totals)
    return found


def grouped(found: Iterable[Found], by: Sequence[str]) -> list[dict[str, Any]]:
    """One line for each combination of the dimensions, in their order; a key's line also has its name."""
    groups: dict[tuple[str, ...], list[UsageTotal]] = {}
    names: dict[str, str] = {}
    for record, total in found:
        names[record.kid] = record.name
        place = {"day": dashed(total.day), "model": total.model, "key": record.kid}
        groups.setdefault(tuple(place[dimension] for dimension in by), []).append(total)
    lines = []
    for place_of_group in sorted(groups):
        line: dict[str, Any] = {}
        for dimension, value in zip(by, place_of_group, strict=True):
            line |= {"kid": value, "name": names[value]} if dimension == "key" else {dimension: value}
        lines.append(line | summed(groups[place_of_group]))
    return lines


def grouped_globally(totals: Iterable[UsageTotal], by: Sequence[str]) -> list[dict[str, Any]]:
    """The same of totals that belong to no key: `by` holds `day`, `model` or both."""
    nobody = KeyRecord(kid="", acct="", hash="", pepper_id="")
    return grouped(((nobody, total) for total in totals), by)


def summed(totals: Iterable[UsageTotal]) -> dict[str, Any]:
    listed = list(totals)
    cost = sum(total.cost_nano for total in listed)
    return {
        **{name: sum(getattr(total, name) for total in listed) for name in _COUNTS},
        "cost_nano_usd": cost,
        "cost_usd": usd(cost),
    }


async def requests_page(
    usage: UsageReader, record: KeyRecord, day: str, cursor: str | None, limit: int, *, newest_first: bool = False
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Rows of this very key, at most `limit`; rows of its account's other keys are passed over."""
    found: list[Mapping[str, Any]] = []
    while True:
        try:
            rows, cursor = await usage.rows(record.acct, day, cursor, limit - len(found), newest_first=newest_first)
        except ValueError as error:
            raise GatewayError("invalid_request", "`cursor` is not valid.", param="cursor") from error
        found += (row for row in rows if row["kid"] == record.kid)
        if cursor is None or len(found) >= limit:
            return found, cursor


def own_view(record: KeyRecord, balance: Mapping[str, Any] | None, totals: Sequence[UsageTotal], now_us: int) -> Any:
    """What the holder of a key may know about it. None among the limits and what remains = unlimited."""
    found = [(record, total) for total in totals]
    budget = shown(record)["budget"]
    period = (balance or {}).get("period", "all")
    spent = None if balance is None else balance["spent_nano"]
    return {
        "kid": record.kid,
        "name": record.name,
        "limits": {**{name: getattr(record, name) for name in _LIMITS}, "budget": budget},
        "remaining": _remaining(record, balance, now_us),
        "period": dashed(period),
        "spent_nano_usd": spent,
        "spent_usd": None if spent is None else usd(spent),
        "data": grouped(found, ("day", "model")),
        "total": summed(totals),
    }


def _remaining(record: KeyRecord, balance: Mapping[str, Any] | None, now_us: int) -> dict[str, Any]:
    state = balance or {}
    requests = request_limit(record.rpm, record.rpm_burst)
    tokens = token_limit(record.tpm, record.tpm_burst, 0)
    held = state.get("holds", 0)
    available = state.get("available_nano")
    left = None if available is None else max(0, available)
    return {
        "requests": None if requests is None else requests_left(requests, state.get("requests_tat_us"), now_us),
        "tokens": None if tokens is None else tokens_left(tokens, state.get("tokens_tat_us"), now_us),
        "concurrency": None if record.max_concurrency is None else max(0, record.max_concurrency - held),
        "budget_nano_usd": left,
        "budget_usd": None if left is None else usd(left),
    }
