"""What the upstream's own tools did, as items."""

from collections.abc import Mapping
from typing import Any

from shared.events import CodeResult


def queries_of(part: Mapping[str, Any]) -> list[str] | None:
    """The queries of a `toolCall` part that searches the web; None for any other part."""
    call = part.get("toolCall")
    if not isinstance(call, Mapping) or not str(call.get("toolType", "")).startswith("GOOGLE_SEARCH"):
        return None
    args = call.get("args")
    queries = args.get("queries") if isinstance(args, Mapping) else None
    return [query for query in queries if isinstance(query, str)] if isinstance(queries, list) else []


def sources_of(grounding: object) -> list[dict[str, str]]:
    """The web pages behind an answer; none behind metadata of an unknown shape."""
    chunks = grounding.get("groundingChunks") if isinstance(grounding, Mapping) else None
    webs = [chunk.get("web") for chunk in chunks if isinstance(chunk, Mapping)] if isinstance(chunks, list) else []
    links = [web.get("uri") for web in webs if isinstance(web, Mapping)]
    return [{"type": "url", "url": link} for link in links if isinstance(link, str)]


def searches_of(grounding: object) -> list[str]:
    """What was searched for, in metadata of any shape."""
    queries = grounding.get("webSearchQueries") if isinstance(grounding, Mapping) else None
    return [query for query in queries if isinstance(query, str)] if isinstance(queries, list) else []


def web_search_item(item_id: str, queries: list[str], sources: list[dict[str, str]]) -> dict[str, Any]:
    action = {"type": "search", "query": queries[0] if queries else "", "queries": queries, "sources": sources}
    return {"id": item_id, "type": "web_search_call", "status": "completed", "action": action}


def code_outputs(result: CodeResult) -> list[dict[str, str]]:
    return [{"type": "logs", "logs": result.output}]
