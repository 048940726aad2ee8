"""The part of an output item that text is being added to."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

Say = Callable[..., None]  # what an event holds besides its type, and the types of one event or several that hold it


class TextPart(Struct, frozen=True):
    """`delta` is the type of the event that tells of new text; besides the text, under its own name, it holds `before`
    and `after`. The item gathers `pieces`."""

    pieces: list[str]
    delta: str
    before: Mapping[str, Any]
    after: Mapping[str, Any] = {}
