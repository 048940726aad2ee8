"""The largest that functions are asked: what memory they need at their peak, in Lambda mode."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.bodies import MODELS, PICTURE_BYTES, base64_of
from tests.bench.client import BadReply
from tests.bench.lambda_mode import event_of, ours, started
from tests.bench.surroundings import Ground

_IN_BYTES = 4_100_000  # in base64 close to what the gateway takes, because Lambda takes no more


@dataclass(frozen=True, slots=True)
class Large:
    """A request; its answer has `answer_bytes` at least."""

    dialect: str
    path: str
    body: Mapping[str, Any]
    answer_bytes: int = 0
    module: str = ""  # of the handler, where it is not the dialect's own


@dataclass(frozen=True, slots=True)
class Peak:
    peak_rss_mb: float
    cpu_ms: float


def cases() -> dict[str, Large]:
    """By what is asked."""
    few, picture, embedding = MODELS["few"], MODELS["picture"], "gemini-embedding-001"
    size = PICTURE_BYTES * 4 // 3
    data = base64_of(_IN_BYTES)
    url = f"data:image/png;base64,{data}"
    source = {"type": "base64", "media_type": "image/png", "data": data}
    seen = {
        "chat": [_user("image_url", image_url={"url": url})],
        "responses": [_user("input_image", image_url=url)],
        "messages": [_user("image", source=source)],
        "native": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}],
    }
    drawn: dict[str, Any] = {"model": picture, "messages": [{"role": "user", "content": "Draw."}]}
    generated = {"model": picture, "prompt": "Draw.", "n": 2}
    texts = [f"text {number}" for number in range(2048)]
    floats: dict[str, Any] = {"model": embedding, "input": texts}
    packed = {"model": embedding, "input": texts[:1000], "encoding_format": "base64"}
    contents = [{"content": {"parts": [{"text": text}]}} for text in texts[:500]]
    chat, models = "/v1/chat/completions", "/v1beta/models"
    stream = f"{models}/{picture}:streamGenerateContent?alt=sse"
    return {
        "chat, 4.1 MB of picture in": Large("chat", chat, {"model": few, "messages": seen["chat"]}),
        "responses, 4.1 MB of picture in": Large(
            "responses", "/v1/responses", {"model": few, "input": seen["responses"]}
        ),
        "messages, 4.1 MB of picture in": Large(
            "messages", "/v1/messages", {"model": few, "max_tokens": 100, "messages": seen["messages"]}
        ),
        "native, 4.1 MB of picture in": Large(
            "native", f"{models}/{few}:generateContent", {"contents": seen["native"]}
        ),
        "chat, 12 MB of picture out": Large("chat", chat, drawn, size),
        "chat stream, 12 MB of picture out": Large("chat", chat, {**drawn, "stream": True}, size),
        "responses, kept, 12 MB of picture out": Large(
            "responses", "/v1/responses", {"model": picture, "input": "Draw."}, size
        ),
        "native stream, 12 MB of picture out": Large(
            "native", stream, {"contents": [{"parts": [{"text": "Draw."}]}]}, size
        ),
        "images, two of 12 MB": Large("chat", "/v1/images/generations", generated, 2 * size, "images"),
        "embeddings, 1,000 in base64": Large("chat", "/v1/embeddings", packed, 1000 * 16_000, "embeddings"),
        "embeddings, 2,048 as numbers": Large("chat", "/v1/embeddings", floats, 2048 * 50_000, "embeddings"),
        "native embeddings, 500": Large(
            "native", f"{models}/{embedding}:batchEmbedContents", {"requests": contents}, 500 * 50_000
        ),
    }


def _user(kind: str, **members: object) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": kind, **members}]}


def peak(where: Ground, large: Large, log: Any) -> Peak:
    """Of a function that is asked this first. Raises BadReply."""

    async def run() -> Peak:
        async with started(ours(where, large.dialect, large.module), where.client_key, log) as function:
            event = event_of(large.dialect, large.path, json.dumps(large.body).encode(), where.client_key)
            answer, cpu_ms = await function.send(event)
            if answer.status != 200 or len(answer.body) < large.answer_bytes:
                raise BadReply(f"{large.path}: {answer.status}, {len(answer.body)} bytes: {answer.body[:300]!r}")
            return Peak(function.tree.peak_rss_mb(), cpu_ms)

    return asyncio.run(run())
