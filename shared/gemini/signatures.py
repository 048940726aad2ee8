"""Thought signatures: how they are found again and where they must stand.

From Gemini 3 on the first function call of every step of the current turn must carry its signature, else the upstream
answers 400. Clients lose signatures, so the gateway keeps them under keys made here; what is still missing gets the
documented dummy.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from shared.gemini.types import Content, Part

if TYPE_CHECKING:
    from shared.gemini.catalog import Capabilities

# Google's own dummy (FAQ of the thought-signatures page); it costs answer quality, so it is the last resort.
SENTINEL = "skip_thought_signature_validator"
_DUMMIES = frozenset(
    spelled
    for word in (SENTINEL, "context_engineering_is_the_way_to_go")
    for spelled in (
        word,
        base64.b64encode(word.encode()).decode(),
        base64.b64encode(word.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(word.encode()).decode(),
        base64.urlsafe_b64encode(word.encode()).decode().rstrip("="),
    )
)
_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
# Gemma refuses the field; models before 2.5 do not think and never made a signature.
_WITHOUT_SIGNATURES = ("gemma", "1.", "2.0")


class FoundSignature(Struct, frozen=True):
    """What the store remembers of one signed part: `native_id` is the upstream's call id, `name` the wire name of the
    function, `family` the `Capabilities.family` that made it (empty where unknown). Under a `server_key` the
    `signature` is the JSON of signed parts."""

    signature: str
    native_id: str | None = None
    name: str = ""
    family: str = ""


SignatureLookup = Mapping[str, FoundSignature]


def call_key(call_id: str) -> str:
    """The store key of a public tool call id: opaque, 42 characters, safe for any id a client may send."""
    return _key("c", call_id)


def content_key(family: str, name: str, args: Any) -> str:
    """The store key of a call by its content, for clients that rewrite ids. Key order and `1.0` against `1` do not
    matter, because JavaScript clients change both."""
    return _key("a", family, name, _sorted(_canonical(args)))


def text_key(family: str, text: str) -> str:
    """The store key of a signed text; outer white space does not matter, because clients trim."""
    return _key("t", family, text.strip())


def server_key(call_id: str) -> str:
    """The store key of what the upstream's own tools did right before a call, by the call's public id."""
    return _key("s", call_id)


def same_generation(one: str, other: str) -> bool:
    """Whether models of these families read each other's signatures: 3, 3.1 and 3.8 do, 2.5 and 3 do not. A session
    that moves between a flash and a pro model of today keeps its signatures."""
    return one.split(".")[0] == other.split(".")[0]


def usable(found: FoundSignature | None, caps: "Capabilities") -> str | None:
    """The stored signature if this model may read it; another generation's is worthless to it."""
    if found is None or (found.family and not same_generation(found.family, caps.family)):
        return None
    return found.signature or None


def is_dummy(signature: str) -> bool:
    """Both documented dummies, raw or as base64 of the text, as clients send them."""
    return signature in _DUMMIES


def takes_signatures(caps: "Capabilities") -> bool:
    return caps.signatures or not caps.family.startswith(_WITHOUT_SIGNATURES)


def complete(contents: list[Content], caps: "Capabilities") -> list[Content]:
    """A copy of `contents` whose signatures the upstream accepts: none where the family cannot read them, no signature
    twice (the reasoning would be billed twice), and the dummy on the first function call of each step of the current
    turn that has none. Signatures never move to another part.
    """
    turn = -1  # not looked for yet, which a conversation of the user's alone never needs
    keep = takes_signatures(caps)
    seen: set[str] = set()
    completed: list[Content] = []
    for position, content in enumerate(contents):
        needs_dummy = caps.signatures and content.get("role") == "model"
        if needs_dummy:
            turn = _turn_start(contents) if turn < 0 else turn
            needs_dummy = position >= turn
        parts: list[Part] = []
        for given in content.get("parts", []):
            part = _cleaned(given, keep, seen) if "thoughtSignature" in given else given
            if needs_dummy and "functionCall" in part:
                if "thoughtSignature" not in part:
                    part = {**part, "thoughtSignature": SENTINEL}
                needs_dummy = False
            parts.append(part)
        completed.append({**content, "parts": parts})
    return completed


def _cleaned(part: Part, keep: bool, seen: set[str]) -> Part:
    """The part without a signature that may not stand here; `seen` gathers those that were kept."""
    signature = part.get("thoughtSignature")
    if signature is None:
        return part
    if keep and signature and signature not in seen and not is_dummy(signature):
        seen.add(signature)
        return part
    bare = part.copy()
    del bare["thoughtSignature"]
    return bare


def _turn_start(contents: list[Content]) -> int:
    """Where the current turn begins: after the last user content that brings no function result. A content that mixes
    results and text belongs to the running turn."""
    for position in range(len(contents) - 1, -1, -1):
        content = contents[position]
        if content.get("role") != "model" and not any("functionResponse" in part for part in content.get("parts", [])):
            return position + 1
    return 0


def _key(kind: str, *words: str) -> str:
    hashed = b""
    for word in words:
        data = word.encode("utf-8", "surrogatepass")
        hashed += len(data).to_bytes(8) + data
    return f"{kind}-{hashlib.sha256(hashed).hexdigest()[:40]}"


def _canonical(value: Any) -> Any:
    if isinstance(value, str | int):  # first, as most are, and before a slow look for a mapping
        return value
    if isinstance(value, (dict, Mapping)):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
