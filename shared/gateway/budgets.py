"""What a request may cost at most: the reservation that makes a budget hard under concurrency."""

from datetime import date
from typing import Any

from msgspec import Struct

from shared.gemini.catalog import ResolvedModel
from shared.gemini.pricing import reservation_nano
from shared.gemini.types import GenerateContentRequest

# upper bounds of input tokens: text at two bytes a token; media by what the upstream's tokenizers charge at most
_BYTES_PER_TOKEN = 2
_IMAGE_TOKENS = 1_120  # one image at the highest resolution
_MEDIA_BYTES_PER_TOKEN = 100  # speech at low bit rates; PDF pages and video take fewer tokens per byte
_REMOTE_TOKENS = 10_000  # a file known by address only
_GROUNDING = ("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "googleMaps")  # tools paid by the query


class Estimate(Struct, frozen=True):
    tokens: int
    nano: int
    input_tokens: int


def estimate(
    request: GenerateContentRequest, model: ResolvedModel, today: date, *, choices: int, default_output: int
) -> Estimate:
    """Reserve at the dearest model that may answer, every candidate at its full length."""
    config = request.get("generationConfig", {})
    asked = config.get("maxOutputTokens") or 0
    output = asked if asked > 0 else default_output  # less than none is the upstream's to refuse, and frees no money
    output = min(output, model.capabilities.output_limit or output)
    text, media = _bounds(request)
    input_tokens = text + sum(media.values())
    tier: Any = request.get("serviceTier", "")
    tier = tier if isinstance(tier, str) else "priority"  # the number of an enum's word: the dearest it can be
    nano = reservation_nano(
        model, today, input_tokens, output, media=media, grounded=_may_search(request), service_tier=tier
    )
    nano *= choices
    return Estimate(tokens=(input_tokens + output) * choices, nano=nano, input_tokens=input_tokens)


def input_bound(request: GenerateContentRequest) -> int:
    """An upper bound of the prompt's tokens, without a tokenizer."""
    text, media = _bounds(request)
    return text + sum(media.values())


def _bounds(request: GenerateContentRequest) -> tuple[int, dict[str, int]]:
    """(tokens of text, of media by modality), each at most."""
    text_bytes = 0
    media: dict[str, int] = {}
    left: list[Any] = [request]
    for item in left:  # grows on the way
        kind = type(item)
        if kind is dict:
            blob = item.get("inlineData")
            if blob is not None and _is_blob(blob):
                _add(media, blob, _media_tokens(blob))
            elif "fileData" in item:
                _add(media, item["fileData"], _REMOTE_TOKENS)
            else:
                for name, value in item.items():
                    text_bytes += len(name)
                    # signatures come back as thought tokens; their base64 is counted like text
                    if type(value) is str and value.isascii():
                        text_bytes += len(value)
                    else:
                        left.append(value)
        elif kind is list:
            left += item
        elif kind is str:
            text_bytes += len(item.encode("utf-8", "replace"))
    return -(-text_bytes // _BYTES_PER_TOKEN), media


def _add(media: dict[str, int], described: Any, tokens: int) -> None:
    """By the first word of their media type; "" where none is told."""
    mime_type = described.get("mimeType") if isinstance(described, dict) else None
    kind = mime_type.partition("/")[0].upper() if isinstance(mime_type, str) else ""
    media[kind] = media.get(kind, 0) + tokens


def _may_search(request: GenerateContentRequest) -> bool:
    tools: Any = request.get("tools")
    listed = tools if isinstance(tools, list) else ()
    return any(name in tool for tool in listed if isinstance(tool, dict) for name in _GROUNDING)


def _is_blob(value: Any) -> bool:
    """Media, and not the argument of a function that happens to have its name."""
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("mimeType", "data"))


def _media_tokens(blob: dict[str, str]) -> int:
    if blob.get("mimeType", "").startswith("image/"):
        return _IMAGE_TOKENS
    return max(258, len(blob.get("data", "")) * 3 // 4 // _MEDIA_BYTES_PER_TOKEN)
