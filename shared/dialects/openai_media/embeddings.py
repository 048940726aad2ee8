"""`POST /v1/embeddings` as batches of Gemini's `batchEmbedContents`, and the vectors back in order."""

import binascii
import math
import re
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import batched
from typing import Any, Final

from msgspec import Struct, field

from shared.dialects.contract import RequestContext
from shared.dialects.openai.fields import invalid
from shared.dialects.openai.notes import Notes
from shared.dialects.openai_media import tokens
from shared.dialects.openai_media.members import Members
from shared.errors import GatewayError
from shared.events import Usage
from shared.gemini.catalog import ResolvedModel
from shared.gemini.types import GenerateContentRequest
from shared.gemini.usage import ABSURD_TOKENS, estimate_tokens
from shared.json_codec import encode

MAX_INPUTS: Final = 2048
MAX_BATCH: Final = 100  # the upstream's own limit of one call
MIN_DIMENSIONS, MAX_DIMENSIONS = 128, 3072

# What these names mean to their users: tables and indexes were made for vectors of this length. The first two are
# Google's own retired models, the others OpenAI's.
_DIMENSIONS_OF: Final = {
    "text-embedding-004": 768,
    "embedding-001": 768,
    "text-embedding-3-small": 1536,
    "text-embedding-ada-002": 1536,
}
type Vector = array[float]  # a quarter of what a list of Python's numbers takes, and thousands are in one request

_TASK = re.compile(r"[A-Z_]{1,64}")


