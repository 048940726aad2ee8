"""npm packages of real clients, installed beside their lock file on first use."""

import fcntl
import subprocess
from pathlib import Path

CLIENTS = Path(__file__).parent


def installed(name: str) -> Path:
    """`tests/clients/<name>` with its locked packages in `node_modules`."""
    folder = CLIENTS / name
    lock = folder / "package-lock.json"
    done = folder / "node_modules" / ".installed"
    with (folder / ".installing").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not done.exists() or done.read_bytes() != lock.read_bytes():
            # no install scripts: what a client runs is what its package holds
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
            done.write_bytes(lock.read_bytes())
    return folder
