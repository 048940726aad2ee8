"""Content parts of messages as Gemini parts. What a part is, its MIME type says, not its `type`: vendors put sound and
video into `image_url` (OpenAI dialect reference, "Content parts")."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.openai.fields import either_case, invalid, mapping, number, string
from shared.gemini.catalog import Capabilities
from shared.gemini.file_links import KEPT_FILE
from shared.gemini.parts import media_part, normalise_mime
from shared.gemini.types import Part, VideoMetadata

_TEXT = ("text", "input_text", "output_text")
_IMAGE = ("image_url", "input_image")
_LINKED = ("audio_url", "video_url", "document_url")
_EMBEDDED = {"input_audio": "audio", "input_video": "video", "input_document": "text"}
_FILE = ("file", "input_file")
# What a client echoes of our own answers and cannot be sent without a signature.
_ECHOED_REASONING = ("reasoning", "thinking", "redacted_thinking")

# OpenAI's `detail`, in rising order, and Gemini's word for it. Which models have ULTRA_HIGH is not known as data.
_DETAIL = {
    "low": "MEDIA_RESOLUTION_LOW",
    "medium": "MEDIA_RESOLUTION_MEDIUM",
    "high": "MEDIA_RESOLUTION_HIGH",
    "original": "MEDIA_RESOLUTION_HIGH",
}
_RISING = tuple(_DETAIL)
_UPSTREAM_FILE = r"(?i:files/[A-Za-z0-9_-]+|https?://.+)"
_OFFSET = r"\d{1,7}(\.\d{1,9})?s"


class MadePart(Struct, frozen=True):
    """A content part that its dialect has already made; no JSON of a client can hold one."""

    part: Part


class ContentReader:
    """Reads the content of one request's messages. `resolution` is the highest `detail` of all images, as the word for
    `generationConfig.mediaResolution`, where the model has no resolution per part; else None."""

    def __init__(self, caps: Capabilities) -> None:
        self._caps = caps
        self._highest = -1

    @property
    def resolution(self) -> str | None:
        return _DETAIL[_RISING[self._highest]] if self._highest >= 0 else None

    def parts(self, content: Any, param: str, *, assistant: bool = False) -> list[Part]:
        """All parts of a message's `content`: a string, an array of parts, or None. Empty text is left out, because the
        upstream refuses it. `assistant` content may also hold refusals (text) and echoed reasoning (dropped)."""
        if content is None:
            return []
        if isinstance(content, str):
            return [{"text": content}] if content else []
        found: list[Part] = []
        for where, item in _items(content, param):
            if isinstance(item, MadePart):
                found.append(item.part)
                continue
            kind = item.get("type")
            if assistant and kind in _ECHOED_REASONING:
                continue
            if assistant and kind == "refusal":
                part = _text(item.get("refusal"), f"{where}.refusal")
            else:
                part = self._part(kind, item, where)
            if part is not None:
                found.append(part)
        return found

    def _part(self, kind: Any, item: Mapping[str, Any], where: str) -> Part | None:
        if kind in _TEXT:
            return _text(item.get("text"), f"{where}.text")
        if kind in _IMAGE:
            return self._image(item, where)
        if kind in _LINKED:
            return _linked(kind, item, where)
        if isinstance(kind, str) and kind in _EMBEDDED:
            return _embedded(kind, item, where)
        if kind in _FILE:
            return _file(item, where)
        raise invalid("This is no content part type that the gateway knows.", f"{where}.type")

    def _image(self, item: Mapping[str, Any], where: str) -> Part:
        source = item.get("image_url")
        if source is None and item.get("file_id") is not None:  # the form of `input_image`
            return _uploaded(item["file_id"], f"{where}.file_id")
        if isinstance(source, str):
            url, url_param, detail, holder = source, f"{where}.image_url", item.get("detail"), where
        else:
            holder = f"{where}.image_url"
            source = mapping(source, holder)
            url_param = f"{holder}.url"
            url, detail = string(source.get("url"), url_param), source.get("detail")
        part = _with_video_metadata(media_part(url, mime=None, param=url_param), item, source, where)
        return self._with_detail(part, detail, f"{holder}.detail")

    def _with_detail(self, part: Part, detail: Any, param: str) -> Part:
        if detail is None or detail == "auto":
            return part
        if not isinstance(detail, str) or detail not in _DETAIL:
            raise invalid("Expected one of low, high, auto, original.", param)
        if self._caps.media_resolution_per_part:
            return {**part, "mediaResolution": {"level": _DETAIL[detail]}}
        self._highest = max(self._highest, _RISING.index(detail))
        return part


def text_of(content: Any, param: str) -> list[str]:
    """The texts of content that may hold nothing else (system messages): not empty, in order."""
    if isinstance(content, str):
        return [content] if content else []
    texts: list[str] = []
    for where, item in _items(content, param) if content is not None else ():
        if isinstance(item, MadePart) or item.get("type") not in _TEXT:
            raise invalid("A system message can hold text only.", f"{where}.type")
        text = string(item.get("text"), f"{where}.text")
        if text:
            texts.append(text)
    return texts


def _items(content: Any, param: str) -> Iterator[tuple[str, Mapping[str, Any] | MadePart]]:
    """The parts of an array, each with its JSON path."""
    if not isinstance(content, list | tuple):
        raise invalid("Expected a string or an array of content parts.", param)
    for position, item in enumerate(content):
        where = f"{param}[{position}]"
        yield where, item if isinstance(item, MadePart) else mapping(item, where)


def _text(value: Any, param: str) -> Part | None:
    text = string(value, param)
    return {"text": text} if text else None


def _linked(kind: str, item: Mapping[str, Any], where: str) -> Part:
    source = item.get(kind)
    if isinstance(source, str):
        return _with_video_metadata(media_part(source, mime=None, param=f"{where}.{kind}"), item, None, where)
    source = mapping(source, f"{where}.{kind}")
    param = f"{where}.{kind}.url"
    part = media_part(string(source.get("url"), param), mime=None, param=param)
    return _with_video_metadata(part, item, source, where)


def _embedded(kind: str, item: Mapping[str, Any], where: str) -> Part:
    source = mapping(item.get(kind), f"{where}.{kind}")
    given = source.get("format")
    mime = None
    if given is not None:
        spelled = string(given, f"{where}.{kind}.format").strip().lower()
        mime = _media_type(_EMBEDDED[kind], spelled) if spelled else None
    param = f"{where}.{kind}.data"
    part = media_part(string(source.get("data"), param), mime=mime, param=param)
    return _with_video_metadata(part, item, source, where)


def _media_type(family: str, spelled: str) -> str:
    """The MIME type of a `format` word: of the part's own family where both know the word (`mp4`, `webm`)."""
    if "/" in spelled or spelled in ("pcm", "pcm16"):
        return normalise_mime(spelled)
    known = normalise_mime(spelled)
    if family == "text":
        return known if "/" in known else f"text/{spelled}"
    return normalise_mime(f"{family}/{spelled}")


