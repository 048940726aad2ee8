"""Any JSON at all: a translator answers with a request or with a GatewayError that says where, and changes nothing."""

import copy
import importlib
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dialects.contract import RequestContext
from shared.dialects.gemini_native import embeddings as native_embeddings
from shared.dialects.gemini_native import predict
from shared.dialects.gemini_native.request import read_count, read_generate
from shared.dialects.openai_media import embeddings, images, speech, transcription
from shared.dialects.openai_media.members import Form, Upload
from shared.errors import ERROR_KINDS, GatewayError
from shared.gemini.catalog import resolve

DAY = date(2026, 11, 21)
CLIENT_FAULTS = ("invalid_request", "unsupported_parameter", "url_not_allowed", "unsupported_media_type")
CLIENT_FAULTS += ("request_too_large", "model_not_found", "feature_not_allowed", "context_length_exceeded", "not_found")
assert set(CLIENT_FAULTS) <= set(ERROR_KINDS)

WORDS = (
    "model", "messages", "input", "contents", "parts", "role", "user", "system", "assistant", "tool", "text", "content",
    "type", "image_url", "url", "file", "input_image", "input_text", "function", "name", "parameters", "tools",
    "tool_choice", "tool_calls", "id", "arguments", "call_id", "function_call", "function_call_output", "output",
    "reasoning", "encrypted_content", "summary", "thinking", "signature", "data", "source", "media_type", "base64",
    "image/png", "stream", "stream_options", "response_format", "json_schema", "schema", "$ref", "properties", "items",
    "enum", "anyOf", "stop", "n", "max_tokens", "max_output_tokens", "temperature", "generationConfig",
    "thinkingConfig", "functionCall", "functionResponse", "inlineData", "fileData", "fileUri", "prompt", "size",
    "voice", "speech", "instances", "requests", "dimensions", "encoding_format", "candidateCount", "instructions",
    "include", "metadata", "store", "previous_response_id", "truncation", "cache_control", "web_search", "custom",
    "https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo=", "gem1.x", "auto", "none", "required", "any",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(-1e3, 1e3) | st.text(max_size=6)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4),
    max_leaves=14,
)  # fmt: skip
MODELS = st.sampled_from(["gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.8-flash"])


def context(model: str) -> RequestContext:
    return RequestContext(resolve(model, DAY), {}, unseal=lambda text: None)


def understood_or_refused(read: Callable[[Any], Any], body: Any) -> None:
    before = copy.deepcopy(body)
    try:
        read(body)
    except GatewayError as error:
        assert error.kind in CLIENT_FAULTS, error
        assert error.message
    assert body == before


# what every body of the dialect has, so that more than the first check is reached
DIALECTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("messages", {"model": "gemini-3.8-flash"}),
    "openai_responses": ("input", {"model": "gemini-3.8-flash"}),
    "anthropic_messages": ("messages", {"model": "gemini-3.8-flash", "max_tokens": 4096}),
    "vendor.apigpt": ("contents", {"model": "gemini-3.8-flash"}),
    "vendor.gdc": ("messages", {"model": "gemini-3.8-flash"}),
    "vendor.google_compat": ("messages", {"model": "gemini-3.8-flash"}),
}


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=5), JSON, MODELS)
def test_a_chat_dialect_understands_or_refuses(name: str, extra: dict[str, Any], said: Any, model: str) -> None:
    dialect = importlib.import_module(f"shared.dialects.{name}")
    main, rest = DIALECTS[name]
    for body in ({**rest, main: said, **extra}, {**extra, main: [said]}, {**rest, main: [{"role": "user", **extra}]}):
        for verb in (dialect.requested_model, dialect.wants_stream, dialect.signature_keys):
            understood_or_refused(verb, body)
        understood_or_refused(lambda given: dialect.to_gemini(given, context(model)), body)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=5), JSON, MODELS)
def test_the_native_dialect_understands_or_refuses(extra: dict[str, Any], said: Any, model: str) -> None:
    resolved = resolve(model, DAY)
    for body in ({**extra, "contents": said}, {"contents": [{"role": "user", "parts": [said]}], **extra}):
        understood_or_refused(lambda given: read_generate(given, resolved), body)
        understood_or_refused(lambda given: read_count(given, resolved), body)
    vectors = resolve("gemini-embedding-001", DAY)
    pictures = resolve("gemini-2.5-flash-image", DAY)
    for body in ({"content": {"parts": [said]}, **extra}, {"requests": [{"content": said}, extra]}):
        understood_or_refused(lambda given: native_embeddings.read_one(given, vectors), body)
        understood_or_refused(lambda given: native_embeddings.read_batch(given, vectors), body)
    for body in ({"instances": said, **extra}, {"instances": [{"prompt": said}], "parameters": extra}):
        understood_or_refused(lambda given: predict.read_predict(given, pictures), body)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=5), JSON)
def test_the_media_dialect_understands_or_refuses(extra: dict[str, Any], said: Any) -> None:
    vectors, pictures = context("gemini-embedding-001"), context("gemini-2.5-flash-image")
    voices = context("gemini-2.5-flash-preview-tts")
    understood_or_refused(lambda body: embeddings.parse(body, vectors), {"model": "m", "input": said, **extra})
    understood_or_refused(lambda body: images.generation(body, pictures), {"model": "m", "prompt": said, **extra})
    understood_or_refused(lambda body: images.edit(body, pictures), {"images": said, "prompt": "x", **extra})
    understood_or_refused(lambda body: speech.parse(body, voices), {"input": "hello", "voice": said, **extra})


NAMES = st.sampled_from(
    ["model", "prompt", "language", "response_format", "temperature", "size", "n", "image", "file", "mask", "stream",
     "timestamp_granularities[]", "include[]", "chunking_strategy[type]", "known_speaker_names[]", "background"]
)  # fmt: skip
UPLOADS = st.builds(
    Upload,
    st.text(max_size=5) | st.sampled_from(["a.wav", "a.png"]),
    st.sampled_from(["", "audio/wav", "image/png", "x"]),
    st.binary(max_size=20) | st.just(b"RIFF\x24\0\0\0WAVEfmt "),
)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(NAMES | st.text(max_size=4), st.text(max_size=6) | st.sampled_from(WORDS)), max_size=6),
    st.lists(st.tuples(NAMES, UPLOADS), max_size=3),
    st.sampled_from(["transcribe", "translate"]),
)
def test_forms_are_understood_or_refused(texts: Any, files: Any, task: Any) -> None:
    form = Form(texts, files)
    understood_or_refused(lambda given: transcription.parse(given, task, context("gemini-2.5-flash")), form)
    understood_or_refused(lambda given: images.edit(given, context("gemini-2.5-flash-image")), form)
    understood_or_refused(lambda given: images.variation(given, context("gemini-2.5-flash-image")), form)
