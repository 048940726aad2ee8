"""Virtual environments in .tools, one for each tool whose dependencies must not meet ours.

`python -m infra.local.tool_environments NAME` makes the one of infra/local/requirements-NAME.txt.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from shared.gateway.settings import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]


class InstallationError(ConfigurationError):
    """A tool cannot be installed; the message says why."""


def environment(name: str, requirements: Path, what: str) -> Path:
    """The folder of the commands of `.tools/NAME`, made on first use and whenever `requirements` (locked, with hashes)
    have changed, with this interpreter's minor version. `what` tells the waiting user. Safe from several processes.
    """
    home = ROOT / ".tools" / name
    stamp, wanted = home / "requirements.sha256", hashlib.sha256(requirements.read_bytes()).hexdigest()
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = (home / "bin" / "python").exists() and stamp.exists()
        if not whole or stamp.read_text("utf-8") != wanted:
            print(f"setup: installing {what} into .tools/{name}", file=sys.stderr)
            uv = _uv()
            shutil.rmtree(home, ignore_errors=True)
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], what)
            target = ["--python", str(home / "bin" / "python"), "--require-hashes", "-r", str(requirements)]
            _run([uv, "pip", "install", "--quiet", *target], what)
            stamp.write_text(wanted, "utf-8")
    return home / "bin"


def tool(name: str) -> Path:
    """The command NAME of infra/local/requirements-NAME.txt."""
    return environment(name, ROOT / "infra" / "local" / f"requirements-{name}.txt", name) / name


def _uv() -> str:
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    program = str(own) if own.exists() else shutil.which("uv")
    if program is None:
        raise InstallationError("uv is missing; run `make run` or `make test` once, which install it")
    return program


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallationError(f"{what} cannot be installed:\n{done.stderr.strip()[-2000:]}")


def main() -> None:
    (name,) = sys.argv[1:]
    try:
        tool(name)
    except InstallationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
