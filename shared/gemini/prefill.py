"""A model turn at the end of the contents, for models that refuse one: it stays, and this turn follows."""

from shared.gemini.types import Content


def go_on() -> Content:
    return {
        "role": "user",
        "parts": [{"text": "Continue your last message exactly where it ends, without repeating any of it."}],
    }
