"""`truncation: auto`: a conversation that outgrew the model loses its oldest turns."""

import json
from collections.abc import Sequence
from typing import Any

from shared.dialects.openai.messages import Message

_CHARACTERS_PER_TOKEN = 4
_MEDIA_TOKENS = 1_500
_LONG_DATA = 20_000  # characters; longer strings are taken for media, not for text
_SHARE = 0.95  # an estimate must not stand on the edge


def fitting(messages: Sequence[Message], limit: int) -> list[Message]:
    """The messages without the oldest turns, where all would not fit into `limit` tokens. System messages at the start
    stay; a turn goes whole, from one user message to the next, so that calls keep their results."""
    sizes = [_tokens(message) for message in messages]
    first = next((place for place, message in enumerate(messages) if message.role not in ("system", "developer")), 0)
    excess = sum(sizes) - int(limit * _SHARE)
    starts = [place for place in range(first, len(messages)) if _begins_turn(messages, place)]
    cut = first
    for start in starts[1:]:
        if excess <= 0:
            break
        excess -= sum(sizes[cut:start])
        cut = start
    return [*messages[:first], *messages[cut:]]


def _begins_turn(messages: Sequence[Message], place: int) -> bool:
    return messages[place].role == "user" and (place == 0 or messages[place - 1].role != "user")


def _tokens(message: Message) -> int:
    total = 0
    todo: list[Any] = [message.body]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        else:
            size = len(item) if isinstance(item, str) else len(json.dumps(item, default=str))
            media = size > _LONG_DATA and isinstance(item, str) and " " not in item[:_LONG_DATA]
            total += _MEDIA_TOKENS if media else size // _CHARACTERS_PER_TOKEN + 1
    return total
