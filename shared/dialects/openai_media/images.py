"""`/v1/images/generations`, `/edits` and `/variations`: one Gemini request per picture, all alike."""

import base64
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from shared.dialects.contract import RequestContext
from shared.dialects.openai.fields import either_case, invalid, mapping, sequence
from shared.dialects.openai.image_sizes import aspect_ratio, image_config
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Given
from shared.dialects.openai.safety import safety_settings
from shared.dialects.openai_media.members import Form, Members, Upload
from shared.gemini.catalog import ResolvedModel
from shared.gemini.file_links import KEPT_FILE
from shared.gemini.parts import media_part
from shared.gemini.types import GenerateContentRequest, GenerationConfig, Part

DEFAULT_MODEL: Final = "gemini-3.1-flash-image"  # where the client names none, as OpenAI allows
MAX_IMAGES: Final = 10
MAX_INPUTS: Final = 16
MAX_PARTIAL: Final = 3

_VARY: Final = "Make a variation of this image: the same subject and style, composed differently."
_MASK: Final = "The last image is a mask: change the first image only where the mask is transparent."
_MARKUP: Final = "The last image is the first one with marks drawn on it that show what to change; leave the marks out."
_QUALITIES: Final = {"hd": "high", "standard": "medium"}
_GENERATION: Final = {"temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed"}
_IMAGE: Final = {"aspect_ratio", "image_size"}
_TOOLS: Final = {"google_search": "googleSearch", "url_context": "urlContext"}

Family = Literal["image_generation", "image_edit"]


class ImageJob(Struct, frozen=True):
    """`count` equal calls of one request. `family` is the prefix of the stream's events; `size` and `quality` are
    echoed as OpenAI spells them."""

    request: GenerateContentRequest
    count: int
    family: Family
    stream: bool
    partial_images: int
    size: str
    quality: str
    warnings: tuple[str, ...]


def generation(body: Mapping[str, Any], context: RequestContext) -> ImageJob:
    """GatewayError `invalid_request` for what cannot be drawn; so `edit` and `variation`."""
    members = Members(body)
    return _job(members, [], _prompt(members), "image_generation", context)


def edit(body: Mapping[str, Any] | Form, context: RequestContext) -> ImageJob:
    """A form with files, or JSON with data URLs and public links in `images`, `image` and `mask`."""
    if isinstance(body, Form):
        members = Members(body.members(), in_form=True)
        images = _uploads(body, "image", "images")
        mask, markup = _uploads(body, "mask"), _uploads(body, "markup")
    else:
        members = Members(body)
        images = _linked(members, "images") + _linked(members, "image")
        mask, markup = _linked(members, "mask"), _linked(members, "markup")
    if not images:
        raise invalid("Expected an image to edit.", "image")
    if len(images) + len(mask) + len(markup) > MAX_INPUTS:
        raise invalid(f"Expected at most {MAX_INPUTS} images.", "image")
    parts, prompt, notes = images, _prompt(members), Notes(context.strict)
    for extra, name, line in ((markup, "markup", _MARKUP), (mask, "mask", _MASK)):
        if extra:  # the upstream has no such thing: one more picture, and a word about it
            parts = [*parts, *extra[-1:]]
            prompt = f"{prompt}\n\n{line}"
            notes.add("approximated", name)
    return _job(members, parts, prompt, "image_edit", context, notes)


def variation(form: Form, context: RequestContext) -> ImageJob:
    """An edit whose prompt is ours."""
    images = _uploads(form, "image")
    if not images:
        raise invalid("Expected an image to vary.", "image")
    return _job(Members(form.members(), in_form=True), images[:1], _VARY, "image_edit", context)


def _job(
    members: Members,
    images: list[Part],
    prompt: str,
    family: Family,
    context: RequestContext,
    notes: Notes | None = None,
) -> ImageJob:
    model, notes = context.model, notes or Notes(context.strict)
    if "IMAGE" not in model.capabilities.modalities:
        raise invalid("This model does not make images.", "model")
    count = members.whole("n", 1, 1, MAX_IMAGES)
    size, quality = members.text("size") or "auto", (members.text("quality") or "auto").lower()
    _check_format(members, notes)
    request: GenerateContentRequest = {
        "contents": [{"role": "user", "parts": [*images, {"text": prompt}]}],
        "generationConfig": _config(members, size, quality, model, notes),
    }
    given = members.raw("safety_settings")
    settings = Given(given, "safety_settings") if given is not None else None
    if safety := safety_settings(settings, off=context.safety_off, notes=notes):
        request["safetySettings"] = safety
    if tools := _tools(members, notes):
        request["tools"] = [{wire: {}} for wire in tools]  # type: ignore[misc]  # the names are those of Tool
    stream, partial = members.flag("stream"), members.whole("partial_images", 0, 0, MAX_PARTIAL)
    members.warn(notes)
    quality = _QUALITIES.get(quality, quality)
    return ImageJob(request, count, family, stream, partial, size, quality, tuple(notes.items))


