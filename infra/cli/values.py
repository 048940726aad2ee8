"""What an operator types, as the values the gateway keeps, and back."""

from datetime import UTC, date, datetime

import typer

from shared.gateway import money

_MOST_DAYS = 366


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


def items(given: list[str] | None) -> tuple[str, ...]:
    """Options that may be repeated or comma-separated."""
    return tuple(part.strip() for text in given or () for part in text.split(",") if part.strip())
