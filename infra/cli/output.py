"""How results leave: tables for people, JSON for programs; progress and errors on stderr."""

import asyncio
import csv
import json
import sys
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from infra.cli.deployment import NoDeployment
from shared.errors import GatewayError
from shared.gateway.key_terms import LATEST
from shared.gateway.keyring import KID_LENGTH
from shared.gateway.money import usd
from shared.stores.protocols import KeyRecord, StoreUnavailable


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """The result of an operation; its failures in one line on stderr. Exit code 2: the arguments were wrong; 1: the
    rest."""
    try:
        return asyncio.run(work)
    except GatewayError as error:
        raise _failed(error.message, 2 if error.kind == "invalid_request" else 1) from error
    except StoreUnavailable as error:
        raise _failed(f"the stores cannot be reached: {error}", 1) from error
    except NoDeployment as error:
        raise _failed(str(error), 1) from error


def _failed(message: str, code: int) -> typer.Exit:
    errors().print(f"gwctl: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


def errors() -> Console:
    return Console(stderr=True)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """One line of names, then one for each row; text that a spreadsheet would take for a formula is quoted by `'`."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row.get(column)) for column in columns])


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def key_table(records: Iterable[KeyRecord]) -> Table:
    """Every kid in one piece, however narrow the terminal: it is what the other commands are given."""
    table = Table()
    table.add_column("kid", no_wrap=True, min_width=KID_LENGTH)
    table.add_column("name", overflow="fold")
    table.add_column("status", no_wrap=True, min_width=8)
    for column in ("created", "expires", "endpoints", "models", "limits", "budget"):
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(
            record.kid,
            record.name,
            record.status,
            time_of(record.created_at),
            "" if record.expires_at is None else time_of(record.expires_at),
            ", ".join(record.endpoints) or "all",
            ", ".join(record.models) or "all",
            _limits(record),
            _budget(record),
        )
    return table


def _limits(record: KeyRecord) -> str:
    named = {"rpm": record.rpm, "tpm": record.tpm, "parallel": record.max_concurrency}
    return ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)


def _budget(record: KeyRecord) -> str:
    if record.budget_limit_nano is None:
        return ""
    period = "in all" if record.budget_period == "none" else f"a {record.budget_period}"
    return f"{usd(record.budget_limit_nano)} USD {period}"


def time_of(seconds: float) -> str:
    """A record of before `LATEST` was checked shall not hide the others."""
    return datetime.fromtimestamp(min(seconds, LATEST), UTC).strftime("%Y-%m-%d %H:%M")


def plain_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], total: Mapping[str, Any] | None) -> Table:
    """Numbers to the right; `total` becomes the footer."""
    table = Table(show_footer=total is not None)
    listed = list(rows)
    for position, column in enumerate(columns):
        numeric = any(isinstance(row.get(column), int) and not isinstance(row.get(column), bool) for row in listed)
        footer = "" if total is None else _cell(total.get(column)) or ("total" if position == 0 else "")
        right = numeric or column.endswith("_usd")
        table.add_column(column, footer=footer, justify="right" if right else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
    return str(value)


def print_table(table: Table) -> None:
    """As wide as it must be where nobody watches: a pipe shall not lose columns."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)
