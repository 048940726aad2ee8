"""`gwctl usage`: what was used and what it cost, from the daily aggregates and the rows."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer
from rich.progress import track

from infra.cli.deployment import Target, open_deployment
from infra.cli.keys import AsJson, all_keys
from infra.cli.output import errors, plain_table, print_csv, print_json, print_table, run
from infra.cli.values import day, days
from shared.gateway.money import usd
from shared.gateway.usage_queries import accounts_of, grouped, summed
from shared.stores.protocols import KeyRecord
from shared.stores.usage_protocols import UsageTotal

app = typer.Typer(invoke_without_command=True, help="What was used, and what it cost.")

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV: for a spreadsheet, or into a file.")]
GroupBy = Literal["day", "model", "key"]

_COUNTS = ("requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_GROUP_COLUMNS = {"day": ("day",), "model": ("model",), "key": ("kid", "name")}
_ROW_COLUMNS = (
    "time",
    "request_id",
    "model",
    "endpoint",
    "stream",
    "status",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "ttft_ms",
    "duration_ms",
)
_MONEY = ("cost_nano_usd", "cost_usd")
_CSV_COLUMNS = (
    *("request_id", "ts", "kid", "dialect", "endpoint", "stream", "model", "model_version", "status", "finish_reason"),
    *("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nano_usd", "cost_usd", "estimated"),
    *("ttft_ms", "duration_ms"),
)
_PAGE = 500


@app.callback()
def totals(
    context: typer.Context,
    key: Annotated[str | None, typer.Option(help="The kid of one key; every key if absent.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day, UTC; 30 days ago if absent.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day, UTC; today if absent.")] = None,
    by: Annotated[str, typer.Option(help="day, model or key.")] = "day",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Totals by day, model or key."""
    if context.invoked_subcommand is not None:
        return
    group = _group(by)
    start, end = days(first, last, datetime.now(UTC).date())
    found = run(_totals(context.obj, key, start, end))
    rows, total = grouped(found, (group,)), summed(total for _, total in found)
    if as_json:
        print_json({"data": rows, "total": total})
    elif as_csv:
        print_csv((*_GROUP_COLUMNS[group], *_COUNTS, *_MONEY), rows)
    else:
        print_table(plain_table((*_GROUP_COLUMNS[group], *_COUNTS, "cost_usd"), rows, total))


@app.command()
def requests(
    context: typer.Context,
    key: Annotated[str, typer.Option(help="The kid of a key.")],
    on: Annotated[str, typer.Option("--day", help="A day, UTC, such as 2027-01-31.")],
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="In the order they came.")] = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Every request of a key on one day, the newest first."""
    rows = run(_requests(context.obj, key, day(on), newest_first=not oldest_first))
    if as_json:
        print_json({"data": rows})
    elif as_csv:
        print_csv(_CSV_COLUMNS, rows)
    else:
        print_table(plain_table(_ROW_COLUMNS, map(_readable, rows), None))


async def _totals(target: Target, kid: str | None, first: str, last: str) -> list[tuple[KeyRecord, UsageTotal]]:
    """The daily aggregates of one key's account, or of every account once: rotations of a key share theirs."""
    deployment = await open_deployment(os.environ, target)
    accounts = accounts_of(await all_keys(deployment) if kid is None else [await deployment.registry.held(kid)])
    found: list[tuple[KeyRecord, UsageTotal]] = []
    batches = [accounts[start : start + 8] for start in range(0, len(accounts), 8)]
    for batch in track(batches, "reading usage", console=errors(), transient=True, disable=len(batches) < 2):
        answers = await asyncio.gather(*(deployment.usage.daily(record.acct, first, last) for record in batch))
        found += ((record, total) for record, totals in zip(batch, answers, strict=True) for total in totals)
    return found


async def _requests(target: Target, kid: str, on: str, *, newest_first: bool) -> list[dict[str, Any]]:
    deployment = await open_deployment(os.environ, target)
    record = await deployment.registry.held(kid)
    found: list[dict[str, Any]] = []
    with errors().status("reading requests") as status:
        cursor: str | None = None
        while True:
            page, cursor = await deployment.usage.rows(record.acct, on, cursor, _PAGE, newest_first=newest_first)
            found += _of_kid(page, kid)
            status.update(f"reading requests: {len(found)}")
            if cursor is None:
                return found


def _of_kid(rows: Sequence[Any], kid: str) -> Iterable[dict[str, Any]]:
    return ({**row, "cost_usd": usd(row["cost_nano_usd"])} for row in rows if row["kid"] == kid)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromtimestamp(row["ts"] / 1000, UTC)
    return {**row, "time": at.strftime("%H:%M:%S.%f")[:-3], "status": str(row["status"])}


def _group(text: str) -> GroupBy:
    match text:
        case "day" | "model" | "key":
            return text
    raise typer.BadParameter("usage is grouped by day, model or key")
