"""Content blocks that say the same in every place: text, media, search results, and blocks that only carry text."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.dialects.anthropic_messages.fields import blocks, invalid, loose_objects
from shared.dialects.anthropic_messages.sources import document, image, search_result, text_part
from shared.dialects.anthropic_messages.stills import Stills
from shared.dialects.anthropic_messages.tools import reference_name
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import Part

# Blocks of tools that only Anthropic's servers run: what they say is kept, the rest means nothing here.
TEXT_ONLY = frozenset(
    {
        "tool_search_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
        "mcp_listing",
        "advisor_tool_result",
        "fallback",
        "browser_state",
    }
)
_MEDIA = ("image", "document", "container_upload")


class BlockReader:
    """The blocks of one request as parts; `names` spells tools as the upstream knows them."""

    def __init__(self, names: ToolNames) -> None:
        self._names = names
        self._stills = Stills()

    def parts(self, block: Mapping[str, Any], where: str) -> Iterator[Part]:
        """The parts of one block, none for an empty one. Raises invalid_request for a type that cannot stand here."""
        match block.get("type"):
            case "text":
                yield from text_part(block, where)
            case "image":
                yield image(block, where, self._stills)
            case "document":
                yield from document(block, where, self._stills)
            case "search_result":
                yield from search_result(block, where)
            case "tool_reference":
                yield from self._loaded([block])
            case "container_upload":
                raise invalid("Files in containers are not supported: send the content in the message", where)
            case str(kind) if kind in TEXT_ONLY:
                yield from spoken(block)
            case _:
                raise invalid("Content blocks of this type are not supported here", f"{where}.type")

    def result_parts(self, content: Any, where: str) -> list[Part]:
        """The parts of a tool result's `content`. References to loaded tools are gathered in one line, because a result
        of nothing else would be empty and the model would not learn that it may call them."""
        if content is None:
            return []
        found: list[Part] = []
        references: list[Mapping[str, Any]] = []
        for param, block in blocks(content, where):
            if block.get("type") == "tool_reference":
                references.append(block)
            else:
                found += self.parts(block, param)
        return [*self._loaded(references), *found]

    def _loaded(self, references: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
        names = [self._names.to_wire(name) for block in references if (name := reference_name(block))]
        if names:
            yield {"text": f"Tools loaded: {', '.join(names)}"}


def spoken(block: Mapping[str, Any]) -> Iterator[Part]:
    """Whatever text a block or its content holds, as one part."""
    text = plain_text(block)
    if text:
        yield {"text": text}


def plain_text(block: Mapping[str, Any]) -> str:
    own, content = block.get("text"), block.get("content")
    if isinstance(own, str):
        return own
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return plain_text(content) if not isinstance(content.get("content"), Mapping) else ""
    texts = (item.get("text") for item in loose_objects(content))
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def system_texts(content: Any, where: str) -> Iterator[str]:
    """The texts of a system prompt or system turn, not empty, in order. Media cannot stand there; what else clients
    invent counts as far as it has text."""
    for param, block in blocks(content, where) if content is not None else ():
        kind = block.get("type")
        if kind in _MEDIA:
            raise invalid("Input should be 'text'", f"{param}.type")
        found = text_part(block, param) if kind == "text" else spoken(block)
        yield from (part["text"] for part in found)
