"""Plain replies in the form that the query options ask for."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.gemini_native.framing import compact, pretty
from shared.dialects.gemini_native.masks import apply_mask
from shared.dialects.gemini_native.query import Options


def written(value: Mapping[str, Any], options: Options) -> bytes:
    """A reply that the gateway made."""
    shown = value if options.mask is None else apply_mask(options.mask, value)
    return pretty(shown) + b"\n" if options.pretty else compact(shown) + b"\n"
