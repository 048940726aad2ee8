"""Thought signatures that the emulator can recognise as its own without remembering them.

A signature is base64 of a small protobuf-shaped envelope, as Google's are: field 2 around field 1 on 3.x, field 1
alone on 2.5, and inside it a 0x01 byte, a four-byte key id, a nonce, a tag and filler. The tag binds the signature to
what it was put on ("call:NAME", "text", ...), so a signature moved to another function is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Literal

KEY_ID = b"\x45\x6d\x75\x6c"
_SECRET = b"emulated upstream"
_NONCE, _TAG = 12, 16

DUMMIES = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")

type Verdict = Literal["own", "dummy", "foreign", "corrupted"]


def _tag(nonce: bytes, bound_to: str) -> bytes:
    return hmac.new(_SECRET, nonce + bound_to.encode(), hashlib.sha256).digest()[:_TAG]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def sign(bound_to: str, seed: str, generation: float) -> str:
    """A signature of 130 bytes and more; the same (bound_to, seed) always gives the same one."""
    nonce = hashlib.sha256(f"{seed}\0{bound_to}".encode()).digest()[:_NONCE]
    filler = b"".join(hashlib.sha256(nonce + bytes([i])).digest() for i in range(3))
    core = b"\x01" + KEY_ID + nonce + _tag(nonce, bound_to) + filler
    envelope = _field(1, core)
    if generation >= 3:
        envelope = _field(2, envelope)
    return base64.b64encode(envelope).decode()


def judge(signature: str, bound_to: str) -> Verdict:
    """What the upstream makes of a signature it is handed on a part of kind `bound_to`.

    `foreign` is a well-formed signature of Google's that another project was given: accepted, as Google accepts its
    own. Everything else that is neither the emulator's nor a documented dummy is `corrupted`.
    """
    if signature in DUMMIES:
        return "dummy"
    raw = decode(signature)
    if raw is None:
        return "corrupted"
    if raw in [dummy.encode() for dummy in DUMMIES] or raw in [decode(dummy) for dummy in DUMMIES]:
        return "dummy"
    leaves = list(_leaves(raw, 0) or [])
    for leaf in leaves:
        if leaf[:5] == b"\x01" + KEY_ID:
            nonce, tag = leaf[5 : 5 + _NONCE], leaf[5 + _NONCE : 5 + _NONCE + _TAG]
            return "own" if hmac.compare_digest(tag, _tag(nonce, bound_to)) else "corrupted"
    return "foreign" if any(leaf[:1] == b"\x01" for leaf in leaves) else "corrupted"


def decode(text: str) -> bytes | None:
    """Base64 of either alphabet, padded or not; None when it is neither."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return None


def is_real(signature: str) -> bool:
    """Own or Google's: a signature that carries thoughts, which cost prompt tokens when they come back."""
    raw = decode(signature)
    return bool(raw) and any(leaf[:1] == b"\x01" for leaf in _leaves(raw or b"", 0) or [])


def _leaves(raw: bytes, depth: int) -> list[bytes] | None:
    """The opaque byte strings of a protobuf message, or None when `raw` is not one."""
    out: list[bytes] = []
    at = 0
    while at < len(raw):
        tag, at = raw[at], at + 1
        number, at = _read_varint(raw, at)
        if tag >> 3 == 0 or number is None or tag & 7 not in (0, 2):
            return None
        if tag & 7 == 0:
            continue
        if at + number > len(raw):
            return None
        chunk, at = raw[at : at + number], at + number
        inner = _leaves(chunk, depth + 1) if depth < 4 and chunk[:1] != b"\x01" else None
        out.extend(inner if inner is not None else [chunk])
    return out


def _read_varint(raw: bytes, at: int) -> tuple[int | None, int]:
    number = shift = 0
    while at < len(raw) and shift < 35:
        byte, at = raw[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    return None, at
