"""What an operator types, as the values the gateway keeps, and back."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime

import typer

from shared.errors import GatewayError
from shared.gateway import money, usage_queries


def nano_from_usd(text: str) -> int:
    """Exact: at most nine decimals."""
    try:
        return money.nano_from_usd(text.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def moment(text: str) -> int:
    """Epoch seconds of an ISO date or time; UTC where it names no zone."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a date or time such as 2027-01-31 or 2027-01-31T18:00:00Z is expected") from None
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def day(text: str) -> str:
    """As the ledger writes it."""
    return _taken(usage_queries.day_of, text, "day")


def days(first: str | None, last: str | None, today: date) -> tuple[str, str]:
    """Both ends of a range, as the control plane reads them."""
    return _taken(usage_queries.day_range, first, last, today)


def _taken[**P, T](read: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    try:
        return read(*given, **named)
    except GatewayError as error:
        raise typer.BadParameter(re.sub(r"`(\w+)`", r"--\1", error.message)) from None


def items(given: list[str] | None) -> tuple[str, ...]:
    """Options that may be repeated or comma-separated. An empty one is refused: what a script forgot to fill in would
    allow everything."""
    found = tuple(part.strip() for text in given or () for part in text.split(",") if part.strip())
    if given and not found:
        raise typer.BadParameter("an empty list would allow everything: leave the option out, or update --unlimited")
    return found