def _prompt(members: Members) -> str:
    prompt = members.text("prompt")
    if not prompt.strip():
        raise invalid("Expected a text that is not empty.", "prompt")
    return prompt


def _check_format(members: Members, notes: Notes) -> None:
    """What is answered is base64 of the bytes that the model made; a wish for anything else is refused or named."""
    if members.word("response_format", ("url", "b64_json"), "b64_json") == "url":
        notes.add("adjusted", "response_format=b64_json")
    members.word("output_format", ("png", "jpeg"), "png")
    if members.word("background", ("transparent", "opaque", "auto"), "auto") == "transparent":
        notes.ignored("background")


def _config(members: Members, size: str, quality: str, model: ResolvedModel, notes: Notes) -> GenerationConfig:
    config: GenerationConfig = {"responseModalities": ["IMAGE"]}
    image = image_config(size, quality, model)
    own: dict[str, Any] = {}
    given = members.raw("generation_config")
    for name, value in either_case(mapping(given, "generation_config")).items() if given is not None else ():
        if name == "image_config":
            own |= either_case(mapping(value, "generation_config.image_config"))
        elif name in _GENERATION and model.capabilities.sampling:
            config[_GENERATION[name]] = value  # type: ignore[literal-required]  # the table's words are its keys
        else:
            notes.ignored(f"generation_config.{name}")
    if (top := members.raw("image_config")) is not None:
        own |= either_case(mapping(top, "image_config"))
    for name in ("aspect_ratio", "image_size"):
        if members.raw(name) is not None:
            own[name] = members.text(name)
    for name, value in own.items():
        if name not in _IMAGE or not isinstance(value, str):
            notes.ignored(name)
    if isinstance(ratio := own.get("aspect_ratio"), str):
        image["aspectRatio"] = aspect_ratio(ratio, "aspect_ratio", model)
    if isinstance(tier := own.get("image_size"), str):
        image["imageSize"] = tier.upper()
    if image:
        config["imageConfig"] = image
    return config


def _tools(members: Members, notes: Notes) -> list[str]:
    """Google's own tools by their wire names; pictures know no functions."""
    given = members.raw("tools")
    found: list[str] = []
    for at, item in enumerate(sequence(given, "tools") if given is not None else ()):
        for name in either_case(mapping(item, f"tools[{at}]")):
            if name in _TOOLS:
                found.append(_TOOLS[name])
            else:
                notes.ignored(f"tools[{at}].{name}")
    return list(dict.fromkeys(found))


def _uploads(form: Form, *names: str) -> list[Part]:
    return [_uploaded(upload, names[0]) for upload in form.uploads(*names)]


def _uploaded(upload: Upload, param: str) -> Part:
    if not upload.data:
        raise invalid("The file is empty.", param)
    encoded = base64.b64encode(upload.data).decode()
    return _picture(media_part(encoded, mime=upload.media_type, filename=upload.name, param=param), param)


def _linked(members: Members, name: str) -> list[Part]:
    """Pictures by data URL or public link: a string, `{image_url}`, or a list of these."""
    value = members.raw(name)
    if value is None:
        return []
    single = not isinstance(value, list)
    parts: list[Part] = []
    for at, item in enumerate([value] if single else value):
        path = name if single else f"{name}[{at}]"
        url: Any = item
        if isinstance(item, Mapping):
            path = f"{path}.image_url"
            url = item.get("image_url")
            url = url.get("url") if isinstance(url, Mapping) else url
            kept = item.get("file_id")
            if url is None and isinstance(kept, str) and KEPT_FILE.fullmatch(kept):
                url = kept
        if not isinstance(url, str):
            raise invalid("Expected an image's URL, or the id of a file that was uploaded here.", path)
        parts.append(_picture(media_part(url, mime=None, param=path), path))
    return parts


def _picture(part: Part, param: str) -> Part:
    blob: Mapping[str, Any] = part.get("inlineData") or part.get("fileData") or {}
    kind = blob.get("mimeType", "image/")  # a link need not say
    if not kind.startswith("image/"):
        raise invalid("Expected an image.", param)
    return part
