"""What a client carries for the gateway in `encrypted_content`: signatures on reasoning items, summaries on compaction
items. The sealing itself (encrypted, authenticated, bound to the account) is the gateway's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.contract import Seal, Unseal
from shared.gemini.signatures import FoundSignature

_VERSION = 1


class Carried(Struct, frozen=True):
    """Signatures under the keys of `gemini.signatures` (or `item_key`), and the model family that made them."""

    family: str
    signatures: Mapping[str, FoundSignature]


def item_key(item_id: str) -> str:
    """The key of a signature on something that is neither a call nor text: code, an image."""
    return f"i-{item_id}"


def seal_signatures(family: str, signatures: Mapping[str, FoundSignature], seal: Seal) -> str:
    bind = [[key, found.signature, found.native_id, found.name] for key, found in signatures.items()]
    return _seal({"v": _VERSION, "family": family, "bind": bind}, seal)


def open_signatures(token: Any, unseal: Unseal | None) -> Carried | None:
    """None for what this gateway did not seal for this account."""
    plain = _open(token, unseal)
    bind = plain.get("bind") if plain else None
    if plain is None or not isinstance(bind, list):
        return None
    family = str(plain.get("family", ""))
    found = {key: FoundSignature(signature, native, name, family) for key, signature, native, name in bind}
    return Carried(family, found)


def seal_summary(text: str, seal: Seal) -> str:
    return _seal({"v": _VERSION, "summary": text}, seal)


def open_summary(token: Any, unseal: Unseal | None) -> str | None:
    plain = _open(token, unseal)
    summary = plain.get("summary") if plain else None
    return summary if isinstance(summary, str) else None


def _seal(value: Mapping[str, Any], seal: Seal) -> str:
    return seal(json.dumps(value, separators=(",", ":")).encode())


def _open(token: Any, unseal: Unseal | None) -> Mapping[str, Any] | None:
    """What is authenticated is well-formed: the gateway itself wrote it."""
    plain = unseal(token) if unseal and isinstance(token, str) else None
    value = json.loads(plain) if plain is not None else None
    return value if isinstance(value, dict) and value.get("v") == _VERSION else None


def text_of_parts(parts: Sequence[Any]) -> str:
    """The visible text of an output message's content."""
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "".join(text for text in texts if isinstance(text, str))
