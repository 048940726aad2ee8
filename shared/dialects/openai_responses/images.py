"""The image tool's wishes as the chat form's `image_config`."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.openai.fields import string
from shared.dialects.openai.image_sizes import image_config
from shared.dialects.openai.notes import Notes
from shared.gemini.catalog import ResolvedModel

_IGNORED = ("background", "input_fidelity", "input_image_mask", "moderation", "output_compression", "partial_images")
_FORMATS = (None, "png", "jpeg")  # the picture is of the one that the model makes


def drawn(tool: Mapping[str, Any], where: str, model: ResolvedModel, notes: Notes) -> dict[str, Any]:
    """`{aspect_ratio, image_size}` for the tool's `size` and `quality`, each where it is not left to the model."""
    for name in _IGNORED:
        if tool.get(name) not in (None, "auto", 0):
            notes.ignored(f"{where}.{name}")
    if tool.get("output_format") not in _FORMATS:
        notes.ignored(f"{where}.output_format")
    size, quality = (_word(tool, name, where) for name in ("size", "quality"))
    config = image_config(size, quality, model, f"{where}.size")
    names = {"aspect_ratio": "aspectRatio", "image_size": "imageSize"}
    return {name: config[wire] for name, wire in names.items() if wire in config}


def _word(tool: Mapping[str, Any], name: str, where: str) -> str:
    value = tool.get(name)
    return "auto" if value is None else string(value, f"{where}.{name}")
