"""The pure parts: one spelling of requests, splitting of streams, masks, joined hops."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.emulator import parsing
from shared.dialects.gemini_native import framing
from shared.dialects.gemini_native.canonical import canonical
from shared.dialects.gemini_native.choices import Choices, together
from shared.dialects.gemini_native.fields import FIELDS
from shared.dialects.gemini_native.framing import (
    ArrayObjects,
    ArrayWriter,
    EventObjects,
    EventWriter,
    WholeObject,
    pretty,
)
from shared.dialects.gemini_native.joined import later, summed, whole
from shared.dialects.gemini_native.masks import apply_mask, parse_mask
from shared.errors import GatewayError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=4)


def test_every_field_of_the_emulators_messages_is_known():
    for message, fields in parsing.FIELDS.items():
        if message != "PredictRequest":
            assert set(fields) <= set(FIELDS[message])


def test_free_values_keep_the_clients_own_names():
    args = {"snake_case": {"inner_key": None}}
    schema = {"type": "object", "properties": {"my_field": {"any_of": []}}}
    body = {
        "contents": {"parts": {"function_call": {"name": "f", "args": args}}},
        "tools": {"function_declarations": {"name": "f", "parameters_json_schema": schema}},
    }
    assert canonical("GenerateContentRequest", body) == {
        "contents": [{"parts": [{"functionCall": {"name": "f", "args": args}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}],
    }


def test_schemas_are_walked_and_their_property_names_are_not():
    schema = {"type": "object", "properties": {"my_field": {"type": "string", "any_of": None, "max_length": "5"}}}
    tool = {"functionDeclarations": [{"name": "f", "parameters": schema}]}
    (declared,) = canonical("Tool", tool)["functionDeclarations"]
    assert declared["parameters"] == {"type": "OBJECT", "properties": {"my_field": {"type": "STRING", "maxLength": 5}}}


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("maxOutputTokens", "12", 12),
        ("max_output_tokens", 12.0, 12),
        ("temperature", "0.5", 0.5),
        ("responseModalities", "audio", ["AUDIO"]),
        ("media_resolution", 2, 2),
        ("stopSequences", None, None),
    ],
)
def test_scalars_in_their_other_forms(field, value, read):
    config = canonical("GenerationConfig", {field: value})
    assert list(config.values()) == ([] if read is None else [read])


def test_service_tiers_are_in_lower_case():
    assert canonical("GenerateContentRequest", {"service_tier": "SERVICE_TIER_FLEX"}) == {"serviceTier": "flex"}


@pytest.mark.parametrize("pair", [{"topK": 1, "top_k": 1}, {"top_k": 1, "topK": 2}])
def test_two_spellings_of_one_field_are_refused(pair):
    with pytest.raises(GatewayError) as caught:
        canonical("GenerateContentRequest", {"generationConfig": pair})
    assert caught.value.param == "generation_config.top_k"


@pytest.mark.parametrize(
    ("body", "path", "text"),
    [
        (
            {"tools": {"functionDeclarations": [{"parameters": {"properties": {"myField": {"maxLength": "x"}}}}]}},
            "tools[0].function_declarations[0].parameters.properties.myField.max_length",
            "Invalid value at '{}' (TYPE_INT32).",
        ),
        (
            {"contents": [{"parts": [{"text": "a"}, {"inline_data": {"mimeType": 1}}]}]},
            "contents[0].parts[1].inline_data.mime_type",
            "Invalid value at '{}' (TYPE_STRING).",
        ),
        ({"systemInstruction": "x"}, "system_instruction", "Invalid value at '{}': an object is expected."),
        (
            {"generationConfig": [{}]},
            "generation_config",
            "Invalid JSON payload received. Unknown name \"generation_config\" at '{}': Proto field is not repeating, "
            "cannot start list.",
        ),
    ],
)
def test_a_refusal_names_the_place(body, path, text):
    with pytest.raises(GatewayError) as caught:
        canonical("GenerateContentRequest", body)
    assert (caught.value.param, caught.value.message) == (path, text.format(path))


@given(OBJECTS, st.randoms(use_true_random=False), st.sampled_from(["compact", "indented"]))
def test_any_split_of_an_array_gives_the_same_bytes(objects, chance, style):
    raws = [pretty(item) if style == "indented" else json.dumps(item).encode() for item in objects]
    writer = ArrayWriter()
    stream = b"".join(writer.element(raw) for raw in raws) + writer.close()
    assert json.loads(stream) == objects
    assert split(ArrayObjects(), stream, chance) == raws


@given(OBJECTS, st.randoms(use_true_random=False))
def test_any_split_of_events_gives_the_same_bytes(objects, chance):
    raws = [json.dumps(item, ensure_ascii=False).encode() for item in objects]
    writer = EventWriter()
    stream = b"".join(writer.element(raw) for raw in raws) + writer.close()
    assert split(EventObjects(), stream, chance) == raws


def split(splitter, stream: bytes, chance: random.Random):
    found, at = [], 0
    while at < len(stream):
        size = chance.randint(1, 7)
        found += splitter.feed(stream[at : at + size])
        at += size
    return found + splitter.close()


def test_a_plain_reply_is_one_object_of_bounded_size(monkeypatch):
    splitter = WholeObject()
    assert splitter.feed(b'{"a"') == splitter.feed(b":1}") == []
    assert splitter.close() == [b'{"a":1}']
    assert WholeObject().close() == [b""]
    monkeypatch.setattr(framing, "MAX_EVENT_BYTES", 6)
    splitter = WholeObject()
    assert splitter.feed(b'{"a"') == []
    with pytest.raises(GatewayError) as caught:
        splitter.feed(b":1}")
    assert caught.value.kind == "upstream_invalid_response"


def test_an_array_that_breaks_off_in_an_object_is_broken():
    splitter = ArrayObjects()
    assert splitter.feed(b'[{"a":1},{"b":') == [b'{"a":1}']
    with pytest.raises(GatewayError) as caught:
        splitter.close()
    assert caught.value.kind == "upstream_interrupted"


@pytest.mark.parametrize(
    ("mask", "kept"),
    [
        ("a", {"a": [{"b": 1, "c": {"d": 2}}]}),
        ("a/b", {"a": [{"b": 1}]}),
        ("a.c.d", {"a": [{"c": {"d": 2}}]}),
        ("a(b,c/d)", {"a": [{"b": 1, "c": {"d": 2}}]}),
        ("a/*/d", {"a": [{"b": 1, "c": {"d": 2}}]}),
        ("snake_name, a/b", {"a": [{"b": 1}], "snakeName": 3}),
        ("a/b,a", {"a": [{"b": 1, "c": {"d": 2}}]}),
        ("a,a/b", {"a": [{"b": 1, "c": {"d": 2}}]}),
        ("*", {"a": [{"b": 1, "c": {"d": 2}}], "snakeName": 3}),
        ("nothing", {}),
    ],
)
def test_partial_responses(mask, kept):
    assert apply_mask(parse_mask(mask), {"a": [{"b": 1, "c": {"d": 2}}], "snakeName": 3}) == kept


@pytest.mark.parametrize("mask", ["", ",", "a(", "a)", "a//b", "a b!", "a/", "(a)", "a" * 3000])
def test_what_is_no_mask(mask):
    with pytest.raises(GatewayError):
        parse_mask(mask)


USAGES = st.dictionaries(st.sampled_from(["promptTokenCount", "totalTokenCount", "promptTokensDetails"]), JSON)
DETAILS = st.lists(JSON | st.dictionaries(st.sampled_from(["modality", "tokenCount"]), JSON), max_size=3)
REPLIES = st.fixed_dictionaries(
    {},
    optional={
        "usageMetadata": USAGES | st.fixed_dictionaries({"promptTokensDetails": DETAILS}) | JSON,
        "candidates": JSON | st.lists(st.fixed_dictionaries({}, optional={"content": JSON}), max_size=2),
        "responseId": JSON,
    },
)


@given(st.lists(REPLIES, min_size=1, max_size=4))
def test_replies_of_any_form_are_joined(replies):
    whole(replies)
    choices = Choices(len(replies))
    for at, reply in enumerate(replies):
        choices.chunk(at, reply)
        later(reply, "r", [{"promptTokenCount": 1}])
    together(replies)


def test_what_is_no_count_counts_nothing():
    odd = {"promptTokenCount": None, "promptTokensDetails": None, "cacheTokensDetails": [None, {"modality": "TEXT"}]}
    told = {"promptTokenCount": "3", "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}]}
    text = {"modality": "TEXT", "tokenCount": 3}
    assert summed([told, odd])["promptTokenCount"] == 3
    assert summed([told, odd])["promptTokensDetails"] == [text]
    assert summed([odd, told])["cacheTokensDetails"] == [{**text, "tokenCount": 0}]


def test_hops_add_up():
    def hop(text, reason, prompt, details):
        usage = {"promptTokenCount": prompt, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": details}]}
        parts = [{"text": text}]
        return {
            "candidates": [{"content": {"parts": parts}, "finishReason": reason}],
            "usageMetadata": usage,
            "responseId": text,
        }

    made = whole([hop("one ", "CONTINUATION", 3, 3), hop("two", "STOP", 5, 5)])
    assert made["candidates"][0]["content"] == {"role": "model", "parts": [{"text": "one two"}]}
    assert made["candidates"][0]["finishReason"] == "STOP" and made["responseId"] == "one "
    assert made["usageMetadata"] == summed([{"promptTokenCount": 8}]) | {
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}]
    }
