"""Gemini's opaque state in places of the Anthropic protocol that clients carry back unread.

A thinking block's `signature` and a search result's `encrypted_content` are opaque to every client, so they hold what
the upstream wants to see again. Both sides of the dialect use this module; only it knows the spelling. What does not
open here was made by somebody else, and is no error.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from msgspec import Struct

from shared.gemini.signatures import same_generation
from shared.gemini.types import Part
from shared.json_codec import encode

# What was signed: a function call, a text, or nothing (a thought without a signature of its own).
Kind = Literal["fc", "text", "th"]

_MARK = "gem1."
_KINDS = frozenset(get_args(Kind))
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_CALL_ID = re.compile(r"[!-~]{0,200}")
_TOOL_TYPE = re.compile(r"[A-Z][A-Z_]{0,63}")


class Envelope(Struct, frozen=True):
    """`family` is the `Capabilities.family` that signed, `call_id` the upstream's own id of the signed call or "",
    `signature` the upstream's base64 or ""."""

    family: str
    kind: Kind
    call_id: str = ""
    signature: str = ""


def seal(family: str, kind: Kind, call_id: str, signature: str) -> str:
    """A thinking block's `signature`: never empty, because clients drop thinking that has none."""
    return _MARK + _encode({"m": family, "k": kind, "i": call_id, "s": signature})


def open_envelope(text: Any) -> Envelope | None:
    """The envelope in a `signature` (or in the `data` of redacted thinking), None if the gateway did not make it."""
    value = _decode(text)
    if not isinstance(value, dict):
        return None
    members = [value.get(name) for name in "mkis"]
    if not all(isinstance(member, str) for member in members):
        return None
    family, kind, call_id, signature = cast(list[str], members)
    if kind not in _KINDS or not family or not _is_signature(signature) or not _CALL_ID.fullmatch(call_id):
        return None
    return Envelope(family, cast(Kind, kind), call_id, signature)


def seal_parts(family: str, parts: Sequence[Mapping[str, Any]]) -> str:
    """The `encrypted_content` of a search result: the `toolCall` and `toolResponse` parts as they came, ids and
    signatures included. `parts` may be empty."""
    return _MARK + _encode({"m": family, "p": [dict(part) for part in parts]})


def open_parts(text: Any, family: str) -> list[Part] | None:
    """The sealed parts as far as a model of `family` may read them, None if the gateway did not make `text`."""
    value = _decode(text)
    if not isinstance(value, dict) or not isinstance(value.get("p"), list):
        return None
    if not same_generation(str(value.get("m")), family):
        return []
    return [part for part in map(_server_part, value["p"]) if part is not None]


def _server_part(value: Any) -> Part | None:
    """The part with nothing in it but what the upstream can have sent: it comes from a client after all."""
    if not isinstance(value, dict):
        return None
    for kind, member in (("toolCall", "args"), ("toolResponse", "response")):
        inner = value.get(kind)
        if not isinstance(inner, dict) or not _TOOL_TYPE.fullmatch(str(inner.get("toolType"))):
            continue
        kept = {name: inner[name] for name in ("toolType", "id") if isinstance(inner.get(name), str)}
        if isinstance(inner.get(member), dict):
            kept[member] = inner[member]
        part: dict[str, Any] = {kind: kept}
        signature = value.get("thoughtSignature")
        if isinstance(signature, str) and signature and _is_signature(signature):
            part["thoughtSignature"] = signature
        return cast(Part, part)
    return None


def _encode(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(encode(value)).decode().rstrip("=")


def _decode(text: Any) -> Any:
    if not isinstance(text, str) or not text.startswith(_MARK):
        return None
    data = text[len(_MARK) :]
    try:
        raw = base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True)
        return json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        return None


def _is_signature(text: str) -> bool:
    """Base64 in either alphabet, or empty: a broken one would cost the whole request."""
    return _BASE64.fullmatch(text) is not None and len(text.rstrip("=")) % 4 != 1
