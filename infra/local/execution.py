"""Execution environments: the processes of one function, each serving one event at a time, as Lambda runs them."""

import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from infra.local.runtime_api import End, Failure, Invocation, Piece, RuntimeApi

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
_INIT_SECONDS = 30.0  # Lambda allows 10; a loaded laptop is slower than Lambda
_STOP_SECONDS = 3.0
_STANDARD_ERROR = 2
# A process that has just completed its reply asks for the next event within a millisecond; wait that long before
# starting another one.
_SETTLE_SECONDS = 0.05
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class FunctionConfiguration:
    """What Lambda knows of a function. ``timeout`` in seconds; ``log`` takes the output of its processes (default:
    our standard error). ``credentials`` is asked, on a thread, for the AWS_* variables of each process; one that
    has served and is older than ``lifetime`` seconds is replaced.
    """

    handler: str
    command: Sequence[str]
    task_root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "function"
    timeout: float = 900.0
    memory_mb: int = 1024
    processes: int = 10
    log: IO[bytes] | None = None
    arn: str = ""
    version: str = "$LATEST"
    runtime: str = RUNTIME
    log_group: str = ""
    credentials: Callable[[], Mapping[str, str]] = _nothing
    lifetime: float = math.inf

    @property
    def invoked_arn(self) -> str:
        return self.arn or f"arn:aws:lambda:us-east-1:000000000000:function:{self.name}"

    def variables(self, runtime_api: str, credentials: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a process: nothing of ours leaks in but what a shell needs."""
        region = self.environment.get("AWS_REGION") or "us-east-1"
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            **self.environment,
            **credentials,
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "_HANDLER": self.handler,
            "LAMBDA_TASK_ROOT": str(self.task_root),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PYTHONPATH": str(self.task_root),
            "TZ": ":UTC",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": self.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": self.log_group or f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        }


class ExecutionEnvironment:
    """One process and the Runtime API it polls."""

    def __init__(self, configuration: FunctionConfiguration) -> None:
        self._configuration = configuration
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._born = time.monotonic()
        self._served = False
        self.api = RuntimeApi()

    async def start(self) -> Failure | None:
        """Returns None when the process asks for its first event, else why it does not."""
        await self.api.start()
        credentials = await asyncio.to_thread(self._configuration.credentials)
        sink = self._configuration.log or _STANDARD_ERROR
        self._process = await asyncio.create_subprocess_exec(
            *self._configuration.command,
            cwd=self._configuration.task_root,
            env=self._configuration.variables(self.api.address, credentials),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # the terminal's Ctrl-C is ours alone
        )
        self._watch = asyncio.create_task(self._watch_exit(self._process))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settle(), _INIT_SECONDS)
        if self.api.idle.is_set():
            return None
        await self.stop()
        return self.api.init_error or Failure("Runtime.ExitError", "the process ended or hung before its first event")

    @property
    def usable(self) -> bool:
        alive = self._process is not None and self._process.returncode is None and not self.api.poisoned
        return alive and not self._outlived

    @property
    def _outlived(self) -> bool:
        between_requests = self._served and self.api.idle.is_set()
        return between_requests and time.monotonic() - self._born > self._configuration.lifetime

    @property
    def finishing(self) -> bool:
        """Its reply is complete, but it has not asked for the next event yet."""
        return self.usable and not self.api.idle.is_set() and self.api.current is not None and self.api.current.closed

    async def settle(self) -> None:
        """Returns when the process asks for the next event, or has ended."""
        idle = asyncio.create_task(self.api.idle.wait())
        ended = {self._watch} if self._watch is not None else set()
        await asyncio.wait({idle} | ended, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()

    async def invoke(self, event: bytes, request_id: str) -> AsyncIterator[Piece]:
        """The pieces of one reply. At the function's timeout the process is killed."""
        timeout = self._configuration.timeout
        deadline_ms = int((time.time() + timeout) * 1000)
        invocation = Invocation(event, request_id, deadline_ms, self._configuration.invoked_arn)
        self._served = True
        self.api.invoke(invocation)
        timer = asyncio.get_running_loop().call_later(timeout, self._time_out)
        try:
            while True:
                piece = await invocation.pieces.get()
                yield piece
                if isinstance(piece, End | Failure):
                    return
        finally:
            timer.cancel()
            if self.api.poisoned:
                await self.stop()

    async def stop(self) -> int | None:
        """SIGTERM, after three seconds SIGKILL; returns the exit code."""
        process = self._process
        if process is not None and process.returncode is None:
            _signal(process, signal.SIGKILL if self.api.poisoned else signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                _signal(process, signal.SIGKILL)
                await process.wait()
        if self._watch is not None:
            await asyncio.wait({self._watch})
        await self.api.close()
        return process.returncode if process is not None else None

    def _time_out(self) -> None:
        self.api.poisoned = True
        self.api.lose(Failure("Sandbox.Timedout", f"Task timed out after {self._configuration.timeout:.2f} seconds"))

    async def _watch_exit(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self.api.idle.clear()
        self.api.lose(Failure("Runtime.ExitError", f"the process ended with exit status {code}"))


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Not by Process.send_signal: it reaps a process that has just ended, and asyncio loses the exit status."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


class Function:
    """The pool: environments are started when they are needed and reused. At most ``processes`` of them."""

    def __init__(self, configuration: FunctionConfiguration) -> None:
        self.configuration = configuration
        self.exit_codes: list[int | None] = []
        self._environments: list[ExecutionEnvironment] = []
        self._starting = 0
        self._past_violations: list[str] = []

    @property
    def violations(self) -> list[str]:
        """What the cloud would have punished, in all environments so far."""
        return self._past_violations + [
            text for environment in self._environments for text in environment.api.violations
        ]

    async def warm(self) -> Failure | None:
        """Starts one environment ahead of the first event; returns why it cannot."""
        environment = await self._start()
        return environment if isinstance(environment, Failure) else None

    async def acquire(self) -> ExecutionEnvironment | Failure | None:
        """An idle environment; a Failure if a new one cannot start; None if all are busy (Lambda answers 429)."""
        while True:
            await self._sweep()
            for environment in self._environments:
                if environment.api.idle.is_set():
                    environment.api.idle.clear()
                    return environment
            full = len(self._environments) + self._starting >= self.configuration.processes
            finishing = [environment for environment in self._environments if environment.finishing]
            if finishing and await self._settled(finishing, None if full else _SETTLE_SECONDS):
                continue
            if full:
                return None
            started = await self._start()
            if isinstance(started, Failure):
                return started

    async def stop(self) -> None:
        await asyncio.gather(*(self._discard(environment) for environment in list(self._environments)))

    async def _start(self) -> ExecutionEnvironment | Failure:
        environment = ExecutionEnvironment(self.configuration)
        self._starting += 1
        try:
            failure = await environment.start()
        finally:
            self._starting -= 1
        if failure is not None:
            return failure
        self._environments.append(environment)
        return environment

    async def _settled(self, environments: list[ExecutionEnvironment], seconds: float | None) -> bool:
        waits = {asyncio.create_task(environment.settle()) for environment in environments}
        limit = self.configuration.timeout if seconds is None else seconds
        done, pending = await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        return bool(done)

    async def _sweep(self) -> None:
        for environment in [environment for environment in self._environments if not environment.usable]:
            await self._discard(environment)

    async def _discard(self, environment: ExecutionEnvironment) -> None:
        if environment in self._environments:
            self._environments.remove(environment)
        self.exit_codes.append(await environment.stop())
        self._past_violations += environment.api.violations
