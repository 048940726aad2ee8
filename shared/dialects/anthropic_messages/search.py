"""Google's searches and fetches as Anthropic's server tool blocks, and cited text.

Gemini tells its sources at the very end (`groundingMetadata`, `urlContextMetadata`), Anthropic shows them before the
text that cites them. The parts of tools that Gemini ran itself travel in `encrypted_content`, which clients return.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote_plus, urlsplit

from msgspec import Struct

from shared.dialects.anthropic_messages.block_writer import BlockWriter, Citations
from shared.dialects.anthropic_messages.envelope import seal_parts
from shared.dialects.anthropic_messages.headers import rfc3339
from shared.dialects.anthropic_messages.ids import public_id
from shared.dialects.contract import ReplyContext
from shared.events import Citation, JsonObject
from shared.gemini.grounding import REDIRECT_HOST

_CITED_TEXT = 150  # characters
_FETCH_ERRORS = {
    "URL_RETRIEVAL_STATUS_ERROR": "url_not_accessible",
    "URL_RETRIEVAL_STATUS_PAYWALL": "url_not_accessible",
    "URL_RETRIEVAL_STATUS_UNSAFE": "url_not_allowed",
}


class Source(Struct, frozen=True):
    url: str
    title: str


class Searches(Struct, frozen=True):
    """What the upstream searched for, and the sources it names, each once. `parts` are its own `toolCall` and
    `toolResponse` parts, as they came."""

    queries: tuple[str, ...]
    sources: tuple[Source, ...]
    parts: tuple[JsonObject, ...]


def read_searches(metadata: JsonObject, parts: Sequence[JsonObject], blocked_domains: Sequence[str]) -> Searches:
    """`metadata` is that of the `End` event. Sources of a blocked domain are left out where their host is known."""
    grounding = metadata.get("groundingMetadata")
    grounding = grounding if isinstance(grounding, Mapping) else {}
    queries = _strings(grounding.get("webSearchQueries"))
    if not queries:
        queries = [query for part in parts for query in _strings(_search_arguments(part).get("queries"))]
    sources: dict[str, Source] = {}
    for chunk in _objects(grounding.get("groundingChunks")):
        web = chunk.get("web")
        source = _source(web) if isinstance(web, Mapping) else None
        if source and not is_blocked(source, blocked_domains):
            sources.setdefault(source.url, source)
    return Searches(tuple(queries), tuple(sources.values()), tuple(parts))


def is_blocked(source: Source, domains: Sequence[str]) -> bool:
    """`domains` as Anthropic's `blocked_domains`: a host, which means its subdomains too, or the start of a path on
    it."""
    host, path = _place(source)
    for entry in domains:
        domain, slash, start = entry.partition("/")
        inside = bool(domain) and (host == domain or host.endswith(f".{domain}"))
        if inside and (not slash or path.startswith(f"/{start}")):
            return True
    return False


def write_searches(writer: BlockWriter, searches: Searches, family: str, reply: ReplyContext) -> int:
    """One use per query, then one result block for the first of them: the upstream does not tell which query found
    what. The number of uses."""
    ids = [public_id("srvtoolu_", reply.request_id, "search", str(at)) for at in range(len(searches.queries))]
    for use_id, query in zip(ids, searches.queries, strict=True):
        writer.call({"type": "server_tool_use", "id": use_id, "name": "web_search"}, {"query": query})
    if ids:
        results = _results(searches, family)
        writer.whole({"type": "web_search_tool_result", "tool_use_id": ids[0], "content": results})
    return len(ids)


def write_failed_search(writer: BlockWriter, reply: ReplyContext) -> None:
    """The client asked for nothing but a search, and the upstream made none."""
    use_id = public_id("srvtoolu_", reply.request_id, "search", "0")
    writer.call({"type": "server_tool_use", "id": use_id, "name": "web_search"}, {"query": ""})
    failure = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    writer.whole({"type": "web_search_tool_result", "tool_use_id": use_id, "content": failure})


def write_fetches(writer: BlockWriter, metadata: JsonObject, reply: ReplyContext) -> int:
    """A use and a result for every page that the upstream fetched; it does not give their text. The number of uses."""
    context = metadata.get("urlContextMetadata")
    pages = _objects(context.get("urlMetadata")) if isinstance(context, Mapping) else []
    fetched = 0
    for page in pages:
        url = page.get("retrievedUrl")
        if not isinstance(url, str) or not url:
            continue
        use_id = public_id("srvtoolu_", reply.request_id, "fetch", str(fetched))
        fetched += 1
        writer.call({"type": "server_tool_use", "id": use_id, "name": "web_fetch"}, {"url": url})
        result = _fetch_result(url, str(page.get("urlRetrievalStatus")), reply)
        writer.whole({"type": "web_fetch_tool_result", "tool_use_id": use_id, "content": result})
    return fetched


class CitedText:
    """Cuts visible text, which `split` takes in order, at the borders of its citations. Where citations overlap, the
    common stretch has both."""

    def __init__(self, text: str = "", citations: Iterable[Citation] = (), sources: Sequence[Source] = ()) -> None:
        indices = {source.url: index for index, source in enumerate(sources)}
        self._spans = [
            (
                item.start,
                item.end,
                _location(sources[indices[item.url]], indices[item.url], text[item.start : item.end]),
            )
            for item in citations
            if item.url in indices
        ]
        self._borders = sorted({at for start, end, _ in self._spans for at in (start, end)})
        self._at = 0

    def split(self, text: str) -> list[tuple[str, Citations]]:
        start, end = self._at, self._at + len(text)
        self._at = end
        borders = [start, *(border for border in self._borders if start < border < end), end]
        return [(text[a - start : b - start], self._citations(a)) for a, b in pairwise(borders)]

    def _citations(self, at: int) -> Citations:
        return tuple(location for start, end, location in self._spans if start <= at < end)


def _location(source: Source, index: int, cited: str) -> Mapping[str, Any]:
    encrypted = base64.urlsafe_b64encode(str(index).encode()).decode()
    return {
        "type": "web_search_result_location",
        "url": source.url,
        "title": source.title,
        "encrypted_index": encrypted,
        "cited_text": cited[:_CITED_TEXT],
    }


def _results(searches: Searches, family: str) -> list[dict[str, Any]]:
    sources = searches.sources
    if not sources and searches.parts:
        # the parts must come back: the search itself stands in for the sources that the upstream does not name
        query = searches.queries[0]
        sources = (Source(f"https://www.google.com/search?q={quote_plus(query)}", query),)
    return [
        {
            "type": "web_search_result",
            "url": source.url,
            "title": source.title,
            "encrypted_content": seal_parts(family, searches.parts if position == 0 else ()),
            "page_age": None,
        }
        for position, source in enumerate(sources)
    ]


def _fetch_result(url: str, status: str, reply: ReplyContext) -> dict[str, Any]:
    if status in _FETCH_ERRORS:
        return {"type": "web_fetch_tool_result_error", "error_code": _FETCH_ERRORS[status]}
    source = {"type": "text", "media_type": "text/plain", "data": ""}
    document = {"type": "document", "source": source}
    return {"type": "web_fetch_result", "url": url, "content": document, "retrieved_at": rfc3339(reply.created)}


def _source(web: Mapping[str, Any]) -> Source | None:
    url, title = web.get("uri"), web.get("title")
    if not isinstance(url, str) or not url:
        return None
    return Source(url, title if isinstance(title, str) and title else url)


def _place(source: Source) -> tuple[str, str]:
    """(host, path) of the page, as far as they are known."""
    try:
        split = urlsplit(source.url)
        host = split.hostname or ""
    except ValueError:
        return "", ""
    if host == REDIRECT_HOST:  # the title is the host of the page behind it
        return source.title.strip().lower(), ""
    return host, split.path


def _search_arguments(part: JsonObject) -> Mapping[str, Any]:
    call = part.get("toolCall")
    if not isinstance(call, Mapping) or not str(call.get("toolType")).startswith("GOOGLE_SEARCH"):
        return {}
    args = call.get("args")
    return args if isinstance(args, Mapping) else {}


def _strings(listed: Any) -> list[str]:
    """Recorded lists of queries hold empty ones."""
    return [item for item in listed if isinstance(item, str) and item] if isinstance(listed, list) else []


def _objects(listed: Any) -> list[Mapping[str, Any]]:
    return [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
