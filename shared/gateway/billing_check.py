"""What the rows say an upstream project cost, beside what its billing says: the ratio that shows a price that changed,
a request that nobody metered, or a key of the project that somebody else uses.

Billing arrives late, so the days compared are some days old; a day whose billing is still to come is looked at again.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from logging import ERROR, INFO, WARNING

from msgspec import Struct

from shared.gateway.telemetry import METRIC_NAMESPACE, record
from shared.stores.usage_protocols import BilledCosts, GlobalTotals

METRIC = "BillingRatio"
LOWEST, HIGHEST = 0.98, 1.02
_LEAST_NANO = 10_000_000  # a cent: below it the rounding of a billing export decides the ratio
_MOST = 1_000.0  # of a metered cost without a billed one, which no metric could hold
_FIRST_BACK, _LAST_BACK = 4, 2  # days


class Comparison(Struct, frozen=True):
    """One project on one day. `ratio` is metered to billed; None where there is nothing to compare."""

    project: str
    day: str
    metered_nano: int
    billed_nano: int | None

    @property
    def ratio(self) -> float | None:
        if self.billed_nano is None or max(self.metered_nano, self.billed_nano) < _LEAST_NANO:
            return None
        return min(_MOST, self.metered_nano / max(self.billed_nano, 1))

    @property
    def agrees(self) -> bool:
        return self.ratio is None or LOWEST <= self.ratio <= HIGHEST


def days_to_compare(now_s: int) -> list[str]:
    """The days whose billing should have come, the oldest first."""
    today = datetime.fromtimestamp(now_s, UTC).date()
    return [(today - timedelta(days=back)).strftime("%Y%m%d") for back in range(_FIRST_BACK, _LAST_BACK - 1, -1)]


async def compare(days: Sequence[str], totals: GlobalTotals, billed: BilledCosts, now_s: int) -> dict[str, int]:
    """One log line a project and day; counts of `agree`, `differ`, `not_billed_yet`. StoreUnavailable where either side
    cannot be read, ValueError where the billing cannot be understood."""
    counts = {"agree": 0, "differ": 0, "not_billed_yet": 0}
    for day in days:
        metered, charged = await totals.projects(day), await billed.billed(day)
        for project in sorted(metered.keys() | charged.keys()):
            found = Comparison(project, day, metered.get(project, 0), charged.get(project))
            kind = "not_billed_yet" if found.billed_nano is None else "agree" if found.agrees else "differ"
            counts[kind] += 1
            _write(found, now_s)
    return counts


def _write(found: Comparison, now_s: int) -> None:
    """A line in CloudWatch's embedded metric format; the metric stands for each project, and once without a dimension
    for an alarm on them all."""
    fields = {
        "Project": found.project,
        "day": found.day,
        "metered_nano_usd": found.metered_nano,
        "billed_nano_usd": found.billed_nano,
    }
    metric: Mapping[str, object] = {}
    if found.ratio is not None:
        directive = {
            "Namespace": METRIC_NAMESPACE,
            "Dimensions": [[], ["Project"]],
            "Metrics": [{"Name": METRIC, "Unit": "None"}],
        }
        emf = {"_aws": {"Timestamp": now_s * 1000, "CloudWatchMetrics": [directive]}}
        metric = {**emf, METRIC: round(found.ratio, 6)}
    level = WARNING if found.billed_nano is None else INFO if found.agrees else ERROR
    record("billing_compared", {**metric, **fields}, level=level)
