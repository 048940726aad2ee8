"""Imagen's `:predict`, which Google has shut down, on today's image models: one answer for every picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.gemini_native.canonical import camel, refused
from shared.errors import GatewayError
from shared.events import End, Event, Media
from shared.gemini.catalog import ResolvedModel
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import number_in

MAX_SAMPLES = 4
_RATIOS = frozenset(
    ("1:1", "1:4", "4:1", "1:8", "8:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
)
# what each model takes as imageSize; the others take all four
_SIZES = {"gemini-2.5-flash-image": (), "gemini-3.1-flash-lite-image": ("1K",)}
_ALL_SIZES = ("512", "1K", "2K", "4K")
_AT = "* PredictRequest.instances[0]"
_MOST_NAMED = 20  # more than Imagen ever had; they go into a header
_KNOWN = ("sampleCount", "aspectRatio", "imageSize", "sampleImageSize")


class Prediction(Struct, frozen=True):
    """`request` is asked `samples` times."""

    request: GenerateContentRequest
    samples: int
    warnings: list[str]


def read_predict(body: Mapping[str, Any], model: ResolvedModel) -> Prediction:
    """Raises `invalid_request`, and `model_not_found` for a model that makes no pictures."""
    if "IMAGE" not in model.capabilities.modalities:
        message = f"models/{model.id} is not found for API version v1beta, or is not supported for predict."
        raise GatewayError("model_not_found", message, param="model")
    parameters = {camel(name): value for name, value in _mapping(body.get("parameters") or {}, "parameters").items()}
    ignored = [name for name in parameters if name not in _KNOWN and _may_be_named(name)]
    warnings = [f"ignored:parameters.{name}" for name in ignored[:_MOST_NAMED]]
    samples = _samples(parameters.get("sampleCount", 1))
    config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
    if image := _image_config(parameters, model.id, warnings):
        config["imageConfig"] = image
    request = {"contents": [{"role": "user", "parts": _parts(body.get("instances"))}], "generationConfig": config}
    return Prediction(request, samples, warnings)  # type: ignore[arg-type]


def prediction(events: Sequence[Event]) -> dict[str, Any]:
    """One entry of `predictions`: the last picture of an answer, or why there is none."""
    pictures = [event for event in events if isinstance(event, Media)]
    if pictures:
        return {"mimeType": pictures[-1].mime_type, "bytesBase64Encoded": pictures[-1].data}
    end = events[-1] if events and isinstance(events[-1], End) else None
    return {"raiFilteredReason": (end.message or end.reason) if end else "OTHER"}


def _may_be_named(name: str) -> bool:
    return name.isascii() and name.isidentifier() and len(name) <= 40


def _parts(instances: Any) -> list[dict[str, Any]]:
    if not isinstance(instances, list) or len(instances) != 1:
        raise refused("instances", "* PredictRequest.instances: exactly one instance is expected.")
    instance = _mapping(instances[0], "instances[0]")
    prompt = instance.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise refused("instances[0].prompt", f"{_AT}.prompt: a text is expected.")
    parts: list[dict[str, Any]] = [{"text": prompt}]
    if instance.get("referenceImages"):
        raise refused("instances[0].referenceImages", f"{_AT}.referenceImages: not supported: one image is.")
    if instance.get("mask"):
        raise refused("instances[0].mask", f"{_AT}.mask: not supported.")
    image = instance.get("image")
    if image:
        if not isinstance(image, Mapping) or not isinstance(image.get("bytesBase64Encoded"), str):
            raise refused("instances[0].image", f"{_AT}.image: bytesBase64Encoded is expected.")
        mime_type = image.get("mimeType") if isinstance(image.get("mimeType"), str) else "image/png"
        parts.append({"inlineData": {"mimeType": mime_type, "data": image["bytesBase64Encoded"]}})
    return parts


def _image_config(parameters: Mapping[str, Any], model_id: str, warnings: list[str]) -> dict[str, str]:
    config: dict[str, str] = {}
    ratio = parameters.get("aspectRatio")
    if ratio is not None:
        if not isinstance(ratio, str) or ratio not in _RATIOS:
            raise refused(
                "parameters.aspectRatio", f"* PredictRequest.parameters.aspectRatio: not supported: {ratio!a}"
            )
        config["aspectRatio"] = ratio
    size = parameters.get("imageSize", parameters.get("sampleImageSize"))
    if size is not None:
        if str(size).upper() in _SIZES.get(model_id, _ALL_SIZES):
            config["imageSize"] = str(size).upper()
        else:
            warnings.append("ignored:parameters.imageSize")
    return config


def _samples(value: Any) -> int:
    if isinstance(value, str):
        value = number_in(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SAMPLES:
        text = f"* PredictRequest.parameters.sampleCount: must be from 1 to {MAX_SAMPLES}."
        raise refused("parameters.sampleCount", text)
    return value


def _mapping(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refused(at, f"Invalid value at '{at}': an object is expected.")
    return value
