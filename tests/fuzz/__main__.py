"""`python -m tests.fuzz [NAME ...] [--seconds 600]`: coverage-guided fuzzing with atheris, one process per target.

Seeds are `tests/fuzz/seeds/NAME/`, what is found on the way is kept under `.build/fuzz/NAME/`, and an input that breaks
a target is left there as `crash-...`: fix the bug, and add the input to the seeds.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run_one(name: str, seconds: int, folder: Path) -> None:
    """Never returns: libFuzzer ends the process, with 77 for a finding."""
    import atheris

    with atheris.instrument_imports(include=["shared"]):
        from tests.fuzz.targets import TARGETS
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        *(f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"),
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder), str(HERE / "seeds" / name)], TARGETS[name])
    atheris.Fuzz()


def start(name: str, seconds: int, folder: Path) -> subprocess.Popen[str]:
    """One target in a process of its own; its output says what libFuzzer did."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds), "--folder", str(folder), "--here"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", help="targets; all where none is named")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--folder", type=Path, default=ROOT / ".build" / "fuzz")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        run_one(options.names[0], options.seconds, options.folder)
    names = options.names or sorted(path.name for path in (HERE / "seeds").iterdir())
    failed = []
    for name in names:
        process = start(name, options.seconds, options.folder / name)
        output, _ = process.communicate()
        print(f"{name}: {summary(output)}", flush=True)
        if process.returncode:
            failed.append(name)
            print(output[-4_000:])
    return 1 if failed else 0


def summary(output: str) -> str:
    """How much was tried, and what it reached."""
    lines = output.splitlines()
    runs = next((line.split()[-1] for line in lines if line.startswith("stat::number_of_executed_units")), "?")
    covered = [line for line in lines if " cov: " in line]
    reached = covered[-1].split(" cov: ")[1].split()[0] if covered else "?"
    return f"{runs} inputs, coverage {reached}"


if __name__ == "__main__":
    sys.exit(main())
