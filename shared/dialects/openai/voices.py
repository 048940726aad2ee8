"""Voices of spoken answers: OpenAI's names, and the Gemini voices that stand in for them."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.openai.fields import invalid, string

DEFAULT = "Kore"  # what OpenAI's own default, alloy, maps to

_OPENAI = {
    "alloy": "Kore",
    "ash": "Charon",
    "ballad": "Algieba",
    "coral": "Aoede",
    "echo": "Puck",
    "fable": "Fenrir",
    "onyx": "Orus",
    "nova": "Leda",
    "sage": "Zephyr",
    "shimmer": "Callirrhoe",
    "verse": "Iapetus",
    "marin": "Sulafat",
    "cedar": "Alnilam",
}
_GEMINI = [
    "Zephyr",
    "Puck",
    "Charon",
    "Kore",
    "Fenrir",
    "Leda",
    "Orus",
    "Aoede",
    "Callirrhoe",
    "Autonoe",
    "Enceladus",
    "Iapetus",
    "Umbriel",
    "Algieba",
    "Despina",
    "Erinome",
    "Algenib",
    "Rasalgethi",
    "Laomedeia",
    "Achernar",
    "Alnilam",
    "Schedar",
    "Gacrux",
    "Pulcherrima",
    "Achird",
    "Zubenelgenubi",
    "Vindemiatrix",
    "Sadachbia",
    "Sadaltager",
    "Sulafat",
]
_VOICES = {**{name.lower(): name for name in _GEMINI}, **_OPENAI}


def gemini_voice(value: Any, param: str) -> str:
    """The Gemini voice for a client's `voice` (a name in any case, or `{id}`); an unknown one is refused."""
    if isinstance(value, Mapping):
        value, param = value.get("id"), f"{param}.id"
    voice = _VOICES.get(string(value, param).lower())
    if voice is None:
        raise invalid("This voice is not known.", param)
    return voice
