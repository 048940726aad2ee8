"""Server mode: every phase against a running target, one operation at a time, every reply checked."""

from dataclasses import dataclass
from statistics import median, quantiles

from tests.bench import bodies
from tests.bench.client import Answer, BadReply, Connection, lags_ms
from tests.bench.replies import Ask, request_bytes, verify_answer
from tests.bench.surroundings import Target

PHASES = ("latency", "few", "fast", "tools", "paced")
_ASKS = {
    "latency": Ask("buffered", stream=False),
    "few": Ask("few", stream=True),
    "fast": Ask("fast", stream=True),
    "tools": Ask("tools", stream=True, tools=1),
    "paced": Ask("paced", stream=True),
}
_TIMES = {"latency": 60, "few": 60, "fast": 10, "tools": 6, "paced": 2}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a target, asked in one dialect."""

    name: str
    target: Target
    dialect: str
    key: str


@dataclass(slots=True)
class Figures:
    """Of one operation."""

    cpu_us_per_request: float = 0
    cpu_ms_per_1k: float = 0
    p50_ms: float = 0
    p95_ms: float = 0
    ttft_ms: float = 0
    lag_p50_ms: float = 0
    lag_p99_ms: float = 0
    pieces: float = 0


def operate(subject: Subject, phase: str, times: int | None = None) -> Figures:
    """One operation of a phase. Raises BadReply where any reply is not right."""
    ask = _ASKS[phase]
    request = request_bytes(subject.dialect, ask, subject.key)
    count = times or _TIMES[phase]
    with Connection(subject.target.port) as connection:
        answers: list[Answer] = [connection.ask(request)]  # the connection's own costs are not the request's
        before = subject.target.cpu_ns()
        answers = [connection.ask(request) for _ in range(count)]
        used = subject.target.cpu_ns() - before
    expected = bodies.expected(ask.mode)
    for answer in answers:
        verify_answer(subject.dialect, ask, answer, expected)
    return _figures(phase, answers, used)


def _figures(phase: str, answers: list[Answer], used_ns: int) -> Figures:
    durations = [answer.duration_ms for answer in answers]
    figures = Figures(
        cpu_us_per_request=used_ns / 1e3 / len(answers),
        p50_ms=median(durations),
        p95_ms=percentile(durations, 95),
        ttft_ms=median(answer.ttft_ms for answer in answers),
        pieces=min(len(answer.frames) for answer in answers),
    )
    if phase in ("fast", "tools", "paced"):
        figures.cpu_ms_per_1k = used_ns / 1e6 / (len(answers) * bodies.CHUNKS) * 1000
    if phase == "paced":
        lags = [lag for answer in answers for lag in lags_ms(answer)]
        if len(lags) != bodies.CHUNKS * len(answers):
            raise BadReply(f"{len(lags)} time stamps came back")
        figures.lag_p50_ms, figures.lag_p99_ms = median(lags), percentile(lags, 99)
    return figures


def percentile(values: list[float], number: int) -> float:
    return quantiles(values, n=100, method="inclusive")[number - 1] if len(values) > 1 else values[0]
