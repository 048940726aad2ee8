"""Media from clients as Gemini parts: data URLs, bare base64 and public links, decided by MIME type.

Nothing is fetched here. A link is judged by its spelling only (the guarded fetcher judges what a name resolves to) and
goes upstream as `fileData.fileUri`, which Google fetches itself.
"""

import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

from shared.errors import GatewayError
from shared.gemini.file_links import KEPT_FILE, KEPT_OBJECT
from shared.gemini.media_types import accepted, by_filename, normalise_mime, sniff, suits
from shared.gemini.public_urls import is_gemini_file, is_youtube, refuse_unless_public
from shared.gemini.types import Part

__all__ = ["extract_markdown_images", "media_part", "normalise_mime", "sniff"]

FILES_ROOT = "https://generativelanguage.googleapis.com/v1beta/"

_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*):"
_FILE_NAME = r"files/[A-Za-z0-9_-]{1,128}"
_SPACE = str.maketrans("", "", " \t\r\n\f\v")
_STANDARD = str.maketrans("-_", "+/")
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_LONGEST_CAPTION = 2000


def media_part(url_or_data: str, *, mime: str | None, param: str, filename: str | None = None) -> Part:
    """One media part from a data URL, bare base64, a public http(s) link, a Gemini file name, or a file that the
    gateway keeps (`file-...`, or its place as `s3://...`).

    `mime` is what the client's field says where it says anything; a data URL's own type wins. `param` is the JSON path
    in the client's body, named by every `GatewayError`: `invalid_request` for bad media, `url_not_allowed` for a link
    that must not be followed. Inline data leaves as standard, padded base64.
    """
    text = url_or_data.strip()
    if not text:
        raise GatewayError("invalid_request", "The media is empty.", param=param)
    if re.fullmatch(_FILE_NAME, text):
        return _linked(FILES_ROOT + text, mime, None)
    if KEPT_FILE.fullmatch(text) or re.fullmatch(KEPT_OBJECT, text):
        return _linked(text, mime, None)  # the gateway puts the upstream's own name in its place
    scheme = re.match(_SCHEME, text)
    if scheme is None:
        return _inline(text, mime, filename, param)
    match scheme[1].lower():
        case "data":
            return _from_data_url(text, mime, filename, param)
        case "http" | "https":
            return _from_link(text, mime, filename, param)
        case "gs" | "s3":
            raise GatewayError("invalid_request", f"{scheme[1].lower()}:// links are not supported.", param=param)
    raise GatewayError("url_not_allowed", "Only http(s) links and data URLs are allowed here.", param=param)


def extract_markdown_images(text: str) -> list[str | Part]:
    """Assistant text cut at its markdown images `![..](data:<mime>;base64,..)`.

    Each becomes an inline part, because the base64 would otherwise be billed again as text. An image that is no valid
    media stays text, as the client wrote it. Linear in the length of the text.
    """
    pieces: list[str | Part] = []
    taken = 0
    at = text.find("](data:")
    while at >= 0:
        end = text.find(")", at)
        if end < 0:
            break
        start = text.rfind("![", max(taken, at - _LONGEST_CAPTION), at)
        if start >= 0 and (part := _markdown_image(text[at + 2 : end])) is not None:
            if text[taken:start]:
                pieces.append(text[taken:start])
            pieces.append(part)
            taken = end + 1
        at = text.find("](data:", end)
    if text[taken:] or not pieces:
        pieces.append(text[taken:])
    return pieces


def _markdown_image(url: str) -> Part | None:
    try:
        return media_part(url, mime=None, param="")
    except GatewayError:
        return None  # not media after all: the caller keeps the text


def _from_data_url(text: str, mime: str | None, filename: str | None, param: str) -> Part:
    head, comma, data = text[len("data:") :].partition(",")
    if not comma:
        raise GatewayError("invalid_request", "The data URL has no comma before its data.", param=param)
    fields = [field.strip() for field in head.split(";")]
    own = normalise_mime(";".join(field for field in fields if field.lower() != "base64"))
    is_base64 = any(field.lower() == "base64" for field in fields)
    if not is_base64 and own.startswith("text/"):
        decoded = unquote_to_bytes(data)
        if not decoded:
            raise GatewayError("invalid_request", "The media is empty.", param=param)
        return _inline(binascii.b2a_base64(decoded, newline=False).decode(), own, filename, param)
    if "%" in data:
        data = unquote(data)
    return _inline(data, mime if own in _UNTYPED else own, filename, param)


def _inline(data: str, mime: str | None, filename: str | None, param: str) -> Part:
    encoded, decoded = _decode(data, param)
    kind = normalise_mime(mime or "")
    if kind in _UNTYPED:
        kind = by_filename(filename) or sniff(decoded) or ""
    if not kind:
        raise GatewayError(
            "invalid_request", "The media type is not given and cannot be told from the data.", param=param
        )
    if not accepted(kind):
        raise GatewayError("invalid_request", f"Media of type {_shown(kind)} is not supported.", param=param)
    if not suits(kind, decoded):
        raise GatewayError(
            "invalid_request", f"The data is not of the type {_shown(kind)} that it claims.", param=param
        )
    return {"inlineData": {"mimeType": kind, "data": encoded}}


def _decode(data: str, param: str) -> tuple[str, bytes]:
    """(standard padded base64, its bytes). White space, the url-safe alphabet and missing padding are tolerated."""
    encoded = data.translate(_SPACE).translate(_STANDARD).rstrip("=")
    if not encoded:
        raise GatewayError("invalid_request", "The media is empty.", param=param)
    encoded += "=" * (-len(encoded) % 4)
    try:
        return encoded, binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:  # binascii.Error, and non-ASCII text
        raise GatewayError("invalid_request", "The media is not valid base64.", param=param) from error


def _from_link(url: str, mime: str | None, filename: str | None, param: str) -> Part:
    refuse_unless_public(url, param)
    if is_gemini_file(url) or is_youtube(url):
        return _linked(url, mime, None)
    path = url.partition("?")[0].partition("#")[0]
    own = None if path.lower().endswith(".php") else by_filename(path)  # a server's script is not what it sends
    return _linked(url, mime, own or by_filename(filename))


def _linked(uri: str, mime: str | None, fallback: str | None) -> Part:
    kind = normalise_mime(mime or "")
    kind = kind if accepted(kind) else fallback or ""
    return {"fileData": {"mimeType": kind, "fileUri": uri}} if kind else {"fileData": {"fileUri": uri}}


def _shown(kind: str) -> str:
    return re.sub(r"[^\w./+;=-]", "", kind)[:60]
