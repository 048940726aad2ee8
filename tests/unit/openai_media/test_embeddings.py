"""Embedding requests and vectors."""

import base64
import json
import math
import struct

import pytest

from shared.dialects.openai_media.embeddings import (
    embeddings_pieces,
    guessed_usage,
    parse,
    told_usage,
    vectors,
)
from shared.errors import GatewayError
from tests.unit.openai_media.requests import context


def job(model="gemini-embedding-001", **body):
    return parse({"input": "hello", **body}, context(model))


def test_a_single_text_and_a_list():
    assert job().texts == ("hello",)
    assert job(input=["a", "b"]).texts == ("a", "b")
    assert job(input=["a"]).requests(["a"]) == [{"content": {"parts": [{"text": "a"}]}}]


def test_tokens_are_text_again():
    """As recorded from LangChain, which sends `cl100k_base` whatever the model."""
    assert job(input=[3923, 374, 220, 17, 489, 220, 19, 30]).texts == ("What is 2 + 4?",)
    assert job(input=[[9906, 1917, 4999, 16], [10590, 100_257]]).texts == ("Hello world!\n1", "math")
    assert job(input=[[0], [100_255], [57668, 53901]]).texts == ("!", " Conveyor", "你好")
    assert job(input=[9468]).texts == ("\ufffd",)  # a token may be half a character


def test_batches_of_a_hundred_keep_the_order():
    texts = [f"text {number}" for number in range(250)]
    batches = job(input=texts).batches()
    assert [len(batch) for batch in batches] == [100, 100, 50]
    assert [text for batch in batches for text in batch] == texts


@pytest.mark.parametrize(
    ("value", "param", "word"),
    [
        ("", "input", "not empty"),
        ([], "input", "list of texts"),
        (None, "input", "list of texts"),
        ({"a": 1}, "input", "list of texts"),
        (["a", ""], "input[1]", "not empty"),
        (["a", {"text": "b"}], "input[1]", "not empty"),
        ([9906, 100_300], "input", "cl100k_base"),
        ([[9906], [-1]], "input[1]", "cl100k_base"),
        ([[9906], []], "input[1]", "not empty"),
        ([[9906], [True]], "input[1]", "not empty"),
        ([9906, "a"], "input", "not empty"),
        ([100_257], "input", "not empty"),
        (["x"] * 2049, "input", "2048"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(value, param, word):
    with pytest.raises(GatewayError) as refused:
        job(input=value)
    assert (refused.value.kind, refused.value.param) == ("invalid_request", param)
    assert word in refused.value.message


@pytest.mark.parametrize(
    ("model", "asked", "upstream", "answered"),
    [
        ("gemini-embedding-001", None, None, 0),
        ("gemini-embedding-001", 768, 768, 768),
        ("gemini-embedding-2", 3072, 3072, 3072),
        ("gemini-embedding-001", 10, 128, 10),  # below the upstream's smallest: cut here
        ("text-embedding-004", None, 768, 768),
        ("models/embedding-001", None, 768, 768),
        ("text-embedding-3-small", None, 1536, 1536),
        ("text-embedding-3-small", 256, 256, 256),
        ("text-embedding-ada-002", None, 1536, 1536),
        ("text-embedding-3-large", None, None, 0),
    ],
)
def test_dimensions(model, asked, upstream, answered):
    made = job(model, dimensions=asked)
    assert made.options.get("outputDimensionality") == upstream
    assert made.dimensions == answered


@pytest.mark.parametrize("value", [0, 3073, "many", 1.5])
def test_dimensions_out_of_range(value):
    with pytest.raises(GatewayError, match="integer"):
        job(dimensions=value)


def test_task_and_title_wherever_they_stand():
    for extra in (
        {"task_type": "retrieval_document", "title": "T"},
        {"taskType": "RETRIEVAL_DOCUMENT", "title": "T"},
        {"extra_body": {"google": {"task_type": "RETRIEVAL_DOCUMENT", "title": "T"}}},
    ):
        assert job(**extra).options == {"taskType": "RETRIEVAL_DOCUMENT", "title": "T"}


def test_unknown_members_are_named_and_in_strict_mode_refused():
    assert job(colour="red", user="me").warnings == ("ignored:colour",)
    with pytest.raises(GatewayError) as refused:
        parse({"input": "x", "colour": "red"}, context("gemini-embedding-001", strict=True))
    assert (refused.value.kind, refused.value.param) == ("unsupported_parameter", "colour")


def test_a_text_model_and_an_unknown_encoding_are_refused():
    with pytest.raises(GatewayError, match="does not make embeddings"):
        job("gemini-3.8-flash")
    with pytest.raises(GatewayError, match="float, base64"):
        job(encoding_format="int8")


def answered(values, *, used=7, **body):
    found = vectors({"embeddings": [{"values": one} for one in values]}, len(values))
    return json.loads(b"".join(embeddings_pieces(job(**body), "m", found, used)))


def test_vectors_are_unit_length_in_both_encodings():
    found = [[3.0, 4.0], [0, 5]]
    floats = answered(found, encoding_format="float")
    assert [row["embedding"] for row in floats["data"]] == [[0.6, 0.8], [0.0, 1.0]]
    assert [row["index"] for row in floats["data"]] == [0, 1]
    assert {name: value for name, value in floats.items() if name != "data"} == {
        "object": "list",
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    packed = answered(found, encoding_format="base64")
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack("<2f", raw) == pytest.approx((0.6, 0.8))


def test_many_vectors_leave_in_pieces():
    found = vectors({"embeddings": [{"values": [1.0]}] * 250}, 250)
    pieces = list(embeddings_pieces(job(), "m", found, 7))
    assert len(pieces) == 3
    assert [row["index"] for row in json.loads(b"".join(pieces))["data"]] == list(range(250))


def test_a_vector_cut_short_is_made_unit_length_again():
    (row,) = answered([[1.0, 1.0, 5.0, 5.0]], dimensions=2)["data"]
    assert row["embedding"] == pytest.approx([math.sqrt(0.5)] * 2)


def test_a_vector_of_nothing_stays():
    assert answered([[0.0, 0.0]])["data"][0]["embedding"] == [0.0, 0.0]


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"embeddings": [{"values": [1.0]}]},
        {"embeddings": [{"values": [1.0]}, {"values": []}]},
        {"embeddings": [{"values": [1.0]}, {"values": ["x"]}]},
        {"embeddings": [{"values": [1.0]}, {"values": [float("nan")]}]},
        {"embeddings": [{"values": [1.0]}, {"values": [1.0, None]}]},
        {"embeddings": [{"values": [1.0]}, None]},
    ],
)
def test_an_unusable_reply_is_the_upstreams_fault(reply):
    with pytest.raises(GatewayError) as broken:
        vectors(reply, 2)
    assert broken.value.kind == "upstream_invalid_response"


def test_usage_as_told_or_guessed():
    told = told_usage(
        {
            "usageMetadata": {
                "promptTokenCount": 9,
                "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "IMAGE", "tokenCount": 5}],
            }
        }
    )
    assert (told.prompt_tokens, told.prompt_modalities, told.estimated) == (9, {"TEXT": 4, "IMAGE": 5}, False)
    assert told_usage({}) is None
    assert told_usage({"usageMetadata": {"promptTokenCount": -1}}) is None
    guessed = guessed_usage(["abcde", "x"])
    assert (guessed.prompt_tokens, guessed.estimated) == (3, True)
