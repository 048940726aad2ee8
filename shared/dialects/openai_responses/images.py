"""The image tool's sizes as Gemini's `imageConfig`."""

import math
import re
from collections.abc import Mapping
from typing import Any

from shared.dialects.openai.fields import invalid, string
from shared.dialects.openai.notes import Notes

_RATIOS = ((1, 1), (3, 2), (2, 3), (3, 4), (4, 3), (4, 5), (5, 4), (9, 16), (16, 9), (21, 9))
_SIZE = r"([1-9]\d{1,4})x([1-9]\d{1,4})"
_IGNORED = ("background", "input_fidelity", "input_image_mask", "moderation", "output_compression", "partial_images")
# What the documented sizes mean; everything else is the nearest ratio.
_EXACT = {"1792x1024": "16:9", "1024x1792": "9:16"}


def image_config(tool: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    """`{aspect_ratio}` for the tool's `size`; `auto` and no size leave it to the model."""
    for name in _IGNORED:
        if tool.get(name) not in (None, "auto", 0):
            notes.ignored(f"{where}.{name}")
    size = tool.get("size")
    if size is None or size == "auto":
        return {}
    text = string(size, f"{where}.size")
    sides = re.fullmatch(_SIZE, text)
    if sides is None:
        raise invalid("Expected auto or a size such as 1024x1024.", f"{where}.size")
    return {"aspect_ratio": _EXACT.get(text) or _nearest(int(sides[1]) / int(sides[2]))}


def _nearest(ratio: float) -> str:
    width, height = min(_RATIOS, key=lambda pair: abs(math.log(ratio * pair[1] / pair[0])))
    return f"{width}:{height}"
