"""One round after another: every operation once, in a new order each time, the figures under the operation's name."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

from tests.bench import artefact, lambda_mode, largest, server_mode
from tests.bench.measure import ROOT, Group, bare_python, clean_environment, cost_of, vcpu
from tests.bench.replies import DIALECTS
from tests.bench.server_mode import PHASES, Subject
from tests.bench.surroundings import (
    Ground,
    Target,
    await_port,
    ground,
    start_gateway,
    start_litellm,
    start_reference,
)

type Raw = dict[str, list[dict[str, float]]]
type Operation = Callable[[], dict[str, float]]

_REFERENCES = {"R": "relay", "I": "ideal", "N": "naive"}


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    quick: bool

    @property
    def memories(self) -> tuple[int, ...]:
        return (128,) if self.quick else (128, 256, 512)


@contextmanager
def operations(plan: Plan) -> Iterator[dict[str, Operation]]:
    """Everything there is to measure, its servers running and warm."""
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        log = stack.enter_context((where.folder / "lambda.log").open("ab"))
        found: dict[str, Operation] = {}
        for subject in _subjects(where, stack):
            for phase in PHASES:
                found[f"server/{subject.name}/{phase}"] = _server(subject, phase)
                server_mode.operate(subject, phase, 1 if phase == "paced" else 3)
        found |= _lambda(plan, where, log)
        for name, large in largest.cases().items():
            found[f"largest/{name}"] = _largest(where, large, log)
        found |= _probes(plan, where)
        yield found


def collect(plan: Plan, progress: Callable[[str], None]) -> Raw:
    """`progress` is told each operation before it runs."""
    raw: Raw = {}
    with operations(plan) as found:
        for number in range(plan.rounds):
            for name in random.sample(sorted(found), len(found)):
                progress(f"round {number + 1}/{plan.rounds} {name}")
                raw.setdefault(name, []).append(found[name]())
    return raw


def _subjects(where: Ground, stack: ExitStack) -> list[Subject]:
    subjects = [Subject("direct", Target("direct", where.upstream_port, None), "native", "none")]
    for name, module in _REFERENCES.items():
        running = stack.enter_context(start_reference(module, where))
        dialect = "native" if name == "R" else "chat"
        subjects.append(Subject(name, Target(name, running.port, running), dialect, "none"))
    gateway = stack.enter_context(start_gateway(where))
    target = Target("gateway", gateway.port, gateway)
    subjects += [Subject(f"gateway {dialect}", target, dialect, where.client_key) for dialect in DIALECTS]
    litellm = start_litellm(where)
    if litellm is not None:
        stack.enter_context(litellm)
        subjects.append(Subject("P", Target("P", litellm.port, litellm), "chat", where.client_key))
    for subject in subjects:
        if subject.target.running is not None:
            await_port(subject.target.running)
    return subjects


def _server(subject: Subject, phase: str) -> Operation:
    return lambda: _numbers(server_mode.operate(subject, phase))


def _lambda(plan: Plan, where: Ground, log: IO[bytes]) -> dict[str, Operation]:
    naive = lambda_mode.naive(where)
    ours = {dialect: lambda_mode.ours(where, dialect) for dialect in DIALECTS}
    found: dict[str, Operation] = {}
    for bootstrap in (naive, *ours.values()):
        for start in ("a", "b"):  # three rounds make six cold starts
            found[f"lambda/{bootstrap.name}/cold/{start}"] = _cold(bootstrap, where, log, 0)
        found[f"lambda/{bootstrap.name}/warm"] = _warm(bootstrap, where, log, 0, 40)
    probe = Group()
    limitable = probe.can_limit
    probe.remove()
    if limitable:
        for memory in plan.memories:
            share = vcpu(memory)
            for bootstrap in (naive, ours["chat"]):
                found[f"limited {memory}/{bootstrap.name}/cold"] = _cold(bootstrap, where, log, share)
            found[f"limited {memory}/{ours['chat'].name}/warm"] = _warm(ours["chat"], where, log, share, 8)
    return found


def _cold(bootstrap: lambda_mode.Bootstrap, where: Ground, log: IO[bytes], share: float) -> Operation:
    def run() -> dict[str, float]:
        cold = lambda_mode.run_cold(bootstrap, where.client_key, log, share)
        return _numbers(cold) | {"cpu_ms": cold.cpu_ms, "total_ms": cold.total_ms}

    return run


def _warm(bootstrap: lambda_mode.Bootstrap, where: Ground, log: IO[bytes], share: float, times: int) -> Operation:
    return lambda: _numbers(lambda_mode.run_warm(bootstrap, where.client_key, log, where.aws_port, share, times))


def _largest(where: Ground, large: largest.Large, log: IO[bytes]) -> Operation:
    return lambda: _numbers(largest.peak(where, large, log))


def _probes(plan: Plan, where: Ground) -> dict[str, Operation]:
    environment = where.function_environment()
    found: dict[str, Operation] = {
        "probe/bare": lambda: dict(zip(("cpu_ms", "rss_mb"), bare_python(), strict=True)),
        "probe/import httpx": lambda: {"cpu_ms": cost_of([sys.executable, "-c", "import httpx"])[0]},
        "probe/translation": lambda: _script("tests.bench.translation", {}),
        "probe/settling": lambda: _script("tests.bench.settling", environment),
        "probe/modules": lambda: _modules(environment),
    }
    task = artefact.built()
    if task is not None and not plan.quick:
        found["probe/artefact"] = lambda: {
            "import_ratio": artefact.import_ratio(task, environment),
            "zip_mb": artefact.zip_mb(task),
        }
    return found


def _script(module: str, environment: dict[str, str]) -> dict[str, float]:
    return dict(json.loads(_output(["-m", module], environment)))


_HEAVY = ("fastapi", "boto3", "botocore", "httpx", "pydantic")


def _modules(environment: dict[str, str]) -> dict[str, float]:
    """Which of the heavy libraries a hot handler has loaded: 1 or 0 each."""
    code = "import handlers.chat_completions, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(_output(["-c", code], environment)))
    return {name: float(name in loaded) for name in _HEAVY}


def _output(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{arguments}: {done.stderr[-1000:]}")
    return done.stdout


def _numbers(figures: Any) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(figures).items()}
