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
    media: dict[str, int] = {}
    input_tokens = input_bound(request, media)
    tier: Any = request.get("serviceTier", "")
    tier = tier if isinstance(tier, str) else "priority"  # the number of an enum's word: the dearest it can be
    nano = reservation_nano(model, today, input_tokens, output, service_tier=tier, media=media) * choices
    return Estimate(tokens=(input_tokens + output) * choices, nano=nano, input_tokens=input_tokens)


def input_bound(request: GenerateContentRequest, media: dict[str, int] | None = None) -> int:
    """An upper bound of the prompt's tokens, without a tokenizer. Those of media are added to `media` too, by the word
    that their MIME type begins with, `""` where it is not known: some cost a multiple of text."""
    text_bytes = tokens = 0
    left: list[Any] = [request]
    for item in left:  # grows on the way
        kind = type(item)
        if kind is dict:
            blob = item.get("inlineData")
            if blob is not None and _is_blob(blob):
                count = _media_tokens(blob)
                tokens += count
                if media is not None:
                    _add(media, blob["mimeType"], count)
            elif "fileData" in item:
                tokens += _REMOTE_TOKENS
                if media is not None:
                    file = item["fileData"]
                    _add(media, file.get("mimeType") if isinstance(file, dict) else None, _REMOTE_TOKENS)
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
    return tokens + -(-text_bytes // _BYTES_PER_TOKEN)


def _is_blob(value: Any) -> bool:
    """Media, and not the argument of a function that happens to have its name."""
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("mimeType", "data"))


def _add(media: dict[str, int], mime_type: Any, count: int) -> None:
    kind = mime_type.partition("/")[0].strip().lower() if isinstance(mime_type, str) else ""
    media[kind] = media.get(kind, 0) + count


def _media_tokens(blob: dict[str, str]) -> int:
    if blob.get("mimeType", "").startswith("image/"):
        return _IMAGE_TOKENS
    return max(258, len(blob.get("data", "")) * 3 // 4 // _MEDIA_BYTES_PER_TOKEN)
