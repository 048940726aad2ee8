"""POST /v1/embeddings: batches side by side, vectors in order, every batch counted."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.openai_media import embeddings
from shared.dialects.openai_media.embeddings import EmbeddingJob, Vector
from shared.errors import GatewayError
from shared.events import Usage
from shared.gateway.budgets import Estimate, input_bound
from shared.gateway.context import Exchange, in_time
from shared.gateway.media import Asked, MediaCall, MediaLife
from shared.gateway.responses import Piecewise
from shared.gateway.telemetry import log
from shared.gemini.pricing import reservation_nano

_AT_ONCE: Final = 4  # batches under way
_MAX_VALUES: Final = 2_000_000  # a token is one: LangChain sends a thousand arrays of them at a time


class Embedder:
    def __init__(self, life: MediaLife) -> None:
        self._life = life

    async def serve(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        asked = await self._life.ask(request, exchange, endpoint, max_values=_MAX_VALUES)
        assert isinstance(asked.body, Mapping)
        job = embeddings.parse(asked.body, asked.context)
        call = await self._life.admit(
            asked, exchange, _estimate(asked, job, exchange), endpoint=endpoint, stream=False, warnings=job.warnings
        )
        async with self._life.settled(call), in_time(exchange):
            call.meter.before_upstream()
            found = await self._vectors(job, call)
            if call.usage.estimated:
                call.warnings.append("estimated:usage")
            pieces = embeddings.embeddings_pieces(job, call.model.requested, found, call.usage.input_total)
            return Piecewise(pieces, call.priced_headers(), call.meter.settle)

    async def _vectors(self, job: EmbeddingJob, call: MediaCall) -> list[Vector]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int, texts: Sequence[str]) -> list[Vector]:
            async with gate:
                return await self._batch(number, texts, job, call)

        tasks = [asyncio.ensure_future(one(number, texts)) for number, texts in enumerate(job.batches())]
        try:
            done = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [vector for batch in done for vector in batch]

    async def _batch(self, number: int, texts: Sequence[str], job: EmbeddingJob, call: MediaCall) -> list[Vector]:
        upstream = self._life.services.upstream
        reply = await upstream.embed(job.requests(texts), call.model, call.exchange, call.meter, number)
        outcome = call.meter.outcome
        told = embeddings.told_usage(reply)
        outcome.calls[number] = told or embeddings.guessed_usage(texts)  # billed from here on, whatever comes
        found = embeddings.vectors(reply, len(texts))
        if told is None:
            outcome.calls[number] = await self._counted(texts, call) or outcome.calls[number]
        return found

    async def _counted(self, texts: Sequence[str], call: MediaCall) -> Usage | None:
        """The upstream's own count, for a model that tells none; None where it cannot count now."""
        model = call.meter.outcome.model_version or call.model.id
        try:
            tokens = await self._life.services.upstream.count(embeddings.count_request(texts), model, call.exchange)
        except GatewayError as error:
            log("count_estimated", request_id=call.exchange.request_id, kind=error.kind)
            return None
        return Usage(prompt_tokens=tokens, prompt_modalities={"TEXT": tokens})


def _estimate(asked: Asked, job: EmbeddingJob, exchange: Exchange) -> Estimate:
    tokens = input_bound(embeddings.count_request(job.texts))
    nano = reservation_nano(asked.model, exchange.today, tokens, 0)
    return Estimate(tokens=tokens, nano=nano, input_tokens=tokens)
