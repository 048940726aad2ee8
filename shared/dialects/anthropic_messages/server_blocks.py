"""Server tools in an assistant's history: Gemini's own parts again where ours can be told, else what was found, in
words."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.dialects.anthropic_messages.envelope import open_parts
from shared.dialects.anthropic_messages.fields import loose_objects
from shared.dialects.anthropic_messages.tool_choice import ToolPlan
from shared.gemini.types import Part

_CODE = "code_execution"
RESULTS = frozenset(
    {
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
    }
)


class ServerBlocks:
    """The server tool blocks of one assistant message, in order. `restored` gathers parts that belong before the text:
    a streamed answer shows its searches after it, although they came first."""

    def __init__(self, plan: ToolPlan, family: str) -> None:
        self._plan = plan
        self._family = family
        self._uses: dict[str, Mapping[str, Any]] = {}
        self.restored: list[Part] = []

    def use(self, block: Mapping[str, Any]) -> None:
        """A `server_tool_use`; one that never got a result says nothing."""
        self._uses[str(block.get("id"))] = block

    def result(self, block: Mapping[str, Any]) -> Iterator[Part]:
        kind = str(block["type"]).removesuffix("_tool_result")
        if kind == "web_search":
            yield from self._search(block)
            return
        use = self._uses.pop(str(block.get("tool_use_id")), {})
        given = use.get("input")
        arguments: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        content = block.get("content")
        found: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
        if kind == "web_fetch":
            yield _told("fetched", _string(arguments, "url") or _string(found, "url"), _page(found))
        elif kind == _CODE and "codeExecution" in self._plan.built_ins and _string(arguments, "code"):
            yield from _executed(_string(arguments, "code"), found)
        else:
            ran = _string(arguments, "code") or _string(arguments, "command") or json.dumps(dict(arguments))
            yield _told("ran", ran, _output(found) or _string(found, "error_code"))

    def _search(self, block: Mapping[str, Any]) -> Iterator[Part]:
        """One result block answers all searches before it (Gemini does not say which source came from which)."""
        searches = [key for key, use in self._uses.items() if use.get("name") == "web_search"]
        asked = [self._uses.pop(key).get("input") for key in searches]
        queries = [_string(item, "query") for item in asked if isinstance(item, Mapping)]
        content = block.get("content")
        results = loose_objects(content)
        if self._plan.mixed:  # else the upstream would refuse parts of a tool that it cannot show
            for item in results:
                parts = open_parts(item.get("encrypted_content"), self._family)
                if parts:
                    self.restored += [part for part in parts if part not in self.restored]
                    return
        found = [" ".join(text for name in ("title", "url") if (text := _string(item, name))) for item in results]
        failure = _string(content, "error_code") if isinstance(content, Mapping) else ""
        yield _told("searched", ", ".join(filter(None, queries)), "\n".join(filter(None, found)) or failure)


def _told(verb: str, what: str, found: str) -> Part:
    return {"text": f"{verb}: {what}; results: {found or 'none'}"}


def _executed(code: str, found: Mapping[str, Any]) -> Iterator[Part]:
    failed = found.get("return_code") != 0
    yield {"executableCode": {"language": "PYTHON", "code": code}}
    yield {
        "codeExecutionResult": {
            "outcome": "OUTCOME_FAILED" if failed else "OUTCOME_OK",
            "output": _output(found) or _string(found, "error_code"),
        }
    }


def _output(found: Mapping[str, Any]) -> str:
    pieces = (_string(found, name) for name in ("stdout", "stderr", "content"))
    return "\n".join(piece for piece in pieces if piece)


def _page(found: Mapping[str, Any]) -> str:
    """The text of a fetched page, its title, or the error."""
    page = found.get("content")
    if isinstance(page, Mapping):
        source = page.get("source")
        text = _string(source, "data") if isinstance(source, Mapping) and source.get("type") == "text" else ""
        return text or _string(page, "title")
    return _string(found, "error_code")


def _string(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""
