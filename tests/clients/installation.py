"""Real clients, installed on first use from the lock file that stands beside them."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.tool_environments import environment

CLIENTS = Path(__file__).parent


def installed(name: str) -> Path:
    """`tests/clients/<name>` with its locked npm packages in `node_modules`.

    On a machine without npm the tests of a Node client are skipped, but CI must have it."""
    if shutil.which("npm") is None:
        assert os.environ.get("CI") != "true", "npm is missing"
        pytest.skip("npm is not installed")
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
    """The interpreter of `.tools/<name>`, an environment with what `tests/clients/<name>/requirements.txt` locks."""
    return environment(name, CLIENTS / name / "requirements.txt", name) / "python"


@contextmanager
def _alone(gate: Path) -> Iterator[None]:
    """One installer at a time, whatever process it is in."""
    with gate.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
