"""Real clients, installed on first use from the lock file that stands beside them."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENTS = Path(__file__).parent
TOOLS = CLIENTS.parents[1] / ".tools"


def installed(name: str) -> Path:
    """`tests/clients/<name>` with its locked npm packages in `node_modules`."""
    folder = CLIENTS / name
    lock = folder / "package-lock.json"
    done = folder / "node_modules" / ".installed"
    with _alone(folder / ".installing"):
        if not done.exists() or done.read_bytes() != lock.read_bytes():
            # no install scripts: what a client runs is what its package holds
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
            done.write_bytes(lock.read_bytes())
    return folder


def python_environment(name: str) -> Path:
    """The interpreter of `.tools/<name>`, an environment with what `tests/clients/<name>/requirements.txt` locks.

    Installation runs in the caller's whole environment, for its proxies, indexes and certificates."""
    lock = CLIENTS / name / "requirements.txt"
    python, done = TOOLS / name / "bin" / "python", TOOLS / name / ".locked"
    uv = TOOLS / "uv" / "bin" / "uv"
    with _alone(CLIENTS / name / ".installing"):
        if not done.exists() or done.read_bytes() != lock.read_bytes() or not python.exists():
            _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, TOOLS / name)
            _run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
            done.write_bytes(lock.read_bytes())
    return python


@contextmanager
def _alone(gate: Path) -> Iterator[None]:
    """One installer at a time, whatever process it is in."""
    with gate.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
