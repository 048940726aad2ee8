"""Images and documents as Gemini parts. Nothing is fetched: a public link goes upstream as it is. A GIF in the request
itself becomes a PNG."""

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.dialects.anthropic_messages.fields import blocks, filled, invalid, mapping, optional_string, string
from shared.dialects.anthropic_messages.stills import Stills
from shared.gemini.file_links import KEPT_FILE
from shared.gemini.media_types import normalise_mime, sniff
from shared.gemini.parts import media_part
from shared.gemini.public_urls import is_gemini_file
from shared.gemini.types import Part

_DATA_URL = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_SPACE = str.maketrans("", "", " \t\r\n")
_HEAD = 2048  # base64 characters: more than any magic number needs, and a multiple of 4


def image(block: Mapping[str, Any], where: str, stills: Stills) -> Part:
    """The part of an `image` block. Its type is what the first bytes say, because clients mislabel screenshots."""
    param = f"{where}.source"
    source = mapping(block.get("source"), param)
    kind = source.get("type")
    if kind == "base64":
        return _inline(source, param, "image/", stills)
    if kind == "url":
        return _linked(source, param, "image/jpeg", stills)
    if kept := _kept(source, param):
        return kept
    raise _unknown_source(kind, param)


def document(block: Mapping[str, Any], where: str, stills: Stills) -> Iterator[Part]:
    """The parts of a `document` block: its title and context as text, then the file; text documents as one text."""
    param = f"{where}.source"
    source = mapping(block.get("source"), param)
    heading = "\n".join(
        text for name in ("title", "context") if (text := optional_string(block.get(name), f"{where}.{name}"))
    )
    kind = source.get("type")
    if kind == "text":
        text = "\n".join(piece for piece in (heading, string(source.get("data"), f"{param}.data")) if piece)
        if text:
            yield {"text": text}
        return
    if heading:
        yield {"text": heading}
    if kind == "base64":
        yield _inline(source, param, "", stills)
    elif kind == "url":
        yield _linked(source, param, "application/pdf", stills)
    elif kind == "content":
        yield from _nested(source.get("content"), f"{param}.content", stills)
    elif kept := _kept(source, param):
        yield kept
    else:
        raise _unknown_source(kind, param)


def search_result(block: Mapping[str, Any], where: str) -> Iterator[Part]:
    """A `search_result` block as one text: title, source, content."""
    pieces = [optional_string(block.get(name), f"{where}.{name}") for name in ("title", "source")]
    for param, item in blocks(block.get("content"), f"{where}.content"):
        pieces.append(optional_string(item.get("text"), f"{param}.text"))
    text = "\n".join(piece for piece in pieces if piece)
    if text:
        yield {"text": text}


def text_part(block: Mapping[str, Any], where: str) -> list[Part]:
    """The text as it stands, white space included; an empty one is refused upstream and left out."""
    text = string(block.get("text"), f"{where}.text")
    return [{"text": text}] if text else []


def _nested(content: Any, where: str, stills: Stills) -> Iterator[Part]:
    for param, item in blocks(content, where):
        if item.get("type") == "text":
            yield from text_part(item, param)
        elif item.get("type") == "image":
            yield image(item, param, stills)
        else:
            raise invalid("Input should be 'text' or 'image'", f"{param}.type")


def _inline(source: Mapping[str, Any], param: str, family: str, stills: Stills) -> Part:
    where = f"{param}.data"
    data = _DATA_URL.sub("", filled(source.get("data"), where), count=1).translate(_SPACE)
    stated = normalise_mime(optional_string(source.get("media_type"), f"{param}.media_type"))
    part = media_part(data, mime=_proven(data) or stated, param=where)
    if "inlineData" not in part or not part["inlineData"]["mimeType"].startswith(family):
        raise invalid("The data is not of a supported type", where)
    return stills.still(part, where)


def _proven(data: str) -> str | None:
    """What the first bytes prove; broken base64 proves nothing and is refused by who decodes it all."""
    head = data[:_HEAD]
    try:
        return sniff(binascii.a2b_base64(head + "=" * (-len(head) % 4)))
    except ValueError:
        return None


def _linked(source: Mapping[str, Any], param: str, fallback: str, stills: Stills) -> Part:
    where = f"{param}.url"
    url = filled(source.get("url"), where).strip()
    if _DATA_URL.match(url):
        return stills.still(media_part(url, mime=None, param=where), where)
    if not url.lower().startswith("https://"):
        raise invalid("Only HTTPS URLs are supported", where)
    part = media_part(url, mime=None, param=where)
    if "mimeType" not in part["fileData"] and not is_gemini_file(url):
        return {"fileData": {"mimeType": fallback, "fileUri": url}}
    return part


def _kept(source: Mapping[str, Any], param: str) -> Part | None:
    """A file that the client left at the gateway: by OpenAI's API, for there is none of Anthropic's here."""
    file_id = source.get("file_id")
    if source.get("type") == "file" and isinstance(file_id, str) and KEPT_FILE.fullmatch(file_id):
        return media_part(file_id, mime=None, param=f"{param}.file_id")
    return None


def _unknown_source(kind: Any, param: str) -> Exception:
    if kind == "file":
        return invalid("Files are not supported here: send the content as base64 or by URL", param)
    return invalid("Input should be one of the source types base64, url, text or content", f"{param}.type")
