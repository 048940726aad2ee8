"""Bodies that no client should send: any JSON value, in any one place of a body that uses most of what there is."""

import copy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BUSY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Place = tuple[Any, ...]


def json_values(words: str, members: list[str]) -> st.SearchStrategy[Any]:
    """Any JSON value, made of what a dialect says more often than not: its words, and the names of its members."""
    spoken = st.sampled_from(words.split())
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
        | spoken
    )
    keys = spoken | st.text(max_size=5) | st.sampled_from(members)
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def places(value: Any, path: Place = ()) -> list[Place]:
    """The path to everything inside a value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


def broken(body: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """The body with a value in one place."""
    body = copy.deepcopy(body)
    holder: Any = body
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    return body