def _file(item: Mapping[str, Any], where: str) -> Part:
    if item.get("file") is not None:
        where = f"{where}.file"
        item = mapping(item["file"], where)
    name = item.get("filename")
    filename = string(name, f"{where}.filename") if name is not None else None
    stated = item.get("format")
    mime = string(stated, f"{where}.format") if stated is not None else None
    for field in ("file_data", "file_url"):
        if item.get(field) is not None:
            param = f"{where}.{field}"
            return media_part(string(item[field], param), mime=mime, param=param, filename=filename)
    if item.get("file_id") is not None:
        return _uploaded(item["file_id"], f"{where}.file_id", mime)
    raise invalid("A file needs file_data or file_id.", where)


def _uploaded(value: Any, param: str, mime: str | None = None) -> Part:
    file_id = string(value, param)
    if not re.fullmatch(_UPSTREAM_FILE, file_id) and not KEPT_FILE.fullmatch(file_id):
        raise invalid("The file is not known. Send its content as file_data, or a Gemini file as files/<id>.", param)
    return media_part(file_id, mime=mime, param=param)


def _with_video_metadata(part: Part, item: Mapping[str, Any], source: Any, where: str) -> Part:
    """The part with `video_metadata` of the content part or of its media object, if there is any."""
    for holder in (item, source):
        given = either_case(holder).get("video_metadata") if isinstance(holder, Mapping) else None
        if given is not None:
            return {**part, "videoMetadata": video_metadata(given, f"{where}.video_metadata")}
    return part


def video_metadata(value: Any, param: str) -> VideoMetadata:
    """`{fps, start_offset, end_offset}` in either case; offsets are seconds, as a number or as `12.5s`."""
    members = either_case(mapping(value, param))
    metadata: VideoMetadata = {}
    if "start_offset" in members:
        metadata["startOffset"] = _offset(members["start_offset"], f"{param}.start_offset")
    if "end_offset" in members:
        metadata["endOffset"] = _offset(members["end_offset"], f"{param}.end_offset")
    if "fps" in members:
        metadata["fps"] = number(members["fps"], f"{param}.fps", 0, 24)
        if metadata["fps"] == 0:
            raise invalid("Expected a number above 0.", f"{param}.fps")
    return metadata


def _offset(value: Any, param: str) -> str:
    if isinstance(value, str):
        if not re.fullmatch(_OFFSET, value):
            raise invalid("Expected seconds, such as 12.5s.", param)
        return value
    return f"{number(value, param, 0, 9_999_999):g}s"
