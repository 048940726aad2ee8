"""Patterns that compile at their first use: the same as compiled ones, and every one of ours compiles."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import shared
from shared.lazy_pattern import lazy_pattern

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("text", ["AB12", "ab", "12", "", "x ab12 y"])
def test_it_finds_what_a_compiled_pattern_finds(text: str) -> None:
    source, flags = r"([a-z]+)(\d*)", re.IGNORECASE
    lazy, compiled = lazy_pattern(source, flags), re.compile(source, flags)
    for verb in ("match", "fullmatch", "search"):
        theirs, ours = getattr(compiled, verb)(text), getattr(lazy, verb)(text)
        assert (ours and ours.groups()) == (theirs and theirs.groups())
    assert lazy.sub("-", text) == compiled.sub("-", text)
    assert lazy.findall(text) == compiled.findall(text)


def test_nothing_is_compiled_before_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    real = re.compile
    monkeypatch.setattr(re, "compile", lambda *source: compiled.append(source[0]) or real(*source))
    lazy = lazy_pattern("ab+")
    assert compiled == []
    assert lazy.fullmatch("abb")
    assert lazy.fullmatch("abb")
    assert compiled == ["ab+"]


def test_a_pattern_that_is_none_says_so_at_its_use() -> None:
    with pytest.raises(re.error):
        lazy_pattern("(").search("x")


def test_every_pattern_of_ours_compiles() -> None:
    found = 0
    for module in pkgutil.walk_packages(shared.__path__, "shared."):
        if not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                if type(value).__name__ == "_LazyPattern":
                    assert value.pattern
                    found += 1
    assert found > 30


def test_an_ordinary_function_compiles_no_pattern_of_the_upstreams_errors() -> None:
    code = "import re; import shared.gemini.errors as e; print('_source' in vars(e._SPENT), len(vars(e._SPENT)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True 1\n"
