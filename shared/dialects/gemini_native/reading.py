"""The upstream's bytes as objects, and as plain text where they are nothing else.

Almost every chunk of a stream is one piece of text and the counters so far: the gateway looks at the text, and at the
counters of the last one only.
"""

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from msgspec import Struct

from shared.errors import GatewayError
from shared.gemini.plain_text import NOT_PLAIN_TEXT, decode_plain_text
from shared.json_codec import decode_reply


class PlainTexts(Struct, frozen=True):
    """Some chunks of plain text of one response: how many they are, and what they say together."""

    count: int
    characters: int
    thought_characters: int
    model_version: str
    response_id: str


def plain_texts(raws: Sequence[bytes], start: int) -> PlainTexts:
    """Those from `start` on, up to whatever is more than plain text, or no object at all."""
    count = characters = thought_characters = 0
    model_version = response_id = ""
    try:
        for raw in islice(raws, start, None):
            chunk = decode_plain_text(raw)
            if chunk.responseId != response_id:
                if count:
                    break
                response_id = chunk.responseId
            part = chunk.candidates[0].content.parts[0]
            if part.thought:
                thought_characters += len(part.text)
            else:
                characters += len(part.text)
            model_version = model_version or chunk.modelVersion
            count += 1
    except NOT_PLAIN_TEXT:
        pass  # the first that is more
    return PlainTexts(count, characters, thought_characters, model_version, response_id)


def parsed(raw: bytes) -> dict[str, Any]:
    """A reply of the upstream as an object; raises `upstream_invalid_response`."""
    try:
        value = decode_reply(raw)
    except (ValueError, RecursionError):
        value = _forgiven(raw)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # an error may come wrapped in an array
    if not isinstance(value, dict):
        raise GatewayError("upstream_invalid_response", "The upstream's reply is no JSON object.")
    return value


def _forgiven(raw: bytes) -> Any:
    """What has a byte order mark, or is UTF-16, counts as well."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise GatewayError("upstream_invalid_response", "The upstream's reply is not valid JSON.") from error
