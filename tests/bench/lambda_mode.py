"""Lambda mode: a bootstrap under our fake Runtime API, one event at a time, its process tree measured."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import orjson

from infra.local.execution import ExecutionEnvironment, FunctionConfiguration
from infra.local.runtime_api import End, Failure, Head
from infra.local.url_event import UrlRequest, build_event, encode_event
from tests.bench import bodies
from tests.bench.client import Answer, BadReply, Connection, lags_ms, stamps
from tests.bench.measure import ROOT, Group, Tree
from tests.bench.replies import Ask, body_of, headers_of, path_of, verify
from tests.bench.server_mode import percentile
from tests.bench.surroundings import Ground


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A handler and the loop that runs it."""

    name: str
    dialect: str
    handler: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


_MODULES = {
    "chat": "chat_completions",
    "responses": "responses",
    "messages": "messages",
    "native": "generate_content",
}


def ours(where: Ground, dialect: str, module: str = "") -> Bootstrap:
    """Of the handler in `module`, which is asked in this dialect; the dialect's own as a rule."""
    handler = f"handlers.{module or _MODULES[dialect]}.handler"
    command = (sys.executable, "-m", "shared.lambda_runtime", sys.executable, "-m", "awslambdaric", handler)
    return Bootstrap(f"gateway {dialect}", dialect, handler, command, where.function_environment())


def naive(where: Ground) -> Bootstrap:
    """Reference L."""
    handler = "tests.bench.references.naive_lambda.handler"
    command = (sys.executable, "-m", "awslambdaric", handler)
    return Bootstrap("L", "chat", handler, command, {"UPSTREAM": f"127.0.0.1:{where.upstream_port}"})


@dataclass(slots=True)
class Started:
    """One execution environment that waits for events."""

    bootstrap: Bootstrap
    key: str
    environment: ExecutionEnvironment
    tree: Tree
    init_ms: float
    init_cpu_ms: float

    async def ask(self, ask: Ask) -> "Invoked":
        answer, cpu_ms = await self.send(_event(self.bootstrap.dialect, ask, self.key))
        return Invoked(ask, answer, cpu_ms)

    async def send(self, event: bytes) -> tuple[Answer, float]:
        """One event: (answer, CPU ms); returns when the function asks for the next one. Raises BadReply."""
        before, sent = self.tree.cpu_ns(), time.monotonic_ns()
        frames: list[tuple[int, bytes]] = []
        status, mode, done = 0, "", sent
        self.environment.api.idle.clear()
        async for piece in self.environment.invoke(event, str(uuid.uuid4())):
            now = time.monotonic_ns()
            match piece:
                case Head():
                    status = piece.status
                case bytes():
                    frames.append((now, piece))
                case End():
                    done, mode = now, "done"
                case Failure():
                    raise BadReply(f"{self.bootstrap.name}: {piece.error_type} {piece.message}")
        if not mode:
            raise BadReply(f"{self.bootstrap.name}: no end")
        await self.environment.settle()
        return Answer(status, b"", frames, sent, done), (self.tree.cpu_ns() - before) / 1e6


@dataclass(slots=True)
class Invoked:
    ask: Ask
    answer: Answer
    cpu_ms: float

    def data_frames(self) -> list[tuple[int, bytes]]:
        """Without what is sent before there is data: comments and empty pieces."""
        return [(now, piece) for now, piece in self.answer.frames if piece.strip() and not piece.startswith(b":")]

    def verified(self, dialect: str, expected: bodies.Expected) -> "Invoked":
        verify(dialect, self.ask.stream, self.answer.status, self.answer.body, expected)
        return self


@asynccontextmanager
async def started(bootstrap: Bootstrap, key: str, log: Any, share: float = 0) -> AsyncIterator[Started]:
    group = Group()
    if share:
        group.limit(share)
    configuration = FunctionConfiguration(
        handler=bootstrap.handler,
        command=group.joining(bootstrap.command),
        task_root=ROOT,
        environment=bootstrap.environment,
        log=log,
    )
    environment = ExecutionEnvironment(configuration)
    began = time.monotonic_ns()
    try:
        failure = await environment.start()
        now = time.monotonic_ns()
        if failure is not None:
            raise BadReply(f"{bootstrap.name}: {failure.error_type} {failure.message}")
        process = environment._process
        assert process is not None
        tree = Tree(group, process.pid)
        yield Started(bootstrap, key, environment, tree, (now - began) / 1e6, tree.cpu_ns() / 1e6)
    finally:
        await environment.stop()
        group.remove()


def _event(dialect: str, ask: Ask, key: str) -> bytes:
    return event_of(dialect, path_of(dialect, ask), orjson.dumps(body_of(dialect, ask)), key)


