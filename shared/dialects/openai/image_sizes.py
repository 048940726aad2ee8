"""OpenAI's pixels in Gemini's words: an aspect ratio, and one of four sizes."""

import math
import re
from typing import Any, Final

from shared.dialects.openai.fields import invalid
from shared.gemini.catalog import ResolvedModel

_PIXELS = r"([1-9]\d{0,4})x([1-9]\d{0,4})"
_RATIO = r"(\d{1,2}):(\d{1,2})"

# what each of OpenAI's own sizes is nearest to
_EXACT: Final = {
    "1024x1024": "1:1",
    "512x512": "1:1",
    "256x256": "1:1",
    "1536x1024": "3:2",
    "1024x1536": "2:3",
    "1792x1024": "16:9",
    "1024x1792": "9:16",
}
_RATIOS: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_WIDE_RATIOS: Final = ("1:4", "4:1", "1:8", "8:1")  # not on 2.5
_TIERS: Final = ("512", "1K", "2K", "4K")
_BELOW: Final = ((768, "512"), (1536, "1K"), (3072, "2K"))  # geometric mean of the sides in pixels
_RAISING: Final = frozenset({"hd", "high", "xhigh", "max"})


def image_config(size: str, quality: str, model: ResolvedModel, param: str = "size") -> dict[str, Any]:
    """`imageConfig` for a client's `size` (`1024x1536`, `16:9` or `auto`) and `quality`; empty where the model decides.

    Raises GatewayError `invalid_request` for a size that is none; `param` is where the client said it.
    """
    config: dict[str, Any] = {}
    tier = ""
    if size != "auto":
        pixels = re.fullmatch(_PIXELS, size)
        if pixels:
            width, height = int(pixels[1]), int(pixels[2])
            config["aspectRatio"] = _EXACT.get(size) or _nearest(width / height, model)
            tier = _tier(math.sqrt(width * height))
        elif re.fullmatch(_RATIO, size):
            config["aspectRatio"] = aspect_ratio(size, param, model)
        else:
            raise invalid("Expected a size such as 1024x1024, or auto.", param)
    if quality in _RAISING and tier in ("", "512", "1K"):
        tier = "2K"
    if fitting := _fitting(tier, model):
        config["imageSize"] = fitting
    return config


def aspect_ratio(text: str, param: str, model: ResolvedModel) -> str:
    """One of the model's ratios, the nearest one for any other."""
    match = re.fullmatch(_RATIO, text)
    if not match or not int(match[1]) or not int(match[2]):
        raise invalid("Expected an aspect ratio such as 16:9.", param)
    return text if text in _ratios(model) else _nearest(int(match[1]) / int(match[2]), model)


def _ratios(model: ResolvedModel) -> tuple[str, ...]:
    return _RATIOS if model.capabilities.family.startswith("2.") else _RATIOS + _WIDE_RATIOS


def _nearest(ratio: float, model: ResolvedModel) -> str:
    def distance(name: str) -> float:
        width, _, height = name.partition(":")
        return abs(math.log(ratio * int(height) / int(width)))

    return min(_ratios(model), key=distance)


def _tier(pixels: float) -> str:
    return next((name for below, name in _BELOW if pixels < below), "4K")


def _tiers(model: ResolvedModel) -> tuple[str, ...]:
    """The sizes a model takes; none where it has no such setting."""
    if model.capabilities.family.startswith("2."):
        return ()
    if "flash-lite-image" in model.effective:
        return ("1K",)
    return _TIERS if "3.1-flash-image" in model.effective else _TIERS[1:]


def _fitting(tier: str, model: ResolvedModel) -> str:
    """The tier, else the model's nearest one; empty where nothing is to be sent."""
    have = _tiers(model)
    if not tier or not have:
        return ""
    return min(have, key=lambda name: abs(_TIERS.index(name) - _TIERS.index(tier)))
