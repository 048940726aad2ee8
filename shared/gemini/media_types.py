"""Which media Gemini takes, how clients spell the types, and what the first bytes say."""

import re

# Gemini API reference, "Limits and media". GIF is refused by older models only.
_ACCEPTED = frozenset(
    {
        *(f"image/{name}" for name in ("png", "jpeg", "webp", "heic", "heif", "gif")),
        *(f"audio/{name}" for name in ("wav", "mp3", "aiff", "aac", "ogg", "flac", "mp4", "opus", "webm")),
        *(f"video/{name}" for name in ("mp4", "mpeg", "mov", "avi", "x-flv", "mpg", "webm", "wmv", "3gpp")),
        "application/pdf",
    }
)
# Active content is refused as a file even though it is text: who wants a page read can paste its source.
_REFUSED_TEXT = frozenset({"text/html", "text/xhtml"})

_SPELLINGS = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/mpeg": "audio/mp3",
    "audio/mpeg3": "audio/mp3",
    "audio/mpga": "audio/mp3",
    "audio/x-mp3": "audio/mp3",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/aif": "audio/aiff",
    "audio/x-aac": "audio/aac",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/oga": "audio/ogg",
    "video/quicktime": "video/mov",
    "video/x-msvideo": "video/avi",
    "video/msvideo": "video/avi",
    "video/x-ms-wmv": "video/wmv",
    "video/flv": "video/x-flv",
    "video/3gp": "video/3gpp",
    "video/m4v": "video/mp4",
    "application/x-pdf": "application/pdf",
    # Structured text goes as text: the upstream has no type for it.
    "application/json": "text/plain",
    "application/x-ndjson": "text/plain",
    "application/yaml": "text/plain",
    "application/x-yaml": "text/plain",
    "application/toml": "text/plain",
    "application/javascript": "text/plain",
    "application/x-javascript": "text/plain",
    "application/typescript": "text/plain",
    "application/x-python": "text/plain",
    "application/x-sh": "text/plain",
    "application/sql": "text/plain",
    "application/xml": "text/xml",
    "application/rtf": "text/rtf",
    "application/csv": "text/csv",
}
_BARE = {
    **{name: f"image/{name}" for name in ("png", "jpeg", "jpg", "webp", "heic", "heif", "gif")},
    **{
        name: f"audio/{name}"
        for name in ("wav", "mp3", "mpga", "aiff", "aif", "aac", "ogg", "oga", "flac", "m4a", "opus")
    },
    **{
        name: f"video/{name}"
        for name in ("mp4", "mpeg", "mpg", "mov", "avi", "flv", "webm", "wmv", "3gpp", "3gp", "m4v")
    },
    "pdf": "application/pdf",
    **dict.fromkeys(("txt", "text", "log", "json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "sql"), "text/plain"),
    **dict.fromkeys(("py", "js", "mjs", "ts", "tsx", "jsx", "go", "rs", "java", "kt", "c", "h", "cc"), "text/plain"),
    **dict.fromkeys(("cpp", "hpp", "cs", "rb", "php", "swift", "sh", "bash", "tex", "srt", "vtt"), "text/plain"),
    "md": "text/markdown",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "xml": "text/xml",
    "css": "text/css",
    "rtf": "text/rtf",
    "html": "text/html",
    "htm": "text/html",
}
_RATE = r";\s*rate\s*=\s*(\d{4,6})"

# Types whose first bytes are certain: data that does not start so is not of the type.
_CERTAIN = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "audio/wav", "audio/flac", "audio/ogg"}
)
# Containers whose first bytes cannot tell sound from pictures.
_SAME_CONTAINER = (
    frozenset({"video/mp4", "video/mov", "video/3gpp", "audio/mp4", "audio/aac", "image/heic", "image/heif"}),
    frozenset({"video/webm", "audio/webm"}),
    frozenset({"audio/ogg", "audio/opus"}),
    frozenset({"video/mpeg", "video/mpg"}),
    frozenset({"audio/mp3", "audio/aac"}),
)
_HEADS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mp3"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/wmv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_BRANDS = {b"hei": "image/heic", b"hev": "image/heic", b"mif": "image/heif", b"msf": "image/heif"}
_MOVIE_BRANDS = {b"qt ": "video/mov", b"3gp": "video/3gpp", b"3g2": "video/3gpp", b"M4A": "audio/mp4"}


def normalise_mime(text: str) -> str:
    """The one spelling of a media type: lower case, no parameters, known synonyms merged, a bare subtype (`webp`) with
    its type. Raw PCM keeps its sample rate, which nothing else carries. Unknown types come back as they are."""
    lowered = text.strip().lower()
    kind = lowered.partition(";")[0].strip()
    if kind in ("audio/l16", "audio/pcm", "audio/pcm16", "pcm16", "pcm"):
        rate = re.search(_RATE, lowered)
        return f"audio/L16;rate={rate[1] if rate else 24000}"
    kind = _BARE.get(kind.removeprefix("."), kind)
    return _SPELLINGS.get(kind, kind)


def accepted(kind: str) -> bool:
    """Whether Gemini takes media of this normalised type."""
    if kind.startswith("text/"):
        return kind not in _REFUSED_TEXT and re.fullmatch(r"text/[a-z0-9.+-]{1,60}", kind) is not None
    return kind in _ACCEPTED or kind.startswith("audio/L16;")


def by_filename(name: str | None) -> str | None:
    """The normalised type that a file name or URL path ends with, if Gemini takes it."""
    stem, dot, extension = (name or "").rpartition(".")
    kind = normalise_mime(extension) if dot and stem and extension.lower() in _BARE else ""
    return kind if kind and accepted(kind) else None


def sniff(data: bytes) -> str | None:
    """The media type that the first bytes prove, or None."""
    for head, kind in _HEADS:
        if data.startswith(head):
            return kind
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if data[4:8] == b"ftyp":
        brand = data[8:11]
        return _BRANDS.get(brand) or _MOVIE_BRANDS.get(brand, "video/mp4")
    if b"%PDF-" in data[:1024]:  # readers allow a little junk before the header
        return "application/pdf"
    if len(data) > 1 and data[0] == 0xFF:
        if data[1] & 0xF6 == 0xF0:
            return "audio/aac"
        if data[1] & 0xE0 == 0xE0 and data[1] & 0x06:
            return "audio/mp3"
    return None


def suits(kind: str, data: bytes) -> bool:
    """Whether the bytes can be of the normalised type: a type with a certain start must have it, and no type may start
    like another one."""
    found = sniff(data)
    if found == kind:
        return True
    if found is None:
        return kind not in _CERTAIN
    if kind.startswith("audio/L16;"):
        return True  # raw samples may start with any bytes
    return any(kind in group and found in group for group in _SAME_CONTAINER)
