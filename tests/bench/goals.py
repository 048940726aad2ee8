"""The goals as ratios of what one run measured, with their minimum (must) and their aim (ambitious)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.replies import DIALECTS

type Raw = Mapping[str, Sequence[Mapping[str, float]]]


class Figures:
    """Medians over rounds. `KeyError` where an operation was not run."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def __call__(self, operation: str, figure: str) -> float:
        rows = [row for name in (operation, f"{operation}/a", f"{operation}/b") for row in self.raw.get(name, ())]
        if not rows:
            raise KeyError(operation)
        return median(row[figure] for row in rows)


@dataclass(frozen=True, slots=True)
class Goal:
    """`values` by what was measured; a verdict takes the worst. `up`: more is better."""

    number: str
    what: str
    must: float
    ambitious: float
    values: Mapping[str, float]
    up: bool = False
    unit: str = ""

    @property
    def worst(self) -> float:
        return (min if self.up else max)(self.values.values())

    @property
    def verdict(self) -> str:
        if not self.values:
            return "not measured"
        reached = self._reaches
        return "ambitious" if reached(self.ambitious) else "must" if reached(self.must) else "MISSED"

    def _reaches(self, bound: float) -> bool:
        return self.worst >= bound if self.up else self.worst <= bound


def goals(raw: Raw) -> list[Goal]:
    at = Figures(raw)
    rows = [*_server(at), *_lambda(at), *_rest(at)]
    return [row for row in rows if row is not None]


def _each(value: Callable[[str], float], names: Sequence[str] = DIALECTS) -> dict[str, float]:
    """By name; what was not run is left out."""
    found = {}
    for name in names:
        try:
            found[name] = value(name)
        except KeyError:
            continue
    return found


def _server(at: Figures) -> list[Goal | None]:
    def own(dialect: str, phase: str, figure: str) -> float:
        return at(f"server/gateway {dialect}/{phase}", figure)

    def added(subject: str, phase: str, figure: str) -> float:
        return at(f"server/{subject}/{phase}", figure) - at(f"server/direct/{phase}", figure)

    per_request, per_chunk = "cpu_us_per_request", "cpu_ms_per_1k"
    lean = {phase: at(f"server/I/{phase}", per_chunk) for phase in ("fast", "tools")}
    request = at("server/I/latency", per_request)
    relay, relay_lag = at("server/R/paced", per_chunk), at("server/R/paced", "lag_p50_ms")
    chunks = {
        f"{dialect} {phase}": own(dialect, phase, per_chunk) / lean[phase] for dialect in DIALECTS for phase in lean
    }
    return [
        Goal("1", "CPU per buffered request ÷ I", 5, 2.5, _each(lambda d: own(d, "latency", per_request) / request)),
        _against_litellm(at, "1", "CPU per buffered request: P ÷ ours", 40, 80, "latency", per_request),
        Goal("2", "CPU per 1,000 chunks, unpaced ÷ I", 3, 1.8, chunks),
        _against_litellm(at, "2", "CPU per 1,000 chunks: P ÷ ours", 40, 60, "fast", per_chunk),
        Goal(
            "3", "CPU per 1,000 chunks paced at 5 ms ÷ R", 2, 1.5, _each(lambda d: own(d, "paced", per_chunk) / relay)
        ),
        Goal("4", "translation alone, per chunk ÷ dict + stdlib json", 1, 0.5, _translation(at)),
        Goal("5", "added p50 of a buffered request ÷ N's", 0.6, 0.25, _relative(added, "latency", "p50_ms")),
        Goal("5", "added TTFT ÷ N's", 1, 0.75, _relative(added, "fast", "ttft_ms")),
        Goal("6", "lag per chunk, p50 ÷ R's", 2, 1.3, _each(lambda d: own(d, "paced", "lag_p50_ms") / relay_lag)),
        Goal("6", "pieces of 200 paced chunks", 200, 200, _each(lambda d: own(d, "paced", "pieces")), up=True),
    ]


