"""Turns of a conversation on their way to Gemini's strictly alternating `contents`."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from shared.gemini.catalog import Capabilities
from shared.gemini.types import Content, Part

CONTINUE = "Continue your last message from exactly where it ends. Do not repeat any of it and do not comment on this."


class Turn(Struct):
    """Parts of one role. `apart` keeps the turn from being merged into the one before it."""

    role: Literal["user", "model"]
    parts: list[Part] = field(default_factory=list)
    apart: bool = False


def alternate(turns: Sequence[Turn]) -> list[Content]:
    """`contents`: empty turns dropped, neighbours of one role merged, a user turn first.

    Empty parts are refused upstream, so the makers of parts leave them out; a turn without parts disappears here.
    """
    contents: list[Content] = []
    for turn in turns:
        if not turn.parts:
            continue
        if contents and contents[-1]["role"] == turn.role and not turn.apart:
            contents[-1]["parts"].extend(turn.parts)
        else:
            contents.append({"role": turn.role, "parts": list(turn.parts)})
    if contents and contents[0]["role"] == "model":
        contents.insert(0, {"role": "user", "parts": [{"text": " "}]})
    return contents


def finish_prefill(contents: list[Content], caps: Capabilities) -> str:
    """Makes a trailing model turn acceptable and returns the text that the answer may repeat, or "".

    Newer models refuse a final model turn (R24 of the Gemini reference): the turn stays, and a user turn that asks to
    go on is added to `contents`.
    """
    if caps.prefill or not contents or contents[-1].get("role") != "model":
        return ""
    prefix = "".join(part["text"] for part in contents[-1]["parts"] if "text" in part and not part.get("thought"))
    contents.append({"role": "user", "parts": [{"text": CONTINUE}]})
    return prefix
