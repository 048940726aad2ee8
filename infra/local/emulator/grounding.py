"""Search grounding, URL context and the parts of server-side tools."""

from __future__ import annotations

import re
from typing import Any

from infra.local.emulator.models import Model
from infra.local.emulator.script import Step, last_user_text
from infra.local.emulator.validate import built_ins, declarations

type Json = dict[str, Any]

SOURCES = [
    {
        "web": {
            "uri": "https://vertexaisearch.cloud.google.com/grounding-api-redirect/EMULATED1",
            "title": "example.com",
        }
    },
    {
        "web": {
            "uri": "https://vertexaisearch.cloud.google.com/grounding-api-redirect/EMULATED2",
            "title": "example.org",
        }
    },
]


def add(extra: Json, body: Json, model: Model, step: Step, text: str) -> None:
    """Puts groundingMetadata and urlContextMetadata where the step or the request's tools call for them."""
    used = built_ins(body)
    spec = step.get("search", ("googleSearch" in used and not declarations(body)) or None)
    if spec == "empty":
        extra["groundingMetadata"] = {}
    elif spec and text:
        extra["groundingMetadata"] = metadata(text, queries(spec, last_user_text(body["contents"])))
    urls = re.findall(r"https?://[^\s)>\"']+", last_user_text(body["contents"])) if "urlContext" in used else []
    if urls:
        rows = [{"retrievedUrl": url, "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"} for url in urls]
        extra["urlContextMetadata"] = {"urlMetadata": rows}


def queries(spec: Any, text: str) -> list[str]:
    if isinstance(spec, dict) and spec.get("queries"):
        return [str(query) for query in spec["queries"]]
    return [" ".join(text.split()[:8]) or "query"]


def metadata(text: str, asked: list[str]) -> Json:
    """Two supports, one for each half of `text`; indices are UTF-8 bytes and a zero startIndex is absent."""
    middle = len(text) // 2
    halves = [(0, text[:middle]), (len(text[:middle].encode()), text[middle:])]
    supports = []
    for number, (start, half) in enumerate(halves):
        if not half:
            continue
        segment: Json = {"startIndex": start} if start else {}
        segment |= {"endIndex": start + len(half.encode()), "text": half}
        supports.append({"segment": segment, "groundingChunkIndices": [number]})
    entry = '<style>\n.container {\n  display: flex;\n}\n</style>\n<div class="container">Search</div>\n'
    return {
        "searchEntryPoint": {"renderedContent": entry},
        "groundingChunks": SOURCES,
        "groundingSupports": supports,
        "webSearchQueries": asked,
    }


def server_tool_parts(spec: Any) -> list[Json]:
    """toolCall and toolResponse of a search that ran on the server, next to declared functions (3.x)."""
    asked = queries(spec, "")
    call = {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": asked}}
    response = {"toolType": "GOOGLE_SEARCH_WEB", "response": {"search_suggestions": "<div>Search</div>"}}
    return [{"toolCall": call}, {"toolResponse": response}]
