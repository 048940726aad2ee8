"""What an operator types, as the values the gateway keeps, and back."""

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

import typer

_NANO = Decimal(1_000_000_000)
_MOST_DAYS = 366


def nano_from_usd(text: str) -> int:
    """Exact: at most nine decimals."""
    try:
        nano = Decimal(text) * _NANO
    except InvalidOperation:
        raise typer.BadParameter("an amount in USD such as 12.50 is expected") from None
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value():
        raise typer.BadParameter("an amount of at least 0 USD with at most nine decimals is expected")
    return int(nano)


def usd(nano: int) -> str:
    """Exact, without the zeros that say nothing beyond cents: `12.50`, `0.000345`."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, rest = divmod(nano, int(_NANO))
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def moment(text: str) -> int:
    """Epoch seconds of an ISO date or time; UTC where it names no zone."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a date or time such as 2027-01-31 or 2027-01-31T18:00:00Z is expected") from None
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a day such as 2027-01-31 is expected") from None


def check_range(first: date, last: date) -> None:
    if not 0 <= (last - first).days <= _MOST_DAYS:
        raise typer.BadParameter(f"--from must not be after --to, and at most {_MOST_DAYS} days before it")


def compact(value: date) -> str:
    return value.strftime("%Y%m%d")


def dashed(compact_day: str) -> str:
    return f"{compact_day[:4]}-{compact_day[4:6]}-{compact_day[6:]}"


def items(given: list[str] | None) -> tuple[str, ...]:
    """Options that may be repeated or comma-separated."""
    return tuple(part.strip() for text in given or () for part in text.split(",") if part.strip())
