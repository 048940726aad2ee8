"""What a run measured, as a table for people (Markdown, terminal), as JSON, and as plots."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.bench import svg
from tests.bench.goals import Figures, Goal, Raw
from tests.bench.growth import Series
from tests.bench.measure import METHOD
from tests.bench.replies import DIALECTS
from tests.bench.server_mode import PHASES

FOLDER = Path(__file__).resolve().parent
_PACKAGES = (
    "fastapi",
    "starlette",
    "mangum",
    "httpx",
    "h11",
    "orjson",
    "pydantic",
    "uvicorn",
    "awslambdaric",
    "boto3",
)


def conditions(rounds: int, quick: bool, load_before: Sequence[float]) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": rounds,
        "quick": quick,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {_processor()}",
        "kernel": platform.release(),
        "cpu_from": METHOD,
        "load_before": list(load_before),
        "load_after": list(os.getloadavg()),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def write(
    raw: Raw, goals: Sequence[Goal], growth: Sequence[Series], where: Mapping[str, Any], folder: Path = FOLDER
) -> None:
    document = {
        "conditions": where,
        "goals": [asdict(goal) | {"verdict": goal.verdict} for goal in goals],
        "growth": [
            asdict(series) | {"exponent": series.exponent, "memory_step": series.memory_step} for series in growth
        ],
        "raw": raw,
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (folder / "results.svg").write_text(svg.bars("Ratios to the references of the same run", _bars(goals)))
    if growth:
        (folder / "growth.svg").write_text(_growth_plot(growth))
    (folder / "RESULTS.md").write_text(markdown(raw, goals, growth, where))


def _bars(goals: Sequence[Goal]) -> list[tuple[str, float, float, float]]:
    return [
        (f"{goal.number} {goal.what}: {name}"[:70], value, goal.must, goal.ambitious)
        for goal in goals
        for name, value in goal.values.items()
        if value > 0 and goal.must > 0
    ]


def _growth_plot(growth: Sequence[Series]) -> str:
    panels = {
        f"{series.name} ({series.unit})": {
            "CPU ms": [(p.size, p.cpu_ms) for p in series.points],
            "peak MB": [(p.size, p.rss_mb) for p in series.points],
        }
        for series in growth
    }
    return svg.lines("Cost of growth, both axes logarithmic", panels)


def table(goals: Sequence[Goal]) -> list[tuple[str, str, str, str, str, str]]:
    """#, goal, must, ambitious, measured, verdict"""
    rows = []
    for goal in goals:
        sign = "≥" if goal.up else "≤"
        measured = ", ".join(f"{name} {value:.3g}" for name, value in goal.values.items()) or "-"
        bounds = (f"{sign} {goal.must:g}{goal.unit}", f"{sign} {goal.ambitious:g}{goal.unit}")
        rows.append((goal.number, goal.what, *bounds, measured, goal.verdict))
    return rows


