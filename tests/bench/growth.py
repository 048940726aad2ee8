"""The cost of growth: what a request costs by the size of what grows, in a server of its own for each series."""

import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import bodies
from tests.bench.client import Answer, BadReply, Connection
from tests.bench.replies import Ask, body_of, headers_of, verify_answer
from tests.bench.surroundings import Ground, await_port, ground, start_gateway

LINEAR = 1.1  # the exponent up to which a cost counts as linear
LINEAR_MEMORY = 2.0  # the same for `memory_step`: allocators take memory in lumps
_IN_HAND_MB = 5  # what a server takes from memory that it has already
_LARGE_BODIES = {"MAX_BODY_BYTES": "7500000"}  # above 5 MB of media in base 64; the default is Lambda's limit


@dataclass(frozen=True, slots=True)
class Point:
    """`cpu_ms` of one request, or of all streams together; `rss_mb` is the server's peak since the series began."""

    size: int
    cpu_ms: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    unit: str
    points: Sequence[Point]

    @property
    def exponent(self) -> float:
        """Of cost ~ size^exponent over the upper half of the sizes, where what does not grow weighs least."""
        return slope([(point.size, point.cpu_ms) for point in self.points[len(self.points) // 2 :]])

    @property
    def memory_step(self) -> float:
        """What the last step added to the memory for each unit, over what the steps before it did: 1 is linear, and
        with doubled sizes 3 is quadratic. 0 where no more was added than what was in hand: nothing grows."""
        first, before, last = self.points[0], self.points[-2], self.points[-1]
        if last.rss_mb - first.rss_mb < _IN_HAND_MB:
            return 0.0
        earlier = max(before.rss_mb - first.rss_mb, _IN_HAND_MB) / (before.size - first.size)
        return (last.rss_mb - before.rss_mb) / (last.size - before.size) / earlier

    @property
    def linear(self) -> bool:
        return self.exponent <= LINEAR and self.memory_step <= LINEAR_MEMORY


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares on logarithms."""
    xs, ys = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def run(quick: bool, progress: Callable[[str], None]) -> list[Series]:
    """Every series, smallest size first; `quick` takes the first, a middle and the last size."""
    with ground() as where:
        return [_series(where, name, unit, sizes, measure, quick, progress) for name, unit, sizes, measure in _PLAN]


def _series(
    where: Ground,
    name: str,
    unit: str,
    sizes: Sequence[int],
    measure: "Measure",
    quick: bool,
    progress: Callable[[str], None],
) -> Series:
    chosen = [sizes[0], sizes[len(sizes) // 2], sizes[-2], sizes[-1]] if quick else sizes
    points = []
    with start_gateway(where, _LARGE_BODIES) as gateway:
        await_port(gateway)
        port, tree = gateway.port, gateway.tree
        _ask(port, _chat(where, Ask("few", stream=True)), Ask("few", stream=True))  # the first request's own costs
        tree.forget_peak()
        for size in chosen:
            progress(f"growth {name} {size}")
            cpu_ms = measure(where, port, tree.cpu_ns, size)
            points.append(Point(size, cpu_ms, tree.peak_rss_mb()))
    return Series(name, unit, points)


type Measure = Callable[[Ground, int, Callable[[], int], int], float]


def _chat(where: Ground, ask: Ask, content: object = None) -> bytes:
    body = body_of("chat", ask)
    if content is not None:
        body["messages"][-1]["content"] = content
    return _post(where, json.dumps(body).encode())


def _post(where: Ground, body: bytes) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers_of("chat", where.client_key).items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _ask(port: int, request: bytes, ask: Ask, chunks: int = bodies.CHUNKS) -> Answer:
    with Connection(port) as connection:
        answer = connection.ask(request)
    verify_answer("chat", ask, answer, bodies.expected(ask.mode, chunks))
    return answer


def _repeated(port: int, cpu_ns: Callable[[], int], request: bytes, ask: Ask, chunks: int = bodies.CHUNKS) -> float:
    """CPU ms of a request, the median of three."""
    used = []
    for _ in range(3):
        before = cpu_ns()
        _ask(port, request, ask, chunks)
        used.append((cpu_ns() - before) / 1e6)
    return median(used)


def _history(where: Ground, port: int, cpu_ns: Callable[[], int], size: int) -> float:
    texts = tuple(f"Message {number}: {'something was said here. ' * 4}" for number in range(size))
    ask = Ask("few", stream=True, texts=texts if size % 2 else (*texts[:-1], "And now?"))
    return _repeated(port, cpu_ns, _chat(where, ask), ask)


def _tools(where: Ground, port: int, cpu_ns: Callable[[], int], size: int) -> float:
    ask = Ask("few", stream=True, tools=size)
    return _repeated(port, cpu_ns, _chat(where, ask), ask)


def _length(where: Ground, port: int, cpu_ns: Callable[[], int], size: int) -> float:
    ask = Ask("long", stream=True, texts=(f"Go on: bench-chunks-{size}",))
    return _repeated(port, cpu_ns, _chat(where, ask), ask, size)


def _media(where: Ground, port: int, cpu_ns: Callable[[], int], size: int) -> float:
    data = bodies.base64_of(size)
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    ask = Ask("few", stream=True)
    return _repeated(port, cpu_ns, _chat(where, ask, content), ask)


def _streams(where: Ground, port: int, cpu_ns: Callable[[], int], size: int) -> float:
    """CPU ms of `size` streams at the same time, each with five chunks a second."""
    ask = Ask("slow", stream=True)
    request = _chat(where, ask)
    failures: list[Exception] = []

    def one() -> None:
        try:
            _ask(port, request, ask)
        except (BadReply, OSError) as error:
            failures.append(error)

    before = cpu_ns()
    threads = [threading.Thread(target=one) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return (cpu_ns() - before) / 1e6


_PLAN: Sequence[tuple[str, str, Sequence[int], Measure]] = (
    ("history length", "messages", (1, 10, 50, 200, 500, 1000, 2000), _history),
    ("tools", "declarations", (1, 5, 20, 50, 120, 250, 500), _tools),
    ("stream length", "chunks", (1, 10, 100, 1000, 10_000, 30_000, 100_000), _length),
    ("inline media", "bytes", (1_000, 10_000, 100_000, 500_000, 1_000_000, 2_500_000, 5_000_000), _media),
    ("concurrent streams", "streams", (1, 5, 20, 50, 100, 250, 500), _streams),
)
