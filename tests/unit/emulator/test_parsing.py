"""The JSON parser of the upstream: what it takes, what it refuses and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.emulator import parsing
from infra.local.emulator.errors import Refusal

ROOT = "GenerateContentRequest"


def refused(body: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parsing.parse(ROOT, body)
    return caught.value


def test_both_spellings_and_mixed_levels_become_camel_case() -> None:
    body = {
        "system_instruction": {"parts": {"text": "s"}},
        "generation_config": {"thinkingConfig": {"thinking_budget": 5}, "response_mime_type": "text/plain"},
    }
    assert parsing.parse(ROOT, body) == {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 5}, "responseMimeType": "text/plain"},
    }


def test_a_single_object_stands_for_a_repeated_field() -> None:
    assert parsing.parse(ROOT, {"contents": {"parts": {"text": "x"}}}) == {"contents": [{"parts": [{"text": "x"}]}]}


@pytest.mark.parametrize("alphabet", ["-_-_", "+/+/", "+/+/+w==", "-_-_-w"])
def test_both_base64_alphabets(alphabet: str) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": alphabet}}
    assert parsing.parse(ROOT, {"contents": [{"parts": [part]}]})["contents"][0]["parts"][0] == part


def test_broken_base64_is_named() -> None:
    error = refused({"contents": [{"parts": [{"inlineData": {"data": "***"}}]}]})
    assert error.message == (
        "Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"***\""
    )


@pytest.mark.parametrize(("sent", "meant"), [("12", 12), (12.0, 12), (None, None)], ids=["text", "whole float", "null"])
def test_integers(sent: Any, meant: int | None) -> None:
    config = parsing.parse(ROOT, {"generationConfig": {"maxOutputTokens": sent}})["generationConfig"]
    assert config.get("maxOutputTokens") == meant


@pytest.mark.parametrize("value", [12.5, "x", True, 2**31, {}, "1e400"])
def test_what_is_no_int32(value: Any) -> None:
    assert "'generation_config.seed' (TYPE_INT32)" in refused({"generationConfig": {"seed": value}}).message


@pytest.mark.parametrize(("sent", "meant"), [("object", "OBJECT"), ("OBJECT", "OBJECT"), (6, "OBJECT"), (1, "STRING")])
def test_enums_by_name_in_any_case_and_by_number(sent: Any, meant: str) -> None:
    body = parsing.parse(ROOT, {"generationConfig": {"responseSchema": {"type": sent}}})
    assert body["generationConfig"]["responseSchema"]["type"] == meant


def test_an_unknown_enum_value_names_its_type() -> None:
    error = refused({"generationConfig": {"thinkingConfig": {"thinkingLevel": "xhigh"}}})
    assert error.message == (
        "Invalid value at 'generation_config.thinking_config.thinking_level' "
        '(type.googleapis.com/google.ai.generativelanguage.v1beta.ThinkingLevel), "xhigh"'
    )


def test_unknown_fields_are_all_listed_with_snake_case_paths() -> None:
    error = refused(
        {
            "nonsense": 1,
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "f",
                            "parameters": {
                                "type": "OBJECT",
                                "properties": {
                                    "a": {"type": "STRING"},
                                    "b": {"anyOf": [{"type": "STRING"}, {"const": 1}]},
                                },
                            },
                        }
                    ]
                }
            ],
        }
    )
    path = "tools[0].function_declarations[0].parameters.properties[1].value.any_of[1]"
    deep = f"Invalid JSON payload received. Unknown name \"const\" at '{path}': Cannot find field."
    top = 'Invalid JSON payload received. Unknown name "nonsense": Cannot find field.'
    assert error.body() == {
        "error": {
            "code": 400,
            "message": f"{top}\n{deep}",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"description": top}, {"field": path, "description": deep}],
                }
            ],
        }
    }


@pytest.mark.parametrize(
    "keyword",
    ["$schema", "$ref", "$defs", "additionalProperties", "const", "exclusiveMinimum", "propertyNames", "oneOf", "allOf",
     "not", "multipleOf", "uniqueItems", "prefixItems", "examples"],
)  # fmt: skip
def test_json_schema_keywords_that_a_proto_schema_does_not_have(keyword: str) -> None:
    schema = {"type": "OBJECT", keyword: {}}
    assert f'Unknown name "{keyword}"' in refused({"generationConfig": {"responseSchema": schema}}).message


def test_a_list_for_a_scalar() -> None:
    error = refused({"generationConfig": {"responseSchema": {"type": ["string", "null"]}}})
    assert error.message == (
        "Invalid JSON payload received. Unknown name \"type\" at 'generation_config.response_schema': "
        "Proto field is not repeating, cannot start list."
    )


def test_free_form_positions_are_carried_untouched() -> None:
    free = {"snake_case": [1, {"$ref": "#/x", "Type": None}], "const": 1}
    body = {
        "contents": [
            {"parts": [{"functionCall": {"name": "f", "args": free}, "partMetadata": free}]},
            {"parts": [{"functionResponse": {"name": "f", "response": free}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": free}]}],
        "generationConfig": {"responseJsonSchema": free},
        "labels": {"any_label": "x"},
    }
    assert parsing.parse(ROOT, body) == body


def test_both_spellings_of_one_field_are_refused() -> None:
    assert refused({"systemInstruction": {"parts": []}, "system_instruction": {"parts": []}}).code == 400


def test_two_members_of_the_data_oneof() -> None:
    error = refused({"contents": [{"parts": [{"text": "x", "inlineData": {"data": ""}}]}]})
    assert error.message == (
        "Invalid value at 'contents[0].parts[0]' (oneof), oneof field 'data' is already set. Cannot set 'inlineData'"
    )


@pytest.mark.parametrize("raw", [b"{", b'{"a":}', b"[1,]", b"\xff", b'{"a":' * 5000])
def test_what_is_not_json_is_a_400(raw: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parsing.loads(raw)
    assert caught.value.code == 400
    assert caught.value.message.startswith("Invalid JSON payload received.")


@pytest.mark.parametrize("body", [[], "x", 1, None])
def test_the_root_must_be_an_object(body: Any) -> None:
    assert refused(body).code == 400
