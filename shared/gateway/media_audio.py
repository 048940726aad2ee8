"""POST /v1/audio/*: speech as sound or events, transcripts and translations as text."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.openai_media import speech, transcription
from shared.dialects.openai_media.members import Form
from shared.dialects.openai_media.speech import Speaker, SpeechJob
from shared.dialects.openai_media.transcript import TranscriptRenderer, transcript
from shared.dialects.openai_media.transcription import Task, TranscriptionJob
from shared.gateway.budgets import estimate
from shared.gateway.context import Exchange, in_time
from shared.gateway.media import Asked, MediaCall, MediaLife
from shared.gateway.responses import Settled


class Speech:
    """Speech. A model that streams is passed on as it speaks; one that does not is answered whole."""

    def __init__(self, life: MediaLife) -> None:
        self._life = life

    async def speak(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        asked = await self._life.ask(request, exchange, endpoint)
        assert isinstance(asked.body, Mapping)
        job = speech.parse(asked.body, asked.context)
        bound = estimate(job.request, asked.model, exchange.today, choices=1, default_output=job.tokens)
        streams = job.events or asked.model.capabilities.streams
        call = await self._life.admit(asked, exchange, bound, endpoint=endpoint, stream=streams, warnings=job.warnings)
        async with self._life.settled(call):
            if job.events:
                fail = partial(speech.failure_frame, call.reply)
                return await self._life.stream(call, self._frames(job, call), fail=fail)
            if streams:
                return await self._life.stream(call, self._sound(job, call), media_type=job.media_type)
            return await self._whole(job, call)

    async def _sound(self, job: SpeechJob, call: MediaCall) -> AsyncGenerator[bytes]:
        speaker = Speaker(job, whole=not call.model.capabilities.streams)
        call.meter.before_upstream()
        async with aclosing(self._life.events(call, job.request)) as events:
            async for event in events:
                # encoding minutes of speech takes a second of this processor
                if sound := await asyncio.to_thread(speaker.feed, event):
                    yield sound
        if rest := speaker.close():
            yield rest

    async def _frames(self, job: SpeechJob, call: MediaCall) -> AsyncGenerator[bytes]:
        async with aclosing(self._sound(job, call)) as sounds:
            async for sound in sounds:
                yield speech.delta_frames(sound)
        yield speech.done_frame(call.usage)

    async def _whole(self, job: SpeechJob, call: MediaCall) -> Response:
        async with in_time(call.exchange), aclosing(self._sound(job, call)) as sounds:
            body = b"".join([sound async for sound in sounds])
        settle = BackgroundTask(call.meter.settle)
        return Settled(body, 200, call.priced_headers(), media_type=job.media_type, background=settle)


class Transcripts:
    """Transcriptions and translations."""

    def __init__(self, life: MediaLife) -> None:
        self._life = life

    async def transcribe(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        return await self._serve(request, exchange, endpoint, "transcribe")

    async def translate(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        return await self._serve(request, exchange, endpoint, "translate")

    async def _serve(self, request: Request, exchange: Exchange, endpoint: str, task: Task) -> Response:
        asked = await self._life.ask(request, exchange, endpoint, json=False)
        job = _job(asked, task)
        settings = self._life.services.settings
        bound = estimate(
            job.request, asked.model, exchange.today, choices=1, default_output=settings.default_output_reservation
        )
        call = await self._life.admit(
            asked, exchange, bound, endpoint=endpoint, stream=job.stream, warnings=job.warnings
        )
        async with self._life.settled(call):
            return await (self._stream(job, call) if job.stream else self._buffered(job, call))

    async def _buffered(self, job: TranscriptionJob, call: MediaCall) -> Response:
        call.meter.before_upstream()
        async with in_time(call.exchange), aclosing(self._life.events(call, job.request)) as events:
            gathered = [event async for event in events]
        body, media_type = transcript(gathered, job, call.usage)
        settle = BackgroundTask(call.meter.settle)
        return Settled(body, 200, call.priced_headers(), media_type=media_type, background=settle)

    async def _stream(self, job: TranscriptionJob, call: MediaCall) -> Response:
        renderer = TranscriptRenderer(job, call.reply)

        async def frames() -> AsyncGenerator[bytes]:
            call.meter.before_upstream()
            async with aclosing(self._life.events(call, job.request)) as events:
                async for event in events:
                    if frame := renderer.feed(event):
                        yield frame
            yield renderer.close(call.usage)

        return await self._life.stream(call, frames(), fail=renderer.fail)


def _job(asked: Asked, task: Task) -> TranscriptionJob:
    assert isinstance(asked.body, Form)
    return transcription.parse(asked.body, task, asked.context)
