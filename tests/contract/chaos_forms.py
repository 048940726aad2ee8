"""Every way to ask for an answer, with the official SDK that its users have, in both forms."""

import io
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import anthropic
import openai
from google import genai
from google.genai import errors, types

from shared.gemini.audio import wav_header

FLASH = "gemini-3.6-flash"
WAV = wav_header(4_800, 24_000) + bytes(4_800)


@dataclass(frozen=True)
class Verdict:
    """What a user of the SDK sees: `status` 0 where the answer failed after it began, 200 where it did not fail."""

    status: int
    exception: str
    text: str
    headers: dict[str, str]


class Clients:
    """One client of each SDK for all requests; the key goes with each request."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._stack = ExitStack()
        first = openai.OpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0, timeout=30)
        self._openai = self._stack.enter_context(first)
        self._anthropic = self._stack.enter_context(
            anthropic.Anthropic(base_url=base_url, api_key="none", max_retries=0, timeout=30)
        )
        options = types.HttpOptions(base_url=base_url, timeout=30_000)
        self.google = self._stack.enter_context(genai.Client(api_key="none", http_options=options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def openai(self, key: str, path: str = "/v1") -> openai.OpenAI:
        return self._openai.with_options(api_key=key, base_url=f"{self.base_url}{path}")

    def anthropic(self, key: str) -> anthropic.Anthropic:
        return self._anthropic.with_options(api_key=key)


Ask = Callable[[Clients, str, str], None]


class NotASuccess(Exception):
    """An end that is told inside of an answer, not by an exception."""


@dataclass(frozen=True)
class Form:
    """`family` chooses the status; `upstream_streams`: the gateway reads a stream; `late`: all of the answer comes at
    its end, so that a failure always finds the status still unsaid."""

    name: str
    mode: str
    family: int  # 0 OpenAI, 1 Anthropic, 2 Google, 3 apigpt
    ask: Ask
    upstream_streams: bool = True
    late: bool = False
    thorough: bool = True


def judged(form: Form, clients: Clients, key: str, prompt: str) -> Verdict:
    try:
        form.ask(clients, key, prompt)
    except (openai.APIStatusError, anthropic.APIStatusError) as caught:
        begun = isinstance(caught, anthropic.APIStatusError) and caught.response.status_code == 200
        return _verdict(0 if begun else caught.response.status_code, caught, dict(caught.response.headers))
    except errors.APIError as caught:
        begun = caught.response is None or getattr(caught.response, "status_code", 0) == 200
        return _verdict(0 if begun else caught.code, caught, dict(getattr(caught.response, "headers", {})))
    except Exception as caught:
        return _verdict(0, caught, {})
    return Verdict(200, "", "", {})


def _verdict(status: int, caught: Exception, headers: dict[str, str]) -> Verdict:
    body = getattr(caught, "body", "") or getattr(caught, "details", "")
    return Verdict(status, type(caught).__name__, f"{caught} {body}", {k.lower(): v for k, v in headers.items()})


def _chat(path: str, stream: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        messages: Any = [{"role": "user", "content": prompt}]
        client = clients.openai(key, path)
        if not stream:
            assert client.chat.completions.create(model=FLASH, messages=messages).choices[0].finish_reason == "stop"
            return
        finishes = [
            chunk.choices[0].finish_reason
            for chunk in client.chat.completions.create(model=FLASH, messages=messages, stream=True)
            if chunk.choices
        ]
        assert finishes[-1] == "stop"

    return ask


def _responses(stream: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        client = clients.openai(key)
        if not stream:
            assert client.responses.create(model=FLASH, input=prompt).status == "completed"
            return
        events = list(client.responses.create(model=FLASH, input=prompt, stream=True))
        assert not any(event.type == "response.completed" for event in events[:-1])
        last: Any = events[-1]
        if last.type == "response.failed":
            assert last.response.status == "failed"
            raise NotASuccess(f"response.failed {last.response.error}")
        assert last.type == "response.completed"

    return ask


def _messages(stream: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        messages: Any = [{"role": "user", "content": prompt}]
        client = clients.anthropic(key)
        if not stream:
            answer = client.messages.create(model=FLASH, max_tokens=4000, messages=messages)
            assert answer.stop_reason == "end_turn"
            return
        with client.messages.stream(model=FLASH, max_tokens=4000, messages=messages) as events:
            seen = [event.type for event in events]
        assert "message_stop" in seen

    return ask


def _native(stream: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        options = types.HttpOptions(headers={"x-goog-api-key": key})
        config = types.GenerateContentConfig(http_options=options)
        if stream:
            chunks = list(clients.google.models.generate_content_stream(model=FLASH, contents=prompt, config=config))
        else:
            chunks = [clients.google.models.generate_content(model=FLASH, contents=prompt, config=config)]
        finish = _finish(chunks)
        if finish not in ("STOP", ""):
            raise NotASuccess(f"finishReason {finish}")
        assert finish, "an end without a word"

    return ask


def _finish(chunks: Iterable[Any]) -> str:
    reasons = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    return next((reason.value for reason in reversed(reasons) if reason), "")


def _embeddings(clients: Clients, key: str, prompt: str) -> None:
    assert clients.openai(key).embeddings.create(model="gemini-embedding-001", input=[prompt]).data


def _images(stream: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        client = clients.openai(key)
        model = "gemini-3.1-flash-image"
        if not stream:
            assert (client.images.generate(model=model, prompt=prompt).data or [])[0].b64_json
            return
        events = list(client.images.generate(model=model, prompt=prompt, stream=True))
        assert events[-1].type == "image_generation.completed"

    return ask


def _speech(events: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        client = clients.openai(key)
        said: Any = {"model": "gemini-3.8-flash-tts", "voice": "alloy", "input": prompt}
        if not events:
            assert client.audio.speech.create(**said, response_format="pcm").read()
            return
        with client.audio.speech.with_streaming_response.create(
            **said, response_format="pcm", stream_format="sse"
        ) as answer:
            text = answer.read().decode()
        if '"error"' in text:  # the SDK hands these events over as bytes
            raise NotASuccess(text[text.index('"error"') :])
        assert "speech.audio.done" in text

    return ask


def _transcription(stream: bool) -> Ask:
    def ask(clients: Clients, key: str, prompt: str) -> None:
        client = clients.openai(key)
        asked: Any = {"model": "gpt-4o-transcribe", "file": ("a.wav", io.BytesIO(WAV)), "prompt": prompt}
        if not stream:
            assert client.audio.transcriptions.create(**asked).text
            return
        events = list(client.audio.transcriptions.create(**asked, stream=True))
        assert events[-1].type == "transcript.text.done"

    return ask


FORMS = (
    Form("openai_chat", "buffered", 0, _chat("/v1", False)),
    Form("openai_chat", "stream", 0, _chat("/v1", True)),
    Form("openai_responses", "buffered", 0, _responses(False)),
    Form("openai_responses", "stream", 0, _responses(True)),
    Form("anthropic_messages", "buffered", 1, _messages(False)),
    Form("anthropic_messages", "stream", 1, _messages(True)),
    Form("gemini_native", "buffered", 2, _native(False), upstream_streams=False),
    Form("gemini_native", "stream", 2, _native(True)),
    Form("embeddings", "buffered", 0, _embeddings, upstream_streams=False),
    Form("images", "buffered", 0, _images(False), thorough=False),
    Form("images", "stream", 0, _images(True), late=True, thorough=False),
    Form("speech", "bytes", 0, _speech(False), upstream_streams=False, thorough=False),
    Form("speech", "stream", 0, _speech(True), upstream_streams=False, thorough=False),
    Form("transcription", "buffered", 0, _transcription(False), thorough=False),
    Form("transcription", "stream", 0, _transcription(True), thorough=False),
    Form("vendor.google_compat", "buffered", 0, _chat("/v1beta/openai", False), thorough=False),
    Form("vendor.google_compat", "stream", 0, _chat("/v1beta/openai", True), thorough=False),
    Form("vendor.apigpt", "buffered", 3, _chat("/gemini/v1", False), thorough=False),
    Form("vendor.apigpt", "stream", 3, _chat("/gemini/v1", True), thorough=False),
    Form("vendor.gdc", "buffered", 0, _chat("/v1/projects/p/locations/l", False), thorough=False),
    Form("vendor.gdc", "stream", 0, _chat("/v1/projects/p/locations/l", True), thorough=False),
)