def markdown(raw: Raw, goals: Sequence[Goal], growth: Sequence[Series], where: Mapping[str, Any]) -> str:
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench`; how it measures is told in [README.md](README.md).",
        "",
    ]
    packages = ", ".join(f"{name} {number}" for name, number in where["packages"].items())
    load = " ".join(f"{value:.1f}" for value in [*where["load_before"], *where["load_after"]])
    lines += [
        f"{where['date']}; {where['rounds']} rounds{', quick' if where['quick'] else ''}; Python {where['python']}; "
        f"{where['machine']}; Linux {where['kernel']}; CPU from {where['cpu_from']}; load before and after: {load}.",
        "",
        packages + ".",
        "",
        "## Goals",
        "",
        "Ratios; a verdict takes the worst value. R: byte relay, I: ideal translator, N: FastAPI + httpx + pydantic, "
        "L: N under awslambdaric and Mangum, B: bare Python, P: LiteLLM.",
        "",
        "![ratios](results.svg)",
        "",
    ]
    lines += _rows(("#", "goal", "must", "ambitious", "measured", "verdict"), table(goals))
    lines += ["", *_calibration(raw), "", "## Server mode, medians", "", *_server(raw)]
    lines += ["", "## Lambda mode, medians", "", *_lambda(raw)]
    lines += ["", "## The largest requests, Lambda mode, medians", "", *_largest(raw)]
    if growth:
        lines += ["", "## Cost of growth", "", "![growth](growth.svg)", "", *_growth(growth)]
    return "\n".join(lines) + "\n"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _calibration(raw: Raw) -> list[str]:
    at = Figures(raw)
    request, fast, paced = (
        at("server/N/latency", "cpu_us_per_request") / at("server/I/latency", "cpu_us_per_request"),
        at("server/N/fast", "cpu_ms_per_1k") / at("server/I/fast", "cpu_ms_per_1k"),
        at("server/N/paced", "cpu_ms_per_1k") / at("server/R/paced", "cpu_ms_per_1k"),
    )
    return [
        f"How far apart the references themselves are in this run: N ÷ I {request:.1f} per request and {fast:.1f} per "
        f"unpaced chunk, N ÷ R {paced:.1f} per paced chunk."
    ]


def _server(raw: Raw) -> list[str]:
    at = Figures(raw)
    names = ["direct", "R", "I", "N", *[f"gateway {dialect}" for dialect in DIALECTS], "P"]
    rows = []
    for name in names:
        if f"server/{name}/{PHASES[0]}" not in raw:
            continue
        cells = [
            ("latency", "cpu_us_per_request", ".0f"),
            ("few", "cpu_us_per_request", ".0f"),
            ("fast", "cpu_ms_per_1k", ".1f"),
            ("tools", "cpu_ms_per_1k", ".1f"),
            ("paced", "cpu_ms_per_1k", ".0f"),
            ("latency", "p50_ms", ".2f"),
            ("latency", "p95_ms", ".2f"),
            ("fast", "ttft_ms", ".2f"),
            ("paced", "lag_p50_ms", ".2f"),
            ("paced", "lag_p99_ms", ".2f"),
            ("paced", "pieces", ".0f"),
        ]
        rows.append([name, *[format(at(f"server/{name}/{phase}", figure), form) for phase, figure, form in cells]])
    head = ["target", "CPU µs/req", "few µs/req", "CPU ms/1k fast", "tools", "paced", "p50 ms", "p95 ms", "TTFT ms"]
    return _rows([*head, "lag p50 ms", "lag p99 ms", "pieces"], rows)


def _lambda(raw: Raw) -> list[str]:
    at = Figures(raw)
    rows = []
    groups = sorted({name.split("/")[0] for name in raw if name.startswith(("lambda", "limited"))})
    for group in groups:
        for name in ["L", *[f"gateway {dialect}" for dialect in DIALECTS]]:
            cold, warm = f"{group}/{name}/cold", f"{group}/{name}/warm"
            if not any(key.startswith(cold) for key in raw):
                continue
            cells = [
                format(at(cold, figure), form)
                for figure, form in (
                    ("init_ms", ".0f"),
                    ("init_cpu_ms", ".0f"),
                    ("first_ms", ".1f"),
                    ("cpu_ms", ".0f"),
                    ("peak_rss_mb", ".1f"),
                    ("warm_ms", ".2f"),
                )
            ]
            figures = ("cpu_us_per_request", "ttft_ms", "cpu_ms_per_1k_fast", "cpu_ms_per_1k_paced", "lag_p99_ms")
            cells += [f"{at(warm, figure):.3g}" if warm in raw else "-" for figure in figures]
            memory = group.removeprefix("limited ")
            rows.append([name, "unlimited" if memory == "lambda" else f"{memory} MB", *cells])
    head = ["bootstrap", "CPU share of", "init ms", "init CPU ms", "first ms", "cold CPU ms", "peak MB", "warm ms"]
    return _rows([*head, "CPU µs/req", "TTFT ms", "CPU ms/1k fast", "paced", "lag p99 ms"], rows)


def _largest(raw: Raw) -> list[str]:
    at = Figures(raw)
    names = [name for name in raw if name.startswith("largest/")]
    ordered = sorted(names, key=lambda name: at(name, "peak_rss_mb"))
    rows = [[name.partition("/")[2], f"{at(name, 'peak_rss_mb'):.0f}", f"{at(name, 'cpu_ms'):.0f}"] for name in ordered]
    note = "Peak memory of a function that is asked this first, and what the request costs: what `MemorySize` is for."
    return [note, "", *_rows(["asked", "peak MB", "CPU ms"], rows)]


def _growth(growth: Sequence[Series]) -> list[str]:
    rows = []
    for series in growth:
        points = "; ".join(f"{p.size}: {p.cpu_ms:.3g} ms, {p.rss_mb:.0f} MB" for p in series.points)
        linear = "linear" if series.linear else "MORE THAN LINEAR"
        rows.append([series.name, series.unit, points, f"{series.exponent:.2f}", f"{series.memory_step:.2f}", linear])
    note = (
        "CPU of one request (of all streams together in the last row) and the server's peak memory since the series "
        "began. Last step of memory: MB per unit of the last step over those before it; 1 is linear, 0 means that "
        "nothing grows."
    )
    return [note, "", *_rows(["what grows", "unit", "cost", "exponent of CPU", "last step of memory", "verdict"], rows)]
