"""A local estimate of a prompt's tokens, for answers that cannot wait for the upstream's count."""

from collections.abc import Iterator
from typing import Any

from shared.gemini.types import GenerateContentRequest

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MEDIUM = 258  # one image tile or one page of a document
_MEDIA = ("inlineData", "fileData")
_UNREAD = ("role", "thoughtSignature")
_FRAME = ("parts", "text")  # names of the request's own structure, where nearly all of the prompt stands


def estimate_tokens(request: GenerateContentRequest) -> int:
    """Characters / 4, plus 258 for each image or document; at least 1."""
    characters = media = 0
    for name in ("systemInstruction", "tools", "contents"):
        for text in _strings(request.get(name)):
            if text is None:
                media += 1
            else:
                characters += len(text)
    return max(1, characters // _CHARACTERS_PER_TOKEN + media * _TOKENS_PER_MEDIUM)


def _strings(value: Any) -> Iterator[str | None]:
    """Every name, text and number below `value` that the model reads; None for a medium."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            for name, member in item.items():
                if name in _MEDIA:
                    yield None
                elif name not in _UNREAD:
                    if name not in _FRAME:
                        yield name
                    todo.append(member)
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, str):
            yield item
        elif item is not None:
            yield str(item)
