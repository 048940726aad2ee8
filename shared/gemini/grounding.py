"""`groundingMetadata` as citations with character offsets, how many searches it stands for, and the links in it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import structs

from shared.events import Citation, JsonObject

# Sources of a web search are named by links that lead through here; their titles are the hosts of the pages.
REDIRECT_HOST = "vertexaisearch.cloud.google.com"

_REDIRECT = rf"https://{re.escape(REDIRECT_HOST)}(/[!-~]{{0,4000}})"
# The kinds of a grounding chunk that hold a link, in the order of preference.
_SOURCES = ("web", "maps", "image", "retrievedContext")
_LINKS = ("uri", "sourceUri")


class TextMap:
    """The visible text of one upstream call and where its parts begin, to turn byte offsets into character offsets.

    `part_starts` holds, for each part of the merged candidate, the character at which it starts in the visible text, or
    None for a part that shows no text.
    """

    def __init__(self, text: str, part_starts: Sequence[int | None], offset: int) -> None:
        self._text = text
        self._encoded = text.encode("utf-8", "surrogatepass")
        self._part_starts = part_starts
        self._offset = offset

    def span(self, segment: Mapping[str, Any]) -> tuple[int, int] | None:
        """(start, end) in characters of all visible text of the answer.

        Offsets are UTF-8 bytes. In every recorded reply `partIndex` is absent and they count from the start of the
        visible text, thoughts and tool parts before it notwithstanding; a `partIndex` that is given is read as the part
        of the merged candidate. The segment's own text decides where the two disagree.
        """
        first, last = _offset(segment.get("startIndex")), _offset(segment.get("endIndex"))
        quoted = segment.get("text")
        bases = [self._part_base(segment.get("partIndex")), 0]
        spans = [self._characters(base, first, last) for base in bases if base is not None]
        if isinstance(quoted, str) and quoted:
            for start, end in spans:
                if self._text[start:end] == quoted:
                    return start + self._offset, end + self._offset
            at = self._text.find(quoted)
            if at >= 0:
                return at + self._offset, at + len(quoted) + self._offset
        start, end = spans[0]
        return (start + self._offset, end + self._offset) if end > start else None

    def _part_base(self, index: Any) -> int | None:
        """The byte at which a part starts in the visible text."""
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(self._part_starts):
            return None
        start = self._part_starts[index]
        return None if start is None else len(self._text[:start].encode("utf-8", "surrogatepass"))

    def _characters(self, base: int, first: int, last: int) -> tuple[int, int]:
        start = len(self._encoded[: base + first].decode("utf-8", "ignore"))
        return start, start + len(self._encoded[base + first : base + last].decode("utf-8", "ignore"))


def citations(metadata: Mapping[str, Any], text_map: TextMap) -> list[Citation]:
    """One citation per support and source, in the upstream's order."""
    sources = [_source(chunk) for chunk in _objects(metadata.get("groundingChunks"), keep_place=True)]
    found: list[Citation] = []
    for support in _objects(metadata.get("groundingSupports")):
        segment = support.get("segment")
        span = text_map.span(segment) if isinstance(segment, Mapping) else None
        indices = support.get("groundingChunkIndices")
        for index in indices if span and isinstance(indices, list) else []:
            source = sources[index] if isinstance(index, int) and 0 <= index < len(sources) else None
            if span and source:
                found.append(Citation(span[0], span[1], *source))
    return found


def search_queries(metadata: Mapping[str, Any], *, pages_read: bool) -> tuple[int, int]:
    """How many searches the upstream bills, on the web and on maps; at least one where an answer is grounded on either.
    An answer has one of them: Maps tells its queries as the web does. `pages_read`: the sources may be pages that the
    request named, which cost their tokens and no search."""
    queries = 0
    for name in ("webSearchQueries", "imageSearchQueries"):
        listed = metadata.get(name)
        queries += sum(1 for query in listed if query) if isinstance(listed, list) else 0
    kinds = {kind for chunk in _objects(metadata.get("groundingChunks")) for kind in chunk}
    if "image" in kinds or ("web" in kinds and (queries or not pages_read)):
        return queries or 1, 0
    return (0, queries or 1) if "maps" in kinds else (queries, 0)


def redirect_path(url: str) -> str | None:
    """Path and query of a redirect of Google's, as they may stand in a request line; None for any other link."""
    found = re.fullmatch(_REDIRECT, url)
    return found[1] if found else None


def redirects(cited: Iterable[Citation], metadata: JsonObject) -> list[str]:
    """The redirects of Google's that an answer names, in its citations or in the `metadata` of its end, each once."""
    links = [item.url for item in cited]
    for chunk in _objects(_grounding(metadata).get("groundingChunks")):
        links += [source[name] for source in _sources(chunk) for name in _LINKS if isinstance(source.get(name), str)]
    return [link for link in dict.fromkeys(links) if redirect_path(link) is not None]


def retarget(cited: Iterable[Citation], targets: Mapping[str, str]) -> list[Citation]:
    """The citations with links replaced by where they lead, as far as `targets` knows."""
    return [structs.replace(item, url=targets.get(item.url, item.url)) for item in cited]


def retarget_metadata(metadata: JsonObject, targets: Mapping[str, str]) -> JsonObject:
    """The same for the `metadata` of an end, which is left as it is itself."""
    grounding = _grounding(metadata)
    chunks = grounding.get("groundingChunks")
    if not isinstance(chunks, list):
        return metadata
    changed = [_retargeted(chunk, targets) for chunk in chunks]
    return {**metadata, "groundingMetadata": {**grounding, "groundingChunks": changed}}


def _retargeted(chunk: Any, targets: Mapping[str, str]) -> Any:
    if not isinstance(chunk, Mapping):
        return chunk
    return {
        kind: {
            name: targets.get(value, value) if name in _LINKS and isinstance(value, str) else value
            for name, value in source.items()
        }
        if kind in _SOURCES and isinstance(source, Mapping)
        else source
        for kind, source in chunk.items()
    }


def _grounding(metadata: JsonObject) -> Mapping[str, Any]:
    grounding = metadata.get("groundingMetadata")
    return grounding if isinstance(grounding, Mapping) else {}


def _sources(chunk: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in _SOURCES:
        if isinstance(source := chunk.get(kind), Mapping):
            yield source


def _source(chunk: Mapping[str, Any]) -> tuple[str, str] | None:
    """(url, title) of a grounding chunk; file search has a title without a link."""
    for source in _sources(chunk):
        url = source.get("uri") or source.get("sourceUri") or ""
        title = source.get("title") or ""
        if isinstance(url, str) and isinstance(title, str) and (url or title):
            return url, title
    return None


def _objects(listed: Any, *, keep_place: bool = False) -> list[Mapping[str, Any]]:
    items = listed if isinstance(listed, list) else []
    return [item if isinstance(item, Mapping) else {} for item in items if keep_place or isinstance(item, Mapping)]


def _offset(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
