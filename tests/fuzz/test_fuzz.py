"""Every seed, kept for ever; and a moment of coverage-guided search from them. `make fuzz` searches longer."""

import os
from pathlib import Path

import pytest

from tests.fuzz.__main__ import HERE, start, summary
from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("FUZZ_SECONDS", "8"))
SEEDS = sorted((HERE / "seeds").glob("*/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed_breaks_nothing(seed: Path) -> None:
    TARGETS[seed.parent.name](seed.read_bytes())


def test_every_target_has_seeds() -> None:
    assert {path.parent.name for path in SEEDS} == TARGETS.keys()


@pytest.mark.slow
def test_a_short_search_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="published for Linux on x86-64 only")
    running = {name: start(name, SECONDS, tmp_path / name) for name in TARGETS}
    outputs = {name: process.communicate(timeout=SECONDS + 120)[0] for name, process in running.items()}
    broken = [outputs[name][-3_000:] for name, process in running.items() if process.returncode]
    assert not broken, "\n\n".join(broken)
    assert all(not summary(output).startswith("?") for output in outputs.values()), outputs
