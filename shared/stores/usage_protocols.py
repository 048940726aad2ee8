"""What control plane and upkeep ask of the stores about usage: rows, daily totals, what was lost, what was billed.

Units and errors as in `protocols`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct


class UsageTotal(Struct, frozen=True):
    """One line of a daily aggregate."""

    day: str
    model: str
    requests: int
    errors: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nano: int


class LostRequest(Struct, frozen=True):
    """A row booked at its full estimate because its request never settled; `ended_at` is when its hold ended."""

    acct: str
    kid: str
    rid: str
    day: str
    model: str
    estimate_nano: int
    ended_at: int


class LostRequests(Protocol):
    async def lost(self, acct: str, day: str) -> Sequence[LostRequest]:
        """Those of a day that nothing has adjusted yet."""


class UsageLog(Protocol):
    async def lines(self, term: str, since_ms: int, until_ms: int) -> Sequence[Mapping[str, Any]]:
        """The functions' log lines, as JSON objects, that contain a word of letters, digits and `_`."""


class UsageReader(Protocol):
    async def daily(self, acct: str, first_day: str, last_day: str) -> Sequence[UsageTotal]: ...

    async def rows(
        self, acct: str, day: str, cursor: str | None = None, limit: int = 100, *, newest_first: bool = False
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Rows in time order, or against it: `{request_id, ts, kid, dialect, endpoint, stream, model, model_version,
        status, finish_reason, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_nano_usd, estimated,
        ttft_ms, duration_ms}`; `ts` is epoch milliseconds. ValueError for a cursor that is none. A cursor is a place
        among the rows, from which either order leads on."""

    async def balance(self, acct: str) -> Mapping[str, Any] | None:
        """`{period, spent_nano, spent_all_nano, limit_nano, available_nano, holds, requests_tat_us, tokens_tat_us}`
        or None; the last two are theoretical arrival times in microseconds since the epoch, or None."""


class GlobalTotals(Protocol):
    """What all accounts together used. Behind their own aggregates by the time a change takes to arrive."""

    async def daily(self, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        """One line for each day and model that was used."""

    async def projects(self, day: str) -> Mapping[str, int]:
        """Nano-dollars by upstream project; costs without a known project are left out."""


class GlobalUpkeep(Protocol):
    async def recount(self, acct: str, first_day: str, last_day: str) -> int:
        """Count what is not counted yet of an account's aggregates; how many had changed. Repeatable."""


class BilledCosts(Protocol):
    async def billed(self, day: str) -> Mapping[str, int]:
        """What the upstream's billing charged, in nano-dollars by project; a project without a line is left out."""
