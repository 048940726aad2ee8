"""What the emulated model says without a directive."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import jsonschema
import pytest

from infra.local.emulator import media
from infra.local.emulator.instances import instance

MODEL = "gemini-3.8-flash"
DUMMY = "skip_thought_signature_validator"


def text(got: Any) -> str:
    return "".join(part.get("text", "") for part in got.candidate["content"]["parts"])


def test_echo(upstream: Any, say: Any) -> None:
    assert text(upstream.unary(MODEL, say("What is 2+2?"))) == "Echo: What is 2+2?"


def test_media_is_described(upstream: Any) -> None:
    parts = [
        {"text": "what is this?"},
        media.inline("image/png", media.png("x", "16:9")),
        media.inline("audio/wav", b"12345"),
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/a.pdf"}},
    ]
    got = upstream.unary(MODEL, {"contents": [{"role": "user", "parts": parts}]})
    size = len(media.png("x", "16:9"))
    assert text(got) == (
        f"Echo: what is this? [image/png {size} bytes 32x18] [audio/wav 5 bytes] "
        "[application/pdf at https://example.com/a.pdf]"
    )
    kinds = {row["modality"] for row in got.json["usageMetadata"]["promptTokensDetails"]}
    assert kinds == {"TEXT", "IMAGE", "AUDIO", "DOCUMENT"}


def test_jpeg_size() -> None:
    frame = b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 30, 40) + b"\x01\x01\x11\x00"
    assert media.pixels(b"\xff\xd8\xff\xe0\x00\x04ab" + frame) == (40, 30)
    assert media.pixels(b"\xff\xd8") is None


def test_a_mentioned_function_is_called_with_valid_args(upstream: Any, say: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city"],
    }
    tools = [{"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": schema}, {"name": "get_time"}]}]
    (part,) = upstream.unary(MODEL, say("Use get_weather for Paris", tools=tools)).candidate["content"]["parts"]
    assert part["functionCall"]["name"] == "get_weather"
    jsonschema.validate(part["functionCall"]["args"], schema)
    assert text(upstream.unary(MODEL, say("forget_weather_", tools=tools))).startswith("Echo:")


def test_results_are_quoted_and_not_asked_for_again(upstream: Any) -> None:
    contents = [
        {"role": "user", "parts": [{"text": "use f"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": DUMMY}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"degrees": 21}}}]},
    ]
    body = {"contents": contents, "tools": [{"functionDeclarations": [{"name": "f"}]}]}
    assert text(upstream.unary(MODEL, body)) == 'Result of f: {"degrees": 21}'


@pytest.mark.parametrize(
    ("config", "called"),
    [
        ({"mode": "ANY"}, "f"),
        ({"mode": "any", "allowedFunctionNames": ["g"]}, "g"),
        ({"mode": "NONE"}, None),
        ({"mode": "AUTO"}, None),
    ],
)
def test_calling_modes(upstream: Any, say: Any, config: dict[str, Any], called: str | None) -> None:
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    body = say("hello", tools=tools, toolConfig={"functionCallingConfig": config})
    part = upstream.unary(MODEL, body).candidate["content"]["parts"][0]
    assert part.get("functionCall", {}).get("name") == called


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"]},
    {"type": "array", "items": {"type": "string", "minLength": 9, "maxLength": 10}, "minItems": 3},
    {"type": "object", "properties": {"k": {"enum": ["x", "y"]}, "n": {"type": ["number", "null"], "maximum": -2}}},
    {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}]},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"v": {"const": 3}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["v", "next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["kids"],
    },
    {"type": "object", "properties": {"d": {"type": "string", "format": "date-time"}}, "minProperties": 3},
    {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}], "type": "object"},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": False},
    {"type": "integer", "exclusiveMinimum": 7, "multipleOf": 5},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_instances_are_valid_under_their_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(instance(schema))


def test_json_output(upstream: Any, say: Any) -> None:
    schema = SCHEMAS[4]
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    jsonschema.validate(json.loads(text(upstream.unary(MODEL, say("x", generationConfig=config)))), schema)
    plain = upstream.unary(MODEL, say("x", generationConfig={"responseMimeType": "application/json"}))
    assert json.loads(text(plain)) == {"echo": "Echo: x"}
    proto = {"responseMimeType": "application/json", "responseSchema": {"type": "ARRAY", "items": {"type": "INTEGER"}}}
    assert json.loads(text(upstream.unary(MODEL, say("x", generationConfig=proto)))) == [1]


def test_enum_output(upstream: Any, say: Any) -> None:
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["cat", "dog"]}}
    assert text(upstream.unary(MODEL, say("x", generationConfig=config))) == "cat"


def test_image_models_draw_a_valid_png(upstream: Any, say: Any) -> None:
    config = {"imageConfig": {"aspectRatio": "9:16"}}
    words, image = upstream.unary("gemini-3.1-flash-image", say("a cat", generationConfig=config)).candidate["content"][
        "parts"
    ]
    assert words["text"]
    data = base64.b64decode(image["inlineData"]["data"])
    assert media.pixels(data) == (18, 32)
    stream = io.BytesIO(data[8:])
    kinds = []
    while header := stream.read(8):
        length, kind = struct.unpack(">I4s", header)
        payload, checksum = stream.read(length), stream.read(4)
        assert zlib.crc32(kind + payload) == int.from_bytes(checksum, "big")
        kinds.append(kind)
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_image_only(upstream: Any, say: Any) -> None:
    config = {"responseModalities": ["IMAGE"]}
    got = upstream.unary("gemini-2.5-flash-image", say("a cat", generationConfig=config))
    (part,) = got.candidate["content"]["parts"]
    assert part["inlineData"]["mimeType"] == "image/png"
    assert got.json["usageMetadata"]["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": 1290}]


def test_tts_answers_raw_pcm(upstream: Any, say: Any) -> None:
    config = {"responseModalities": ["AUDIO"]}
    got = upstream.unary("gemini-3.8-flash-tts", say("Say hello to everyone", generationConfig=config))
    (part,) = got.candidate["content"]["parts"]
    assert part["inlineData"]["mimeType"] == "audio/L16;codec=pcm;rate=24000"
    samples = base64.b64decode(part["inlineData"]["data"])
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    assert max(values) > 1000
    assert min(values) < -1000
    assert not samples.startswith(b"RIFF")


def test_stop_sequences_cut_before_the_match(upstream: Any, say: Any) -> None:
    got = upstream.unary(MODEL, say("one two three", generationConfig={"stopSequences": ["three", " two"]}))
    assert text(got) == "Echo: one"
    assert got.candidate["finishReason"] == "STOP"


def test_max_output_tokens_counts_thinking_first(upstream: Any, say: Any) -> None:
    def ask(limit: int, model: str = "gemini-3.6-flash", level: str = "MINIMAL") -> Any:
        config = {"maxOutputTokens": limit, "thinkingConfig": {"thinkingLevel": level}}
        return upstream.unary(model, say("a longer text to be cut", generationConfig=config))

    cut = ask(3)
    assert (text(cut), cut.candidate["finishReason"]) == ("Echo: a long", "MAX_TOKENS")
    assert ask(1000).candidate["finishReason"] == "STOP"
    eaten = ask(5, level="HIGH")
    assert eaten.candidate == {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    assert eaten.json["usageMetadata"]["thoughtsTokenCount"] == 2


def test_several_candidates_where_allowed(upstream: Any, say: Any) -> None:
    rows = upstream.unary("gemini-2.5-flash", say("x", generationConfig={"candidateCount": 3})).json["candidates"]
    assert [row["index"] for row in rows] == [0, 1, 2]


def test_logprobs(upstream: Any, say: Any) -> None:
    config = {"responseLogprobs": True, "logprobs": 2}
    candidate = upstream.unary("gemini-2.5-flash", say("one two", generationConfig=config)).candidate
    result = candidate["logprobsResult"]
    assert "".join(row["token"] for row in result["chosenCandidates"]) == "Echo: one two"
    assert [len(row["candidates"]) for row in result["topCandidates"]] == [2, 2, 2]
    assert result["logProbabilitySum"] == sum(row["logProbability"] for row in result["chosenCandidates"])


def test_embeddings(upstream: Any) -> None:
    def row(model: str, text: str) -> dict[str, Any]:
        return {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, "outputDimensionality": 8}

    two = upstream.unary("gemini-embedding-2", {"requests": [row("gemini-embedding-2", t) for t in ("a", "b", "a")]},
                         "batchEmbedContents").json  # fmt: skip
    first, second, third = (vector["values"] for vector in two["embeddings"])
    assert len(first) == 8
    assert first == third != second
    assert sum(value * value for value in first) == pytest.approx(1)
    assert two["usageMetadata"] == {
        "promptTokenCount": 3,
        "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 3}],
    }
    one = upstream.unary("gemini-embedding-001", row("gemini-embedding-001", "a"), "embedContent").json
    assert list(one) == ["embedding"]


def test_cached_content_is_part_of_the_prompt(upstream: Any, say: Any) -> None:
    usage = upstream.unary(MODEL, say("x", cachedContent="cachedContents/abc")).json["usageMetadata"]
    assert 0 < usage["cachedContentTokenCount"] <= usage["promptTokenCount"]
    assert upstream.unary(MODEL, say("x", cachedContent="cachedContents/missing")).status == 403
