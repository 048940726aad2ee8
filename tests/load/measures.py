"""Memory over time, and what a list of durations comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def children(pid: int) -> list[int]:
    """Every process below this one."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [found for child in map(int, listed) for found in (child, *children(child))]


@dataclass(frozen=True, slots=True)
class Trend:
    """A least-squares line through (seconds, MB)."""

    first_mb: float
    last_mb: float
    mb_per_minute: float


def trend(samples: Sequence[tuple[float, float]]) -> Trend:
    count = len(samples)
    middle = sum(at for at, _ in samples) / count
    mean = sum(mb for _, mb in samples) / count
    spread = sum((at - middle) ** 2 for at, _ in samples) or 1.0
    slope = sum((at - middle) * (mb - mean) for at, mb in samples) / spread
    begin, end = samples[0][0], samples[-1][0]
    return Trend(mean + slope * (begin - middle), mean + slope * (end - middle), slope * 60)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
