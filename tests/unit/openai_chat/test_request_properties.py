"""Whatever a client sends: a request that the upstream's schema allows, or a `GatewayError`, never anything else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.openai_chat.request import requested_model, signature_keys, to_gemini, wants_stream
from shared.errors import GatewayError
from tests.golden.upstream_rules import VALIDATOR, assert_sound
from tests.unit.broken_bodies import BUSY, broken, json_values, places
from tests.unit.openai_chat.request_setup import HI, MID, NEW, OLD, PDF, PNG, WAV, WEATHER, calls, context, result

MODELS = (OLD, MID, NEW, "gemini-4-argon", "gemma-4-31b-it", "gemini-3.8-flash-tts", "gemini-3.1-flash-image")

SPOKEN = (
    "text image_url user model assistant tool system auto none function custom json_schema json_object object string "
    "weather c1 c2 low high url data:image/png;base64, https://example.com/a.png files/x $ref allowed_tools enabled"
)
JSON = json_values(SPOKEN, ["type", "role", "content", "name", "id", "google", "tools"])

# A body that uses most of what there is, to be broken in one place.
RICH: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
                {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
                {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}, "video_metadata": {"fps": 1}},
            ],
        },
        {**calls(("c1", "weather", '{"city":"Rome"}'), ("c2", "sql", "{}")), "reasoning_details": [{"type": "x"}]},
        {"role": "system", "content": "careful"},
        result("c2", [{"type": "text", "text": "{}"}]),
        result("c1", "sunny"),
        {"role": "assistant", "content": "Rome is", "extra_content": {"google": {"thought_signature": "c2lnbmF0dXJl"}}},
    ],
    "tools": [WEATHER, {"type": "custom", "custom": {"name": "sql"}}, {"google_search": {}}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
    },
    "temperature": 1,
    "top_k": 3,
    "n": 2,
    "stop": ["a", "b"],
    "seed": 1,
    "max_tokens": 1000,
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning_effort": "low",
    "service_tier": "flex",
    "stream": True,
    "stream_options": {"include_usage": True},
    "safety_settings": [{"category": "HATE_SPEECH", "threshold": "OFF"}],
    "google": {
        "thinking_config": {"thinking_budget": 100, "include_thoughts": True},
        "generation_config": {"speech_config": {"language_code": "de"}, "mediaResolution": "low"},
        "image_config": {"aspect_ratio": "1:1"},
    },
    "extra_body": {"google": {"tools": [{"fileSearch": {"fileSearchStoreNames": ["s"]}}]}},
    "moderation": {"policy": {"input": {"mode": "warn"}}},
    "metadata": {"a": "b"},
    "store": True,
    "parallel_tool_calls": False,
}
FIELDS = sorted({*RICH, "functions", "function_call", "contents", "modalities", "audio", "reasoning", "thinking"})
PLACES = places(RICH)


def check(body: dict[str, Any], model: str) -> None:
    signature_keys(body)
    for verb in (requested_model, wants_stream):
        try:
            verb(body)
        except GatewayError as error:
            assert error.param in ("model", "model_id", "stream")
    before = copy.deepcopy(body)
    try:
        made = to_gemini(body, context(model))
    except GatewayError as error:
        assert error.param
        assert error.kind in ("invalid_request", "unsupported_parameter", "url_not_allowed")
    else:
        request = dict(made.request)
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(request)] == []
        assert_sound(request, model)
        assert all("," not in item and item.isprintable() for item in made.warnings)
    assert body == before


@BUSY
@given(st.sampled_from(PLACES), JSON, st.sampled_from(MODELS))
def test_a_rich_body_broken_in_one_place(place, value, model):
    check(broken(RICH, place, value), model)


@BUSY
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(MODELS))
def test_a_plain_body_with_anything_beside(extra, model):
    check({"messages": [HI], **extra}, model)


@BUSY
@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(MODELS))
def test_any_object_at_all(body, model):
    check(body, model)


ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
IDS = st.sampled_from(["", "c1", "c2", "c3"])
MESSAGE = st.builds(
    lambda role, text, ids, call_id: {
        "role": role,
        "content": text,
        **({"tool_calls": [{"id": i, "function": {"name": "f", "arguments": ""}} for i in ids]} if ids else {}),
        **({"tool_call_id": call_id} if role == "tool" else {}),
        **({"name": "f"} if role == "function" else {}),
    },
    ROLES,
    st.sampled_from(["", "a", "b"]),
    st.lists(IDS, max_size=3),
    IDS,
)


@BUSY
@given(st.lists(MESSAGE, max_size=8), st.sampled_from(MODELS))
def test_any_order_of_messages_gives_a_conversation_that_the_upstream_takes(messages, model):
    check({"messages": messages}, model)


@pytest.mark.parametrize("model", MODELS)
def test_the_rich_body_itself_is_understood_or_refused_for_its_logprobs(model):
    check(RICH, model)
    assert to_gemini({**RICH, "n": 1}, context(NEW)).request["contents"]
