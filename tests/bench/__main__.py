"""`make bench`: measure, print the table of goals, write RESULTS.md, results.json and the plots.

ROUNDS=3        rounds of every operation (default 3, QUICK 1)
QUICK=1         a first look in two minutes: one round, one memory size, short growth
GROWTH=0        without the cost of growth; GROWTH=only: nothing else, printed only
BENCH_LITELLM=  the Python of an environment that has LiteLLM, to measure it too
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import growth, report
from tests.bench.collect import Plan, collect
from tests.bench.goals import Goal, goals


def main() -> int:
    quick = (os.environ.get("QUICK") or "") not in ("", "0")
    plan = Plan(int(os.environ.get("ROUNDS") or (1 if quick else 3)), quick)
    wants = os.environ.get("GROWTH") or "1"
    console = Console()
    load = os.getloadavg()
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("starting the targets", total=None)

        def progress(what: str) -> None:
            bar.update(task, description=what)

        raw = {} if wants == "only" else collect(plan, progress)
        series = growth.run(quick, progress) if wants != "0" else []
    reached = goals(raw) if raw else []
    for one in series:
        console.print(f"{one.name}: CPU ~ size^{one.exponent:.2f}, memory {one.memory_step:.2f} (1: linear)")
    if raw:
        # a quick look must not replace what three rounds have measured
        folder = Path(tempfile.mkdtemp(prefix="gateway-bench-results-")) if quick else report.FOLDER
        report.write(raw, reached, series, report.conditions(plan.rounds, quick, load), folder)
        _print(console, reached)
        console.print(f"written to {folder}")
    return 0


def _print(console: Console, reached: list[Goal]) -> None:
    table = Table("#", "goal", "must", "ambitious", "measured", "verdict")
    for row in report.table(reached):
        table.add_row(*row, style={"MISSED": "red", "ambitious": "green"}.get(row[-1], ""))
    console.print(table)


if __name__ == "__main__":
    argparse.ArgumentParser(
        "python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    sys.exit(main())