class EmbeddingJob(Struct, frozen=True):
    """`dimensions` is the length of the vectors to answer, 0 for the model's own."""

    texts: tuple[str, ...]
    dimensions: int
    base64: bool
    options: Mapping[str, Any] = field(default_factory=dict)  # taskType, title, outputDimensionality
    warnings: tuple[str, ...] = ()

    def batches(self) -> list[tuple[str, ...]]:
        """The texts cut at the upstream's limit, in order."""
        return list(batched(self.texts, MAX_BATCH))

    def requests(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """EmbedContentRequests without their `model`, which is the upstream's to name."""
        return [{"content": {"parts": [{"text": text}]}, **self.options} for text in texts]


def parse(body: Mapping[str, Any], context: RequestContext) -> EmbeddingJob:
    """GatewayError `invalid_request` for what cannot be embedded."""
    model = context.model
    if model.capabilities.family != "embedding":
        raise invalid("This model does not make embeddings.", "model")
    notes = Notes(context.strict)
    members = Members(body)
    texts = _texts(members.raw("input"))
    encoding = members.word("encoding_format", ("float", "base64"), "float")
    dimensions = _dimensions(members, model)
    options: dict[str, Any] = {}
    if task := members.text("task_type").upper():
        if not _TASK.fullmatch(task):
            raise invalid("Expected the name of a task type.", "task_type")
        options["taskType"] = task
    if title := members.text("title"):
        options["title"] = title
    if dimensions:
        options["outputDimensionality"] = max(dimensions, MIN_DIMENSIONS)
    members.warn(notes)
    return EmbeddingJob(texts, dimensions, encoding == "base64", options, tuple(notes.items))


def count_request(texts: Sequence[str]) -> GenerateContentRequest:
    """What to count where the upstream tells no usage."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]} for text in texts]}


def vectors(reply: Mapping[str, Any], expected: int) -> list[Vector]:
    """The vectors of one batch; GatewayError `upstream_invalid_response` where their number or shape is wrong."""
    listed = reply.get("embeddings")
    items = listed if isinstance(listed, list) else []
    found = [vector for item in items if isinstance(item, Mapping) and (vector := _vector(item.get("values")))]
    if len(found) != expected or len(items) != expected:
        raise GatewayError("upstream_invalid_response", "The upstream's embeddings are unusable.")
    return found


def told_usage(reply: Mapping[str, Any]) -> Usage | None:
    """What the reply says it cost; None where it says nothing, as gemini-embedding-001 does. The newer model spells
    its details in the singular and gives no total."""
    metadata = reply.get("usageMetadata")
    if not isinstance(metadata, Mapping):
        return None
    count = metadata.get("promptTokenCount")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= ABSURD_TOKENS:
        return None
    details = metadata.get("promptTokenDetails") or metadata.get("promptTokensDetails") or []
    modalities = {
        str(item["modality"]): item["tokenCount"]
        for item in details
        if isinstance(item, Mapping) and isinstance(item.get("tokenCount"), int) and item.get("modality")
    }
    return Usage(prompt_tokens=count, prompt_modalities=modalities)


def guessed_usage(texts: Sequence[str]) -> Usage:
    return Usage(prompt_tokens=sum(max(1, estimate_tokens(len(text))) for text in texts), estimated=True)


def embeddings_pieces(job: EmbeddingJob, model: str, found: Sequence[Vector], used: int) -> Iterator[bytes]:
    """OpenAI's list, in pieces of a hundred vectors: written out a vector is two to five times as large."""
    head = encode({"object": "list", "model": model, "usage": {"prompt_tokens": used, "total_tokens": used}})
    piece = head[:-1] + b',"data":['
    for number, together in enumerate(batched(found, MAX_BATCH)):
        if number:
            yield piece
            piece = b","
        piece += b",".join([_row(number * MAX_BATCH + at, vector, job) for at, vector in enumerate(together)])
    yield piece + b"]}"


def _texts(value: Any) -> tuple[str, ...]:
    """The texts of a string, a list of strings, an array of tokens or a list of these."""
    if isinstance(value, str) or (isinstance(value, list) and value and _is_token(value[0])):
        return (_one(value, "input"),)
    if not isinstance(value, list) or not value:
        raise invalid("Expected a text or a list of texts.", "input")
    if len(value) > MAX_INPUTS:
        raise invalid(f"Expected at most {MAX_INPUTS} texts.", "input")
    return tuple(_one(item, f"input[{at}]") for at, item in enumerate(value))


def _one(value: Any, param: str) -> str:
    """Tokens are of OpenAI's embedding models, whatever model they are for: clients know no other vocabulary."""
    text: Any = value
    if isinstance(value, list) and value and all(_is_token(item) for item in value):
        text = tokens.decode(value)
        if text is None:
            raise invalid(
                "These tokens are not of cl100k_base; send the text itself "
                "(in LangChain: check_embedding_ctx_length=False).",
                param,
            )
    if not isinstance(text, str) or not text:
        raise invalid("Expected a text that is not empty.", param)
    return text


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _dimensions(members: Members, model: ResolvedModel) -> int:
    """Below the upstream's smallest length the vector is cut here: a prefix of such a vector is one, too."""
    if members.raw("dimensions") is not None:
        return members.whole("dimensions", 0, 1, MAX_DIMENSIONS)
    return _DIMENSIONS_OF.get(model.candidates[0], 0)


def _vector(values: Any) -> Vector | None:
    """None for what is no list of finite numbers, or an empty one."""
    if not isinstance(values, list) or not values:
        return None
    try:
        found = array("d", values)
    except (TypeError, OverflowError):
        return None
    return found if math.isfinite(math.hypot(*found)) else None


def _row(index: int, vector: Vector, job: EmbeddingJob) -> bytes:
    """Every vector has length 1: those that the upstream shortened have not, and consumers take the dot product for the
    cosine."""
    kept = vector[: job.dimensions] if job.dimensions else vector
    length = math.hypot(*kept)
    unit = [value / length for value in kept] if length else kept.tolist()
    return encode({"object": "embedding", "index": index, "embedding": _base64(unit) if job.base64 else unit})


def _base64(values: Sequence[float]) -> str:
    """Of little-endian 32-bit floats."""
    floats = array("f", values)
    if sys.byteorder == "big":
        floats.byteswap()
    return binascii.b2a_base64(floats.tobytes(), newline=False).decode()
