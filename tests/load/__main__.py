"""`python -m tests.load --minutes 30`: mixed traffic of every dialect with faults and impatient clients.

Not part of the test suite. It runs `make run`'s gateway and the emulator as processes of their own, prints a line every
ten seconds and a table at the end, and exits with 1 unless all of this holds: no failure that the upstream did not
cause, no fault that looked like a success, a row for every admitted request and the ledger's invariants, memory flat,
no secret and no prompt in the log.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.load import books, measures
from tests.load.judge import Answer, objection, shared_trouble
from tests.load.traffic import MARKER, Plan, Traffic
from tests.running import ROOT, Gateway, clean_environment, free_port, running_gateway

UPSTREAM_KEYS = [f"AIza{'load-test-upstream-credential-':->30}{number:05d}" for number in range(6)]
WARM_UP = 0.2  # of the time: caches fill, and the allocator finds its size
GROWTH_MB, GROWTH_SHARE = 8.0, 0.05  # what a flat line may rise after the warm-up, whichever is more
SHARED_TROUBLE_SHARE = 0.05
_ROWLESS = ("count", "models", "usage")


@dataclass(slots=True)
class Record:
    """What the run saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    objections: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    engine_mb: float = 0.0
    late: int = 0
    shared: int = 0

    def add(self, answer: Answer) -> None:
        plan, verdict = answer.plan, answer.verdict
        self.verdicts[plan.kind, verdict] += 1
        self.seconds[plan.kind].append(answer.seconds)
        self.statuses[answer.status] += 1
        if plan.fault:
            self.faults[plan.fault, verdict] += 1
        self.shared += shared_trouble(answer)
        if wrong := objection(answer):
            self.objections.append(f"{plan.kind} [{plan.fault}] {answer.request_id}: {wrong}")
        if plan.expected == "refusal" or (plan.limited and answer.status == 429):
            self.refused.append(answer.request_id)
        elif answer.status == 200 and plan.kind not in _ROWLESS:
            self.answered.append(answer.request_id)

    @property
    def total(self) -> int:
        return sum(self.verdicts.values())


class Clients:
    """Sends plans at a steady rate, each in its own task, at most `at_once` at a time."""

    def __init__(self, gateway: Gateway, limited_key: str, record: Record, at_once: int) -> None:
        self._gateway, self._limited_key, self._record = gateway, limited_key, record
        self._room = asyncio.Semaphore(at_once)
        limits = httpx2.Limits(max_connections=at_once * 2)
        self._http = httpx2.AsyncClient(base_url=gateway.base_url, timeout=60, trust_env=False, limits=limits)

    async def run(self, traffic: Traffic, rate: float, seconds: float) -> None:
        begun = time.monotonic()
        async with self._http, asyncio.TaskGroup() as tasks:
            number = 0
            while (now := time.monotonic() - begun) < seconds:
                if (wait := number / rate - now) > 0:
                    await asyncio.sleep(wait)
                elif wait < -1:  # behind: the machine is slower than the rate
                    begun -= wait
                    self._record.late += 1
                    seconds += -wait
                number += 1
                await self._room.acquire()
                tasks.create_task(self._one(traffic.plan()))

    async def _one(self, plan: Plan) -> None:
        answer, begun = Answer(plan), time.monotonic()
        try:
            async with asyncio.timeout(plan.leave_after_s):
                await self._send(plan, answer)
        except TimeoutError:
            answer.left = True
        except httpx2.HTTPError as error:
            answer.failure = repr(error)
        finally:
            self._room.release()
        answer.seconds = time.monotonic() - begun
        self._record.add(answer)

    async def _send(self, plan: Plan, answer: Answer) -> None:
        key = self._limited_key if plan.limited else self._gateway.client_key
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **plan.headers}
        async with self._http.stream(plan.method, plan.path, content=plan.body, headers=headers) as response:
            answer.status = response.status_code
            answer.request_id = response.headers.get("x-request-id", "")
            async for data in response.aiter_raw():
                answer.body += data


