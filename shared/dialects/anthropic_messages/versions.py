"""What newer versions of Anthropic's API refuse; held against clients only where a deployment asks for it."""

import re
from collections.abc import Mapping
from typing import Any

from shared.dialects.anthropic_messages.fields import invalid, loose_objects

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")
_STRICTER_SINCE = "2026-10-21"
_SAMPLING = ("temperature", "top_p", "top_k")
_HOLDERS = ("search_result", "tool_result")


def check_version(body: Mapping[str, Any], version: str) -> None:
    """400 for the three things that the version of 2026-10-21 took away. A missing, older or undated version may still
    use them."""
    if not _DATED.fullmatch(version) or version < _STRICTER_SINCE:
        return
    for name in _SAMPLING:
        if name in body:
            raise invalid("is not supported by this API version", name)
    for place, message in enumerate(loose_objects(body.get("messages"))):
        for index, block in enumerate(loose_objects(message.get("content"))):
            param = f"messages[{place}].content[{index}]"
            if message.get("role") == "assistant" and block.get("type") == "document":
                raise invalid("Documents are not supported in assistant messages", f"{param}.type")
            if message.get("role") == "user" and _cited(block):
                raise invalid("Citations are not supported in user messages", f"{param}.citations")


def _cited(block: Mapping[str, Any]) -> bool:
    """A text block with citations, also inside a search result, which a tool may have returned."""
    items = [block]
    while items:
        item = items.pop()
        kind = item.get("type")
        if kind == "text" and isinstance(item.get("citations"), list) and item["citations"]:
            return True
        if kind in _HOLDERS:
            items += loose_objects(item.get("content"))
    return False
