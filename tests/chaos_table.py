"""`python -m tests.chaos_table`: the chaos suite as one table, faults by dialects and forms, in Markdown."""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.contract.chaos_faults import FAULTS
from tests.contract.chaos_forms import FORMS
from tests.contract.chaos_run import Case, cases, chaos_gateway, faults_of, run


def main() -> int:
    chosen = cases()
    with tempfile.TemporaryDirectory() as home, chaos_gateway(Path(home) / "state") as (gateway, emulator):
        began = time.monotonic()
        run(gateway, emulator, chosen)
        spent = time.monotonic() - began
    print(table(chosen))
    failed = [case for case in chosen if faults_of(case)]
    print(f"\n{len(chosen)} cases in {spent:.0f} s, {len(failed)} failed.")
    for case in failed:
        print(f"- {case.name}: {'; '.join(faults_of(case))}")
    return 1 if failed else 0


def table(chosen: Sequence[Case]) -> str:
    """A cell is what the SDK raised; `mid` where the answer had begun, `-` where a path has no such fault."""
    head = ["fault", *(f"{form.name} {form.mode}" for form in FORMS)]
    lines = [head, ["---"] * len(head)]
    for name in ["no fault", *(fault.name for fault in FAULTS)]:
        row = {(case.form.name, case.form.mode): case for case in chosen if _fault(case) == name}
        lines.append([name, *(_cell(row.get((form.name, form.mode))) for form in FORMS)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fault(case: Case) -> str:
    return case.fault.name if case.fault else "no fault"


def _cell(case: Case | None) -> str:
    if case is None:
        return "-"
    shown = {0: "mid", 200: "ok"}.get(case.verdict.status, str(case.verdict.status))
    return f"**{shown}**" if faults_of(case) else shown


if __name__ == "__main__":
    sys.exit(main())
