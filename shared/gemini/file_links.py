"""The `fileData` of a request: what it refers to, and the same request with some of it replaced."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from shared.gemini.public_urls import is_youtube
from shared.gemini.types import FileData, GenerateContentRequest

# what a client's upload to the gateway is called, and the same with its place in the gateway's own bucket
KEPT_FILE = re.compile(r"file-[A-Za-z0-9]{24}")
KEPT_OBJECT = r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([A-Za-z0-9_-]{1,64})/files/(file-[A-Za-z0-9]{24})"
# Google's host, or the loopback address of a gateway or an emulator
_UPSTREAM_FILE = (
    r"(?:(?i:https?://(?:generativelanguage\.[\w.]*googleapis\.com|127\.0\.0\.1|localhost|\[::1\]))(?::\d+)?"
    r"/(?:download/)?v1\w*/)?(files/[A-Za-z0-9_-]{1,128})(?::\w+)?"
)
_WITHOUT_URLS = ("gemini-1.", "gemini-2.0")  # Gemini API reference, "Limits and media"
_LIMIT = 64  # levels of a client's body, as many as its parser allows


def file_links(request: GenerateContentRequest) -> Iterator[FileData]:
    """Every `fileData` of the contents, the system instruction and the results of functions."""
    for part in _parts(request):
        file = part.get("fileData")
        if file is not None and isinstance(file, Mapping) and isinstance(file.get("fileUri"), str):
            yield cast(FileData, file)


def upstream_file(uri: str) -> str:
    """`files/x` where a link or a bare name is one of the Files API; else ""."""
    found = re.fullmatch(_UPSTREAM_FILE, re.split("[?#]", uri, maxsplit=1)[0])
    return found[1] if found else ""


def is_public_link(uri: str) -> bool:
    """A link that is somebody else's: neither the upstream's own file nor a video that it knows."""
    return uri.lower().startswith(("http://", "https://")) and not upstream_file(uri) and not is_youtube(uri)


def takes_urls(model_id: str) -> bool:
    """Whether the model's upstream fetches public https links by itself."""
    return not model_id.startswith(_WITHOUT_URLS)


def with_files(request: GenerateContentRequest, found: Mapping[str, Mapping[str, Any]]) -> GenerateContentRequest:
    """The request with `found[fileUri]`, `{"inlineData": ...}` or `{"fileData": ...}`, in place of each such link."""

    def part(given: Mapping[str, Any]) -> dict[str, Any]:
        uri = _uri(given)
        changed = dict(given)
        if uri in found:
            del changed["fileData"]
            changed |= found[uri]
        result = changed.get("functionResponse")
        if isinstance(result, Mapping) and isinstance(result.get("parts"), list):
            changed["functionResponse"] = {**result, "parts": [part(item) for item in result["parts"]]}
        return changed

    def content(given: Mapping[str, Any]) -> dict[str, Any]:
        return {**given, "parts": [part(item) for item in given.get("parts", ())]}

    changes: dict[str, Any] = {"contents": [content(item) for item in request.get("contents", ())]}
    if "systemInstruction" in request:
        changes["systemInstruction"] = content(request["systemInstruction"])
    return cast(GenerateContentRequest, {**request, **changes})


def path_of(body: Any, text: str) -> str | None:
    """The JSON path of the first string in a client's body that is this text, as errors name it."""
    stack: list[tuple[str, Any]] = [("", body)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str) and value.strip() == text:
            return path or None
        if path.count(".") + path.count("[") > _LIMIT:
            continue
        if isinstance(value, Mapping):
            stack += [(f"{path}.{name}" if path else str(name), item) for name, item in reversed(list(value.items()))]
        elif isinstance(value, list | tuple):
            stack += [(f"{path}[{at}]", value[at]) for at in range(len(value) - 1, -1, -1)]
    return None


def _parts(request: GenerateContentRequest) -> Iterator[Mapping[str, Any]]:
    contents: list[Any] = list(request.get("contents", ()))
    if "systemInstruction" in request:
        contents.append(request["systemInstruction"])
    for content in contents:
        for part in content.get("parts", ()):
            yield part
            result = part.get("functionResponse")
            if result is not None and isinstance(result, Mapping) and isinstance(result.get("parts"), list):
                yield from result["parts"]


def _uri(part: Mapping[str, Any]) -> str:
    file = part.get("fileData")
    uri = file.get("fileUri") if isinstance(file, Mapping) else None
    return uri if isinstance(uri, str) else ""
