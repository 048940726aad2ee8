"""Embeddings, and pictures as Imagen made them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from shared.dialects.gemini_native import embeddings, predict
from shared.dialects.gemini_native.embeddings import Embedding
from shared.dialects.gemini_native.reading import parsed
from shared.dialects.gemini_native.request import owned
from shared.dialects.gemini_native.shown import written
from shared.errors import GatewayError
from shared.events import Event, Usage
from shared.gateway.budgets import estimate
from shared.gateway.context import in_time
from shared.gateway.fan_out import merged
from shared.gateway.native_life import Asked, NativeAnswer, NativeLife
from shared.gateway.native_links import media_of
from shared.gateway.native_objects import Owners
from shared.gateway.native_upstream import NativeUpstream, passed
from shared.gateway.telemetry import log
from shared.gemini.types import GenerateContentRequest
from shared.gemini.usage import estimate_tokens, read_usage

Reply = Mapping[str, Any]
_AT_ONCE = 4  # batches of one request under way


class NativeMedia:
    def __init__(self, life: NativeLife, upstream: NativeUpstream, owners: Owners) -> None:
        self._life = life
        self._upstream = upstream
        self._owners = owners

    async def batch_embed(self, asked: Asked, endpoint: str) -> Response:
        return await self._embed(asked, endpoint, embeddings.read_batch(asked.body, asked.model), None)

    async def embed(self, asked: Asked, endpoint: str) -> Response:
        """Served through a batch of one, whose only vector is the answer."""

        def single(reply: Reply) -> Reply:
            (row,) = embeddings.rows_of(reply, 1)
            rest = {name: value for name, value in reply.items() if name != "embeddings"}
            return {"embedding": row, **rest}

        return await self._embed(asked, endpoint, embeddings.read_one(asked.body, asked.model), single)

    async def _embed(
        self, asked: Asked, endpoint: str, embedding: Embedding, change: Callable[[Reply], Reply] | None
    ) -> Response:
        contents: GenerateContentRequest = {"contents": embedding.contents}
        credential_id = await self._owners.credential(asked.key.acct, owned(contents))
        media = media_of(self._life.services, asked.key, asked.body, contents, asked.exchange)
        reserve = estimate(contents, asked.model, asked.exchange.today, choices=1, default_output=0)
        answer = await self._life.admit(asked, reserve, endpoint)
        if asked.model.aliased:
            answer.warnings.append(f"model:{asked.model.id}")
        async with self._life.settled(answer), in_time(asked.exchange):
            answer.meter.before_upstream()
            if media is not None:
                contents = await media.ready(contents, asked.model.id, self._upstream)
                embedding = embedding.about(contents["contents"])
                credential_id = media.credential_id or credential_id
            batches = embedding.batches
            replies = await self._replies(answer, batches, credential_id)
            content = replies[0]
            # one batch goes back in the bytes it came in
            split = len(batches) > 1
            reply: Reply = embeddings.joined([parsed(one) for one in replies], batches) if split else parsed(content)
            if embedding.unit:
                rows = reply.get("embeddings", ())
                reply = {**reply, "embeddings": [embeddings.unit_vector(row) for row in rows]}
            if change is not None:
                reply = change(reply)
            if split or change is not None or embedding.unit:
                content = written(reply, asked.options)
            else:
                content = passed(content, asked.options)
            answer.meter.outcome.finish_reason = "STOP"
            return answer.respond(content)

    async def _replies(
        self, answer: NativeAnswer, batches: Sequence[Embedding], credential_id: str | None
    ) -> list[bytes]:
        """The replies to batches side by side, in their order, each counted as soon as it is there."""
        gate = asyncio.Semaphore(_AT_ONCE)
        asked = answer.asked

        async def one(number: int, batch: Embedding) -> bytes:
            async with gate:
                content = await self._upstream.plain(
                    "batchEmbedContents",
                    batch.body,
                    asked.model,
                    asked.exchange,
                    meter=answer.meter,
                    number=number,
                    query=asked.options.upstream,
                    credential_id=credential_id,
                )
                calls = answer.meter.outcome.calls
                calls[number] = _guessed(batch)  # billed from here on, also where another batch ends the request
                calls[number] = await self._usage(answer, parsed(content), batch, credential_id)
                return content

        tasks = [asyncio.ensure_future(one(number, batch)) for number, batch in enumerate(batches)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _usage(
        self, answer: NativeAnswer, reply: Reply, embedding: Embedding, credential_id: str | None
    ) -> Usage:
        """What the upstream says; of the model that says nothing its own count of the same contents."""
        metadata = embeddings.usage_metadata(reply)
        if metadata is not None:
            return read_usage(metadata)
        asked = answer.asked
        model_id = answer.meter.outcome.model_version
        try:
            body = {"contents": embedding.contents}
            content = await self._upstream.plain(
                "countTokens", lambda _: body, asked.model, asked.exchange, credential_id=credential_id
            )
            counted = parsed(content)
            return read_usage({"promptTokenCount": counted["totalTokens"]})
        except (GatewayError, KeyError) as error:
            log("embedding_usage_estimated", request_id=asked.exchange.request_id, model=model_id, exc=error)
            return _guessed(embedding)

    async def predict(self, asked: Asked, endpoint: str) -> Response:
        """One concurrent answer per picture; a blocked one says why in its place."""
        prediction = predict.read_predict(asked.body, asked.model)
        reserve = estimate(
            prediction.request,
            asked.model,
            asked.exchange.today,
            choices=prediction.samples,
            default_output=self._life.services.settings.default_output_reservation,
        )
        answer = await self._life.admit(asked, reserve, endpoint)
        answer.warnings += [*([f"model:{asked.model.id}"] if asked.model.aliased else []), *prediction.warnings]
        async with self._life.settled(answer), in_time(asked.exchange):
            answer.meter.before_upstream()
            pictures: list[list[Event]] = [[] for _ in range(prediction.samples)]
            answers = [
                self._upstream.answer(prediction.request, asked.model, asked.exchange, answer.meter) for _ in pictures
            ]
            async with aclosing(merged(answers)) as bursts:
                async for position, events in bursts:
                    pictures[position] += events
            body = {"predictions": [predict.prediction(picture) for picture in pictures]}
            return answer.respond(written(body, asked.options))


def _guessed(embedding: Embedding) -> Usage:
    return Usage(prompt_tokens=estimate_tokens(embeddings.characters(embedding.contents)), estimated=True)