def event_of(dialect: str, path: str, body: bytes, key: str) -> bytes:
    """A function URL's, of a POST of this JSON."""
    headers = [(name, value) for name, value in headers_of(dialect, key).items() if name != "host"]
    request = UrlRequest("POST", path, [("host", "bench.local"), *headers], body, "127.0.0.1")
    return encode_event(build_event(request, request_id=str(uuid.uuid4()), now=time.time()))


@dataclass(slots=True)
class Cold:
    init_ms: float
    init_cpu_ms: float
    first_ms: float
    first_cpu_ms: float
    peak_rss_mb: float
    warm_ms: float = 0

    @property
    def cpu_ms(self) -> float:
        return self.init_cpu_ms + self.first_cpu_ms

    @property
    def total_ms(self) -> float:
        return self.init_ms + self.first_ms


@dataclass(slots=True)
class Warm:
    cpu_us_per_request: float
    warm_ms: float
    ttft_ms: float
    cpu_ms_per_1k_fast: float
    cpu_ms_per_1k_paced: float
    lag_p50_ms: float
    lag_p99_ms: float
    pieces: int
    streams: bool
    before_second_chunk: bool
    settled_after_ms: float  # from the last data piece to the arrival of the usage write


_BUFFERED = Ask("buffered", stream=False)


async def cold(bootstrap: Bootstrap, key: str, log: Any, share: float = 0, warm: int = 5) -> Cold:
    """Spawn, first /next, first request, and some warm ones to compare it with."""
    expected = bodies.expected("buffered")
    async with started(bootstrap, key, log, share) as function:
        first = (await function.ask(_BUFFERED)).verified(bootstrap.dialect, expected)
        peak = function.tree.peak_rss_mb()
        rest = [(await function.ask(_BUFFERED)).verified(bootstrap.dialect, expected) for _ in range(warm)]
        return Cold(
            function.init_ms,
            function.init_cpu_ms,
            first.answer.duration_ms,
            first.cpu_ms,
            peak,
            median(one.answer.duration_ms for one in rest) if rest else 0,
        )


async def warm(bootstrap: Bootstrap, key: str, log: Any, aws_port: int, share: float = 0, times: int = 40) -> Warm:
    """Buffered requests, fast streams and one paced stream after a warm-up."""
    dialect = bootstrap.dialect
    async with started(bootstrap, key, log, share) as function:
        for _ in range(5):
            await function.ask(_BUFFERED)
        buffered = [
            (await function.ask(_BUFFERED)).verified(dialect, bodies.expected("buffered")) for _ in range(times)
        ]
        fast, gaps = [], []
        for _ in range(max(1, times // 8)):
            one = (await function.ask(Ask("fast", stream=True))).verified(dialect, bodies.expected("fast"))
            fast.append(one)
            gaps.append((await asyncio.to_thread(_settled_ns, aws_port) - one.answer.frames[-1][0]) / 1e6)
        paced = (await function.ask(Ask("paced", stream=True))).verified(dialect, bodies.expected("paced"))
    lags = lags_ms(paced.answer)
    data = paced.data_frames()
    return Warm(
        cpu_us_per_request=sum(one.cpu_ms for one in buffered) * 1e3 / len(buffered),
        warm_ms=median(one.answer.duration_ms for one in buffered),
        ttft_ms=median((one.data_frames()[0][0] - one.answer.sent_ns) / 1e6 for one in fast),
        cpu_ms_per_1k_fast=sum(one.cpu_ms for one in fast) / len(fast) / bodies.CHUNKS * 1e3,
        cpu_ms_per_1k_paced=paced.cpu_ms / bodies.CHUNKS * 1e3,
        lag_p50_ms=median(lags),
        lag_p99_ms=percentile(lags, 99),
        pieces=len(data),
        streams=len(data) > 1,
        before_second_chunk=data[0][0] < list(stamps(paced.answer))[1],
        settled_after_ms=median(gaps),
    )


def _settled_ns(aws_port: int) -> int:
    """When the AWS stub saw the last settlement; 0 for a function that makes none."""
    with Connection(aws_port) as connection:
        return int(connection.ask(b"GET /_bench/settled HTTP/1.1\r\nhost: aws\r\n\r\n").body)


def run_cold(bootstrap: Bootstrap, key: str, log: Any, share: float = 0, warm_requests: int = 5) -> Cold:
    return asyncio.run(cold(bootstrap, key, log, share, warm_requests))


def run_warm(bootstrap: Bootstrap, key: str, log: Any, aws_port: int, share: float = 0, times: int = 40) -> Warm:
    return asyncio.run(warm(bootstrap, key, log, aws_port, share, times))
