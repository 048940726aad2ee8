"""CPU time and memory of a process tree, exactly; and a limit on its CPU like that of a Lambda memory size.

CPU comes from a control group of the tree's own (v1 `cpuacct.usage`, v2 `cpu.stat`), else from the CPU clocks of its
processes, where those that have ended are lost. Never from wall time.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CGROUP = Path("/sys/fs/cgroup")
_PERIOD_US = 20_000
_WHOLE_VCPU_MB = 1769  # of Lambda's memory, at which a function has one vCPU
_numbers = itertools.count()
# joins the groups, then becomes the program, under the same pid
_JOIN = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 97; shift; n=$((n-1)); done; exec "$@"'
)


def _version() -> str:
    """ "v1", "v2" or "" by what is writable here."""
    if (_CGROUP / "cpuacct/cpuacct.usage").exists():
        return "v1" if os.access(_CGROUP / "cpuacct", os.W_OK) and _try(_CGROUP / "cpuacct") else ""
    if (_CGROUP / "cgroup.controllers").exists():
        return "v2" if os.access(_CGROUP, os.W_OK) and _try(_CGROUP) else ""
    return ""


def _try(parent: Path) -> bool:
    probe = parent / f"gateway-bench-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


VERSION = _version()
METHOD = {"v1": "cgroup v1 cpuacct.usage", "v2": "cgroup v2 cpu.stat"}.get(VERSION, "process CPU clocks")


def vcpu(memory_mb: int) -> float:
    return memory_mb / _WHOLE_VCPU_MB


class Group:
    """A control group for one process tree; without writable control groups only a name."""

    def __init__(self) -> None:
        name = f"gateway-bench-{os.getpid()}-{next(_numbers)}"
        roots = {"v1": [_CGROUP / "cpuacct", _CGROUP / "cpu"], "v2": [_CGROUP]}.get(VERSION, [])
        self.folders = [root / name for root in roots]
        for folder in self.folders:
            folder.mkdir()

    @property
    def can_limit(self) -> bool:
        knob = "cpu.max" if VERSION == "v2" else "cpu.cfs_quota_us"
        return bool(self.folders) and (self.folders[-1] / knob).exists()

    def limit(self, share: float) -> None:
        """At most this share of one CPU, in periods of 20 ms."""
        quota = max(1000, int(_PERIOD_US * share))
        if VERSION == "v2":
            (self.folders[0] / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            (self.folders[1] / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (self.folders[1] / "cpu.cfs_quota_us").write_text(str(quota))

    def joining(self, command: Sequence[str]) -> list[str]:
        """The command, inside this group."""
        if not self.folders:
            return list(command)
        return ["/bin/sh", "-c", _JOIN, "sh", str(len(self.folders)), *map(str, self.folders), *command]

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folders[0] / "cgroup.procs").read_text().split()] if self.folders else []

    def cpu_ns(self) -> int:
        if VERSION == "v1":
            return int((self.folders[0] / "cpuacct.usage").read_text())
        stat = dict(line.split() for line in (self.folders[0] / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) * 1000

    def remove(self) -> None:
        """Once its processes have ended."""
        for folder in self.folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:  # the kernel is still burying the last of them
                    time.sleep(0.01)


class Tree:
    """A measured process with its children."""

    def __init__(self, group: Group, pid: int) -> None:
        self.group, self.pid = group, pid

    def cpu_ns(self) -> int:
        if self.group.folders:
            return self.group.cpu_ns()
        return sum(_clock_ns(pid) for pid in _family(self.pid))

    def peak_rss_mb(self) -> float:
        return sum(_peak_kb(pid) for pid in self.group.pids() or _family(self.pid)) / 1024

    def forget_peak(self) -> None:
        """The peak is that of what comes from now on; start-up's would hide it. See proc(5), clear_refs."""
        for pid in self.group.pids() or _family(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _clock_ns(pid: int) -> int:
    try:
        # the kernel's encoding of "the CPU clock of this process": clock_getcpuclockid(3)
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return 0


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def _peak_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONPATH": str(ROOT),
        **extra,
    }


class Measured:
    """A process of ours in a group of its own; a context manager that ends it."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path, port: int) -> None:
        self.port = port  # on which it will listen
        self.log = log
        self.group = Group()
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.group.joining(command),
                cwd=ROOT,
                env=clean_environment(environ),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        self.tree = Tree(self.group, self.process.pid)

    def __enter__(self) -> "Measured":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.group.remove()


def cost_of(command: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[float, float]:
    """(CPU ms, peak RSS in MB) of a command that runs to its end; RuntimeError where it fails."""
    group = Group()
    try:
        process = subprocess.Popen(
            group.joining(command),
            cwd=ROOT,
            env=clean_environment(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        words = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.stderr.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{command}: {words.decode(errors='replace')[-500:]}")
        cpu_ms = group.cpu_ns() / 1e6 if group.folders else (used.ru_utime + used.ru_stime) * 1e3
        return cpu_ms, used.ru_maxrss / 1024
    finally:
        group.remove()


def bare_python() -> tuple[float, float]:
    """Reference B: (CPU ms, peak RSS in MB). Memory is read while it waits, because what the kernel reports at its end
    includes the process that it was forked from."""
    cpu_ms, _ = cost_of([sys.executable, "-c", "pass"])
    waiting = subprocess.Popen(
        [sys.executable, "-c", "import os; os.write(1, b'.'); os.read(0, 1)"],
        env=clean_environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with waiting:
        assert waiting.stdout is not None
        waiting.stdout.read(1)
        return cpu_ms, _peak_kb(waiting.pid) / 1024
