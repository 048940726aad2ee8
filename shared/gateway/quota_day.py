"""When Google's daily quotas begin anew: at midnight, Pacific time."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

_STANDARD: Final = timedelta(hours=-8)
_SUMMER: Final = timedelta(hours=-7)


def seconds_to_reset(now: float) -> float:
    """Seconds from the epoch second `now` to the next reset. No time zone data is needed, and none is in the function:
    the rule is that of the United States since 2007 (second Sunday in March to first Sunday in November, at 2 a.m.)."""
    moment = datetime.fromtimestamp(now, UTC)
    for days in range(3):
        day = (moment + _STANDARD).date() + timedelta(days=days)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) - _offset(day)
        if midnight > moment:
            return (midnight - moment).total_seconds()
    raise AssertionError("a day has at most 25 hours")


def _offset(day: date) -> timedelta:
    """At midnight: the clocks change two hours later."""
    starts = _sunday(day.year, 3, 2)
    ends = _sunday(day.year, 11, 1)
    return _SUMMER if starts < day <= ends else _STANDARD


def _sunday(year: int, month: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))
