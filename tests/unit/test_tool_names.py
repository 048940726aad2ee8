import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gemini.tool_names import ToolNames, restore

WIRE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def called(names: ToolNames, declared: list[str], wire: str) -> str:
    """The client's name for a function that the model calls by this one."""
    return restore(wire, names.mapping, {names.to_wire(name) for name in declared})


@pytest.mark.parametrize("name", ["get_weather", "_x", "a.b:c-d", "x" * 64, "default_api"])
def test_valid_names_keep_their_spelling(name: str) -> None:
    names = ToolNames([name])
    assert names.to_wire(name) == name
    assert names.mapping == {}


@pytest.mark.parametrize(
    ("name", "wire"),
    [("1st", "_1st"), ("-dash", "_-dash"), ("with space", "with_space"), ("wetter/süd", "wetter_s_d"), ("", "_")],
)
def test_foreign_names_are_respelled_and_come_back(name: str, wire: str) -> None:
    names = ToolNames([name])
    assert names.to_wire(name) == wire
    assert called(names, [name], wire) == name
    assert names.mapping == {wire: name}


def test_a_long_name_keeps_its_head_and_gets_a_digest() -> None:
    name = "n" * 100
    wire = ToolNames([name]).to_wire(name)
    assert re.fullmatch(r"n{55}_[0-9a-f]{8}", wire)


def test_long_names_with_one_head_stay_apart() -> None:
    names = ToolNames(["n" * 100, "n" * 101])
    assert names.to_wire("n" * 100) != names.to_wire("n" * 101)


def test_a_valid_name_is_never_taken_by_a_respelled_one() -> None:
    names = ToolNames(["1a", "_1a"])
    assert names.to_wire("_1a") == "_1a"
    assert names.to_wire("1a") != "_1a"
    assert called(names, ["1a", "_1a"], names.to_wire("1a")) == "1a"


def test_the_same_names_always_map_alike() -> None:
    declared = ["b c", "1", "b_c", "ok"]
    assert ToolNames(declared).mapping == ToolNames(declared).mapping


@given(st.lists(st.text(max_size=80), max_size=12))
def test_every_name_is_valid_on_the_wire_and_reversible(declared: list[str]) -> None:
    names = ToolNames(declared)
    wires = {name: names.to_wire(name) for name in declared}
    assert len(set(wires.values())) == len(wires)
    for name, wire in wires.items():
        assert WIRE.fullmatch(wire)
        assert called(names, declared, wire) == name


@pytest.mark.parametrize("prefix", ["default_api.", "default_api:"])
def test_a_hallucinated_prefix_is_stripped_where_the_rest_is_declared(prefix: str) -> None:
    declared = ["f", "2f"]
    names = ToolNames(declared)
    assert called(names, declared, f"{prefix}f") == "f"
    assert called(names, declared, f"{prefix}_2f") == "2f"
    assert called(names, declared, f"{prefix}unknown") == f"{prefix}unknown"


def test_a_declared_name_with_that_prefix_is_left_alone() -> None:
    declared = ["f", "default_api.f"]
    assert called(ToolNames(declared), declared, "default_api.f") == "default_api.f"


def test_an_undeclared_call_keeps_its_name() -> None:
    assert called(ToolNames(["f"]), ["f"], "g") == "g"
