"""`?fields=`: Google's partial responses, `candidates(content/parts/text,finishReason),usageMetadata` for example.

Source: the "partial response" page of Google's REST conventions: commas between fields, `/` or `.` into a field,
parentheses for several of its fields, `*` for all of them.
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.dialects.gemini_native.canonical import camel
from shared.errors import GatewayError

type Mask = dict[str, Mask]  # an empty mask keeps everything below

_PIECE = r"[A-Za-z_@$][\w@$-]*|[*,/.()]"
_MAX = 2_000


def parse_mask(text: str) -> Mask:
    """Raises `invalid_request` for a text that is no mask."""
    tokens = re.findall(_PIECE, text.replace(" ", ""))
    if len(text) > _MAX or "".join(tokens) != text.replace(" ", ""):
        raise _refused()
    mask: Mask = {}
    rest = _fields(tokens, 0, mask)
    if rest != len(tokens):
        raise _refused()
    return mask


def apply_mask(mask: Mask, value: Any) -> Any:
    """The masked part of a reply; lists are masked item by item."""
    if not mask or mask.get("*") == {}:
        return value
    if isinstance(value, list):
        return [apply_mask(mask, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    everything = mask.get("*")
    kept = {}
    for name, item in value.items():
        below = mask.get(name, everything)
        if below is not None:
            kept[name] = apply_mask(below, item)
    return kept


def _fields(tokens: list[str], at: int, mask: Mask) -> int:
    """Read fields up to a closing parenthesis or the end; returns where it stopped."""
    while True:
        at = _path(tokens, at, mask)
        if at >= len(tokens) or tokens[at] != ",":
            return at
        at += 1


def _path(tokens: list[str], at: int, mask: Mask) -> int:
    if at >= len(tokens) or tokens[at] in ",/.()":
        raise _refused()
    name = camel(tokens[at])
    known = name in mask
    below = mask.setdefault(name, {})
    at += 1
    follower = tokens[at] if at < len(tokens) else ""
    if follower in ("/", "."):
        return _path(tokens, at + 1, below if not known or below else {})
    if follower == "(":
        at = _fields(tokens, at + 1, below if not known or below else {})
        if at >= len(tokens) or tokens[at] != ")":
            raise _refused()
        return at + 1
    below.clear()  # the field itself was asked for: all of it
    return at


def _refused() -> GatewayError:
    return GatewayError("invalid_request", "Invalid field selection.", param="fields")