async def watch(gateway: Gateway, record: Record, begun: float, minutes: float) -> None:
    """A line every ten seconds, and the memory behind it."""
    while True:
        await asyncio.sleep(10)
        at = time.monotonic() - begun
        memory = measures.resident_mb(gateway.process.pid)
        record.memory.append((at, memory))
        record.engine_mb = sum(measures.resident_mb(child) for child in measures.children(gateway.process.pid))
        errors = sum(count for (_, verdict), count in record.verdicts.items() if verdict == "error")
        left = sum(count for (_, verdict), count in record.verdicts.items() if verdict == "left")
        print(
            f"{at / 60:5.1f}/{minutes:g} min  {record.total:7d} requests  {record.total / at:5.1f}/s  {errors} errors  "
            f"{left} left  {record.shared} shared trouble  gateway {memory:.0f} MB  "
            f"objections {len(record.objections)}",
            file=sys.stderr,
            flush=True,
        )


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """The upstream as a process of its own."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "infra.local.emulator", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{base_url}/emulator/health", timeout=1):
                break
            time.sleep(0.1)
        yield base_url
    finally:
        process.terminate()
        process.wait(timeout=10)


async def load(gateway: Gateway, limited_key: str, options: argparse.Namespace) -> Record:
    record, begun = Record(), time.monotonic()
    watching = asyncio.ensure_future(watch(gateway, record, begun, options.minutes))
    traffic = Traffic(options.seed, faults=options.faults, aborts=options.aborts)
    try:
        await Clients(gateway, limited_key, record, options.at_once).run(traffic, options.rate, options.minutes * 60)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return record


def verdict(gateway: Gateway, record: Record, secrets: list[str]) -> tuple[list[str], dict[str, object]]:
    """(what is wrong, the figures of the run)."""
    wrong, figures = books.audit(gateway.state, gateway.log, record.answered, record.refused)
    wrong = record.objections + wrong + books.leaks(gateway.log, [*secrets, *UPSTREAM_KEYS, MARKER])
    if record.shared > max(5, SHARED_TROUBLE_SHARE * record.total):
        wrong.append(f"{record.shared} requests suffered from the upstream trouble of others")
    steady = [sample for sample in record.memory if sample[0] >= WARM_UP * record.memory[-1][0]]
    line = measures.trend(steady)
    if line.last_mb - line.first_mb > max(GROWTH_MB, GROWTH_SHARE * line.first_mb):
        wrong.append(f"memory grew from {line.first_mb:.1f} to {line.last_mb:.1f} MB after the warm-up")
    return wrong, {
        "requests": record.total,
        "statuses": {str(status): count for status, count in sorted(record.statuses.items())},
        "shared_trouble": record.shared,
        "behind_schedule": record.late,
        "memory_mb": {
            "start": round(record.memory[0][1], 1),
            "after_warm_up": round(line.first_mb, 1),
            "end": round(line.last_mb, 1),
            "per_minute": round(line.mb_per_minute, 3),
            "embedded_aws_end": round(record.engine_mb, 1),
        },
        "books": dict(sorted(figures.items())),
        "log_mb": round(gateway.log.stat().st_size / 1e6, 1),
    }


def table(record: Record) -> str:
    head = f"{'kind':22s}{'ok':>8s}{'error':>8s}{'left':>8s}{'p50 ms':>9s}{'p95 ms':>9s}{'p99 ms':>9s}"
    lines = [head]
    for kind in sorted(record.seconds):
        counts = [record.verdicts[kind, name] for name in ("ok", "error", "left")]
        times = [measures.percentile(record.seconds[kind], share) * 1000 for share in (0.5, 0.95, 0.99)]
        lines.append(f"{kind:22s}" + "".join(f"{n:8d}" for n in counts) + "".join(f"{ms:9.0f}" for ms in times))
    lines += ["", f"{'fault':22s}{'ok':>8s}{'error':>8s}{'left':>8s}"]
    for fault in sorted({name for name, _ in record.faults}):
        lines.append(f"{fault:22s}" + "".join(f"{record.faults[fault, name]:8d}" for name in ("ok", "error", "left")))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=15, help="requests per second")
    parser.add_argument("--at-once", type=int, default=32, help="requests under way at most")
    parser.add_argument("--faults", type=float, default=0.25, help="share of generations that the upstream disturbs")
    parser.add_argument("--aborts", type=float, default=0.08, help="share of generations whose client goes away")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--report", type=Path, help="write the figures as JSON here")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="gateway-load-") as folder, emulator() as upstream:
        environment = {"GEMINI_API_KEY": ",".join(UPSTREAM_KEYS), "GEMINI_BASE_URL": upstream, "LOG_LEVEL": "INFO"}
        with running_gateway(Path(folder) / "state", environment) as gateway:
            limited = gateway.gwctl("keys", "create", "limited", "--rpm", "5")["key"]
            begun = time.monotonic()
            record = asyncio.run(load(gateway, limited, options))
            spent = time.monotonic() - begun
            wrong, figures = verdict(gateway, record, [gateway.client_key, gateway.admin_key, limited])
    figures = {"minutes": round(spent / 60, 2), **figures, "wrong": len(wrong)}
    print(table(record), json.dumps(figures, indent=2), *wrong[:50], sep="\n")
    if options.report:
        options.report.write_text(json.dumps({**figures, "wrong": wrong}, indent=2), "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
