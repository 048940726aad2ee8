"""embedContent and batchEmbedContents: always a batch upstream, because Google steers single calls there."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.gemini_native.canonical import canonical
from shared.dialects.gemini_native.joined import summed
from shared.errors import GatewayError
from shared.gemini.catalog import ResolvedModel
from shared.gemini.types import Content

MAX_BATCH = 100  # requests that one batchEmbedContents takes
MAX_REQUESTS = 500  # that one of a client's may hold: their vectors are in memory together

# what a client of the retired models stored: their vectors had this length and unit norm
_RETIRED = {"text-embedding-004": 768, "embedding-001": 768}


class Embedding(Struct, frozen=True):
    """`requests` are EmbedContentRequests without a model. `unit`: the vectors are to be brought to length one."""

    requests: list[dict[str, Any]]
    unit: bool

    @property
    def contents(self) -> list[Content]:
        return [request["content"] for request in self.requests if "content" in request]

    def about(self, contents: Sequence[Content]) -> "Embedding":
        """The same with these in place of its own."""
        left = iter(contents)
        changed = [{**request, "content": next(left)} if "content" in request else request for request in self.requests]
        return Embedding(changed, self.unit)

    @property
    def batches(self) -> list["Embedding"]:
        """The same in parts that the upstream takes, in order; an empty request stays one for the upstream to judge."""
        starts = range(0, max(1, len(self.requests)), MAX_BATCH)
        return [Embedding(self.requests[start : start + MAX_BATCH], self.unit) for start in starts]

    def body(self, model_id: str) -> dict[str, Any]:
        return {"requests": [{"model": f"models/{model_id}", **request} for request in self.requests]}


def read_one(body: Mapping[str, Any], model: ResolvedModel) -> Embedding:
    return _settled([canonical("EmbedContentRequest", body)], model)


def read_batch(body: Mapping[str, Any], model: ResolvedModel) -> Embedding:
    requests = canonical("BatchEmbedContentsRequest", body).get("requests", [])
    if len(requests) > MAX_REQUESTS:
        raise GatewayError("invalid_request", f"At most {MAX_REQUESTS} requests can be in one batch.", param="requests")
    return _settled(requests, model)


def _settled(requests: Sequence[Mapping[str, Any]], model: ResolvedModel) -> Embedding:
    size = _RETIRED.get(model.requested.rpartition("/")[2])
    kept = []
    for request in requests:
        settled = {name: value for name, value in request.items() if name != "model"}
        if size is not None:
            settled.setdefault("outputDimensionality", size)
        kept.append(settled)
    return Embedding(kept, size is not None)


def unit_vector(embedding: Mapping[str, Any]) -> dict[str, Any]:
    """Shortened vectors of gemini-embedding-001 are no unit vectors; those of the retired models were."""
    values = embedding.get("values", [])
    norm = math.sqrt(sum(value * value for value in values))
    return {**embedding, "values": [value / norm for value in values] if norm else values}


def rows_of(reply: Mapping[str, Any], expected: int) -> list[Mapping[str, Any]]:
    """The vectors of a reply, as many as were asked for: their order is all that ties them to their texts."""
    rows = reply.get("embeddings")
    if not isinstance(rows, list) or len(rows) != expected:
        raise GatewayError("upstream_invalid_response", "The upstream's reply holds another number of embeddings.")
    return rows


def joined(replies: Sequence[Mapping[str, Any]], batches: Sequence[Embedding]) -> dict[str, Any]:
    """Replies to the batches of one request as one reply, its usage their sum where every one of them tells it."""
    pairs = zip(replies, batches, strict=True)
    whole: dict[str, Any] = {
        "embeddings": [row for reply, batch in pairs for row in rows_of(reply, len(batch.requests))]
    }
    told = [usage for reply in replies if (usage := usage_metadata(reply)) is not None]
    if told and len(told) == len(replies):
        total = summed(told)
        whole["usageMetadata"] = {
            "promptTokenCount": total["promptTokenCount"],
            # singular "Token", unlike generateContent's
            "promptTokenDetails": total["promptTokensDetails"],
        }
    return whole


def usage_metadata(reply: Mapping[str, Any]) -> dict[str, Any] | None:
    """The reply's usage in the names of generateContent; gemini-embedding-001 gives none."""
    usage = reply.get("usageMetadata")
    if not isinstance(usage, Mapping) or "promptTokenCount" not in usage:
        return None
    details = usage.get("promptTokenDetails", usage.get("promptTokensDetails", []))
    return {"promptTokenCount": usage["promptTokenCount"], "promptTokensDetails": details}


def characters(contents: Sequence[Content]) -> int:
    return sum(len(part.get("text", "")) for content in contents for part in content.get("parts", ()))
