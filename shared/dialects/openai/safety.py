"""`safetySettings`: the client's own, else what the deployment says."""

from shared.dialects.openai.fields import either_case, invalid, mapping, sequence, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Given
from shared.gemini.types import SafetySetting

# CIVIC_INTEGRITY is deprecated and never sent.
CATEGORIES = tuple(
    f"HARM_CATEGORY_{word}" for word in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
)
_THRESHOLDS = ("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF")
_CIVIC = "HARM_CATEGORY_CIVIC_INTEGRITY"


def safety_settings(given: Given | None, *, off: bool, notes: Notes) -> list[SafetySetting]:
    """One entry a category (the upstream refuses two), the last one wins; empty where nothing is to be sent."""
    if given is None:
        return [{"category": category, "threshold": "OFF"} for category in CATEGORIES] if off else []
    chosen: dict[str, str] = {}
    for position, item in enumerate(sequence(given.value, given.path)):
        where = f"{given.path}[{position}]"
        members = either_case(mapping(item, where))
        category = string(members.get("category"), f"{where}.category").upper()
        category = category if category.startswith("HARM_CATEGORY_") else f"HARM_CATEGORY_{category}"
        threshold = string(members.get("threshold"), f"{where}.threshold").upper()
        if threshold not in _THRESHOLDS:
            raise invalid(f"Expected one of {', '.join(_THRESHOLDS)}.", f"{where}.threshold")
        if category == _CIVIC:
            notes.ignored(f"{where}.category")
            continue
        if category not in CATEGORIES:
            raise invalid(f"Expected one of {', '.join(CATEGORIES)}.", f"{where}.category")
        chosen[category] = threshold
    return [{"category": category, "threshold": threshold} for category, threshold in chosen.items()]