def _relative(added: Callable[[str, str, str], float], phase: str, figure: str) -> dict[str, float]:
    naive = added("N", phase, figure)
    return _each(lambda d: added(f"gateway {d}", phase, figure) / naive)


def _against_litellm(
    at: Figures, number: str, what: str, must: float, ambitious: float, phase: str, figure: str
) -> Goal | None:
    values = _each(lambda d: at(f"server/P/{phase}", figure) / at(f"server/gateway {d}/{phase}", figure))
    return Goal(number, what, must, ambitious, values, up=True) if values else None


def _translation(at: Figures) -> dict[str, float]:
    names = ("chat", "responses", "messages")
    return _each(lambda d: at("probe/translation", d) / at("probe/translation", "baseline"), names)


def _lambda(at: Figures) -> list[Goal | None]:
    bare, rss = at("probe/bare", "cpu_ms"), at("probe/bare", "rss_mb")
    httpx = at("probe/import httpx", "cpu_ms") - bare
    naive = at("lambda/L/cold", "cpu_ms")

    def cold(dialect: str, figure: str) -> float:
        return at(f"lambda/gateway {dialect}/cold", figure)

    def warm(dialect: str, figure: str) -> float:
        return at(f"lambda/gateway {dialect}/warm", figure)

    heavy = at.raw["probe/modules"][0]
    return [
        Goal("7", "Lambda: cold CPU (init + first invoke) ÷ L", 0.5, 0.2, _each(lambda d: cold(d, "cpu_ms") / naive)),
        Goal(
            "7b",
            "init CPU over B ÷ `import httpx` over B",
            2,
            1,
            _each(lambda d: (cold(d, "init_cpu_ms") - bare) / httpx),
        ),
        Goal("7b", "heavy modules in a hot handler", 0, 0, {"chat": sum(heavy.values())}),
        Goal("7c", "first invoke ÷ warm invoke", 10, 6, _each(lambda d: cold(d, "first_ms") / cold(d, "warm_ms"))),
        Goal("8", "peak RSS after the first request ÷ B", 4, 2.3, _each(lambda d: cold(d, "peak_rss_mb") / rss)),
        *_limited(at),
        Goal("13", "reply streams (1 = yes)", 1, 1, _each(lambda d: warm(d, "streams")), up=True),
        Goal(
            "13",
            "first data leaves before the upstream's 2nd chunk (1 = yes)",
            1,
            1,
            _each(lambda d: warm(d, "before_second_chunk")),
            up=True,
        ),
    ]


def _limited(at: Figures) -> list[Goal | None]:
    def ratio(_: str) -> float:
        return at("limited 128/gateway chat/cold", "total_ms") / at("limited 128/L/cold", "total_ms")

    lag = _each(lambda d: at(f"limited 128/gateway {d}/warm", "lag_p99_ms"), ("chat",))
    return [
        Goal("9", "at 128 MB: cold total ÷ L's", 0.3, 0.12, _each(ratio, ("chat",))),
        Goal("9", "at 128 MB: paced lag p99, ms", 20, 8, lag, unit=" ms"),
    ]


def _rest(at: Figures) -> list[Goal | None]:
    def settled(_: str) -> float:
        return at("probe/settling", "settle_us") / at("probe/settling", "boto3_us")

    return [
        Goal(
            "10",
            "built artefact: import CPU ÷ with fresh byte code",
            1.1,
            1.05,
            _each(lambda _: at("probe/artefact", "import_ratio"), ("chat",)),
        ),
        Goal(
            "11",
            "zip per hot handler, MB",
            5,
            1.5,
            _each(lambda _: at("probe/artefact", "zip_mb"), ("chat",)),
            unit=" MB",
        ),
        Goal("12", "CPU of a usage write ÷ boto3 `put_item`", 0.5, 0.15, _each(settled, ("ledger",))),
        Goal(
            "12",
            "the write follows the last byte, ms after it",
            -1,
            -1,
            _each(lambda d: at(f"lambda/gateway {d}/warm", "settled_after_ms")),
            up=True,
            unit=" ms",
        ),
    ]
