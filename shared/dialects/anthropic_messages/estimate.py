"""A local estimate of a prompt's tokens, for answers that cannot wait for the upstream's count."""

from typing import Any

from shared.gemini.types import GenerateContentRequest

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MEDIUM = 258  # one image tile or one page of a document
_MEDIA = ("inlineData", "fileData")
_UNREAD = ("role", "thoughtSignature")
_FRAME = ("text", "parts")  # names of the request's own structure, where nearly all of the prompt stands


def estimate_tokens(request: GenerateContentRequest) -> int:
    """Characters / 4 of every name, text and number that the model reads, plus 258 for each image or document; at least
    1."""
    characters = media = 0
    todo: list[Any] = [request.get(name) for name in ("systemInstruction", "tools", "contents")]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, dict):
            for name, member in item.items():
                if name in _FRAME:
                    todo.append(member)
                elif name in _MEDIA:
                    media += 1
                elif name not in _UNREAD:
                    characters += len(name)
                    todo.append(member)
        elif item is not None:
            characters += len(str(item))
    return max(1, characters // _CHARACTERS_PER_TOKEN + media * _TOKENS_PER_MEDIUM)
