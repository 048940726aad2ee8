"""Where chat clients bring thought signatures back, and how they spell them.

Gemini's signature has no place in OpenAI's protocol, so every bridge invented one (OpenAI dialect reference, "Thought
signatures"). All known places are read; the gateway itself writes only Google's
`extra_content.google.thought_signature`. What is not plausible base64 is no signature and is passed over.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from shared.gemini.signatures import is_dummy

_BASE64 = r"[A-Za-z0-9+/_-]{8,}={0,2}"
_STANDARD = str.maketrans("-_", "+/")
_LITELLM_MARK = "__thought__"  # also Antigravity
_BIFROST_MARK = "_ts_"
REASONING = frozenset(["reasoning_content", "reasoning", "reasoning_details"])  # of a message, that may hold thoughts
_CALL_MEMBERS = frozenset(["extra_content", "provider_specific_fields", "thought_signature"])
_MESSAGE_MEMBERS = frozenset(["provider_specific_fields", "extra_content", "reasoning_details"])
_SHORTEST_BIFROST = 16  # an honest id may hold `_ts_` too, with something short after it


class MessageSignatures(Struct, frozen=True):
    """What an assistant message says beside its calls: the signature of its text, those of calls by id, and those of
    calls in order that name no id."""

    text: str | None = None
    by_id: Mapping[str, str] = field(default_factory=dict)
    in_order: tuple[str, ...] = ()


def signature(value: Any) -> str | None:
    """The signature in standard padded base64 (a documented dummy as it is), or None where `value` cannot be one."""
    if not isinstance(value, str) or not re.fullmatch(_BASE64, value):
        return None
    if is_dummy(value):
        return value
    bare = value.rstrip("=").translate(_STANDARD)
    return None if len(bare) % 4 == 1 else bare + "=" * (-len(bare) % 4)


def split_id(call_id: str) -> tuple[str, str | None]:
    """(the id itself, the signature that a bridge hid in it)."""
    bare, mark, rest = call_id.partition(_LITELLM_MARK)
    if bare and mark:
        return bare, signature(rest)
    bare, mark, rest = call_id.rpartition(_BIFROST_MARK)
    if bare and mark and len(rest) >= _SHORTEST_BIFROST and (known := signature(rest)):
        return bare, known
    return call_id, None


def of_call(call: Mapping[str, Any]) -> str | None:
    """The signature on one entry of `tool_calls`, wherever it stands."""
    function = _object(call.get("function"))
    if not (_CALL_MEMBERS.isdisjoint(call) and _CALL_MEMBERS.isdisjoint(function)):
        found = (
            *_google(call),
            _object(call.get("provider_specific_fields")).get("thought_signature"),
            _object(function.get("provider_specific_fields")).get("thought_signature"),
            function.get("thought_signature"),
            call.get("thought_signature"),
        )
        for known in map(signature, found):
            if known:
                return known
    return split_id(call["id"])[1] if isinstance(call.get("id"), str) else None


def of_message(message: Mapping[str, Any], *, has_calls: bool) -> MessageSignatures:
    """The signatures that stand on the message itself.

    LiteLLM's list does not say whom it signs: with calls in the message its last ones are theirs, because an unsigned
    call is refused and unsigned text is not.
    """
    if _MESSAGE_MEMBERS.isdisjoint(message):
        return MessageSignatures()
    listed = _object(message.get("provider_specific_fields")).get("thought_signatures")
    loose = [known for known in map(signature, listed if isinstance(listed, list) else ()) if known]
    text = next((known for known in map(signature, _google(message)) if known), None)
    by_id: dict[str, str] = {}
    in_order: list[str] = []
    for call_id, known in _reasoning_details(message.get("reasoning_details")):
        if call_id:
            by_id.setdefault(call_id, known)
        else:
            in_order.append(known)
    if not has_calls:
        candidates = [*loose, *in_order]
        return MessageSignatures(text or (candidates[0] if candidates else None))
    if len(loose) > 1 and text is None and message.get("content"):
        text, loose = loose[0], loose[1:]
    return MessageSignatures(text, by_id, (*in_order, *loose))


def signed_reasoning(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(text, signature) of echoed thoughts that Gemini had signed, in OpenRouter's form."""
    for entry in _gemini_details(message.get("reasoning_details"), "reasoning.text"):
        text, known = entry.get("text"), signature(entry.get("signature"))
        if isinstance(text, str) and text and known:
            yield text, known


def reasoning_text(message: Mapping[str, Any]) -> str:
    """The thoughts that a client echoes as plain text, or ""."""
    given = (message.get("reasoning_content"), message.get("reasoning"))
    return next((text for text in given if isinstance(text, str) and text), "")


def _reasoning_details(details: Any) -> Iterator[tuple[str, str]]:
    """OpenRouter's encrypted entries as (call id or empty, signature)."""
    for entry in _gemini_details(details, "reasoning.encrypted"):
        known = signature(entry.get("data"))
        if known:
            call_id = entry.get("id")
            yield call_id if isinstance(call_id, str) else "", known


def _gemini_details(details: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """Entries of one type; those that name another vendor's format are worthless to Gemini."""
    for entry in map(_object, details if isinstance(details, list) else ()):
        if entry.get("type") == kind and "gemini" in str(entry.get("format") or "gemini"):
            yield entry


def _google(holder: Mapping[str, Any]) -> tuple[Any, Any]:
    google = _object(_object(holder.get("extra_content")).get("google"))
    return google.get("thought_signature"), google.get("thoughtSignature")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
