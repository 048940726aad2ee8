import copy
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.gemini.schema import clean_json_schema, openapi_schema

ALLOWED = {
    *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"),
    *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"),
    *("required", "propertyOrdering"),
}
OPENAPI_ALLOWED = {
    *("type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties"),
    *("required", "minProperties", "maxProperties", "minimum", "maximum", "minLength", "maxLength", "pattern"),
    *("example", "anyOf", "propertyOrdering", "default"),
}


def nodes(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema inside a cleaned schema, by position."""
    found = [schema]
    for key in ("properties", "$defs"):
        found += [node for child in schema.get(key, {}).values() for node in nodes(child)]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += nodes(schema[key])
    for key in ("prefixItems", "anyOf", "oneOf"):
        found += [node for child in schema.get(key, []) for node in nodes(child)]
    return found


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ({"type": "string", "minLength": 1, "pattern": "x", "default": "a", "examples": ["b"]}, {"type": "string"}),
        ({"$schema": "x", "$comment": "y", "type": "object", "strict": True}, {"type": "object"}),
        ({"const": "a"}, {"enum": ["a"]}),
        ({"type": "integer", "const": 3}, {"type": "integer", "enum": [3]}),
        ({"const": True}, {"type": "boolean"}),
        ({"const": None}, {"type": "null"}),
        ({"type": "boolean", "enum": [True, False]}, {"type": "boolean"}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "number", "enum": [1.5]}, {"type": "number", "enum": [1.5]}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "any"}, {}),
        ({"type": ["string", "any"]}, {"type": "string"}),
        (
            {"type": ["string", "null"], "enum": ["a", None]},
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
        ),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
        ),
        (
            {"anyOf": [{"type": "string"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"oneOf": [{"const": 1}, {"type": "string"}]}, {"oneOf": [{"enum": [1]}, {"type": "string"}]}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "prefixItems": [{"type": "string"}]}),
        ({"type": "array", "items": True, "uniqueItems": True}, {"type": "array", "items": {}}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({"type": "object", "patternProperties": {"x": {}}, "propertyNames": {}}, {"type": "object"}),
        (
            {"type": "object", "properties": {"a": True}, "required": ["a"]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        ),
        (
            {"type": "object", "properties": {"a": {}, "b": False}, "required": ["a", "b", "c"]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        ),
        ({"not": {"type": "string"}, "if": {}, "then": {}, "else": {}}, {}),
        ({"minimum": 1, "maximum": True, "minItems": -1}, {"minimum": 1}),
        ({"description": None, "title": 3, "format": "date"}, {"format": "date"}),
        (True, {}),
        (None, {}),
        ("string", {}),
        ([], {}),
    ],
)
def test_cleaning(given: Any, cleaned: dict[str, Any]) -> None:
    assert clean_json_schema(given) == cleaned


def test_property_names_are_data() -> None:
    names = (
        "$ref",
        "$schema",
        "const",
        "default",
        "pattern",
        "allOf",
        "enum",
        "type",
        "properties",
        "required",
        "nullable",
    )
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}
    assert clean_json_schema(schema) == schema
    defs = {"type": "object", "properties": {"x": {"$ref": "#/$defs/const"}}, "$defs": {"const": {"type": "string"}}}
    assert clean_json_schema(defs) == defs


def test_all_of_is_merged() -> None:
    cleaned = clean_json_schema(
        {
            "description": "mine",
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "description": "theirs"},
                {"properties": {"b": {"type": "integer"}, "a": {"description": "both"}}, "required": ["b"]},
            ],
        }
    )
    assert cleaned == {
        "type": "object",
        "description": "mine",
        "properties": {"a": {"type": "string", "description": "both"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    }


def test_all_of_one_reference_stays_a_reference() -> None:
    schema = {
        "properties": {"a": {"allOf": [{"$ref": "#/definitions/A"}], "default": 1}},
        "definitions": {"A": {"type": "string"}},
    }
    assert clean_json_schema(schema) == {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}


def test_all_of_two_references_holds_both() -> None:
    cleaned = clean_json_schema(
        {
            "allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
            "$defs": {
                "A": {"type": "object", "properties": {"a": {"type": "string"}}},
                "B": {"properties": {"b": {"type": "string"}}},
            },
        }
    )
    assert cleaned["type"] == "object"
    assert cleaned["properties"] == {"a": {"type": "string"}, "b": {"type": "string"}}


def test_siblings_of_a_reference_are_merged_into_a_copy() -> None:
    cleaned = clean_json_schema(
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A", "description": "here"}, "b": {"$ref": "#/$defs/A", "default": 1}},
            "$defs": {"A": {"type": "string", "description": "there", "enum": ["x"]}},
        }
    )
    assert cleaned["properties"] == {
        "a": {"type": "string", "description": "here", "enum": ["x"]},
        "b": {"$ref": "#/$defs/A"},
    }


def test_a_root_reference_is_resolved() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert clean_json_schema({"$ref": "#/$defs/Node", "$defs": {"Node": node}}) == {**node, "$defs": {"Node": node}}


def test_references_to_other_places_get_a_definition() -> None:
    cleaned = clean_json_schema(
        {
            "type": "object",
            "properties": {
                "a": {"type": "string", "pattern": "x"},
                "b": {"$ref": "#/properties/a"},
                "c": {"$ref": "#"},
            },
        }
    )
    assert cleaned["properties"]["b"] == {"$ref": "#/$defs/a"}
    assert cleaned["$defs"]["a"] == {"type": "string"}
    assert cleaned["properties"]["c"] == {"$ref": "#/$defs/root"}
    assert cleaned["$defs"]["root"]["properties"]["c"] == {"$ref": "#/$defs/root"}


@pytest.mark.parametrize("target", ["#/$defs/Missing", "https://example.com/schema", "#nowhere", "#/properties/a/9"])
def test_a_reference_that_leads_nowhere_allows_anything(target: str) -> None:
    cleaned = clean_json_schema(
        {"type": "object", "properties": {"a": {"$ref": target, "title": "A"}, "b": {"$ref": target}}}
    )
    assert cleaned["properties"] == {"a": {"title": "A"}, "b": {}}


def test_a_required_property_that_closes_a_cycle_becomes_optional() -> None:
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "required": ["name", "children"],
    }
    cleaned = clean_json_schema(
        {
            "type": "object",
            "properties": {"root": {"$ref": "#/$defs/Node"}},
            "required": ["root"],
            "$defs": {"Node": node},
        }
    )
    assert cleaned["$defs"]["Node"]["required"] == ["name"]
    assert cleaned["required"] == ["root"]


CYCLES: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"allOf": [{"$ref": "#"}]},
    {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
    {"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}, {"type": "object"}]}}},
    {"type": "object", "properties": {"x": {"$ref": "#", "description": "again"}}},
    {
        "$ref": "#/$defs/A",
        "$defs": {
            "A": {"allOf": [{"$ref": "#/$defs/B"}], "description": "a"},
            "B": {"properties": {"x": {"allOf": [{"$ref": "#/$defs/A"}, {"description": "x"}]}}},
        },
    },
    {
        "$ref": "#/$defs/D0",
        "$defs": {
            f"D{i}": {
                "type": "object",
                "properties": {side: {"$ref": f"#/$defs/D{i + 1}", "title": side} for side in "abcd"},
            }
            for i in range(40)
        },
    },
]


@pytest.mark.parametrize("schema", CYCLES)
@pytest.mark.parametrize("clean", [clean_json_schema, openapi_schema])
def test_cycles_and_multiplying_references_stay_bounded(schema: dict[str, Any], clean: Any) -> None:
    cleaned = clean(copy.deepcopy(schema))
    assert len(json.dumps(cleaned)) < 1_000_000


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "description": "x" * 140_000},
        {"type": "string", "enum": [str(number) for number in range(1001)]},
        {"properties": {f"p{i}": {"enum": [f"{i}{j}" for j in range(26)]} for i in range(40)}},
    ],
)
def test_the_size_limits_name_the_parameter(schema: dict[str, Any]) -> None:
    for clean in (clean_json_schema, openapi_schema):
        with pytest.raises(GatewayError) as caught:
            clean(schema, param="tools[0].function.parameters")
        assert caught.value.kind == "invalid_request"
        assert caught.value.param == "tools[0].function.parameters"


def test_deep_nesting_is_refused_not_a_crash() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(GatewayError):
        clean_json_schema(schema)


def test_the_given_schema_is_not_changed() -> None:
    for schema in CYCLES:
        before = copy.deepcopy(schema)
        clean_json_schema(schema)
        openapi_schema(schema)
        assert schema == before


@pytest.mark.parametrize(
    ("given", "converted"),
    [
        ({"type": "string", "minLength": 1, "format": "uuid"}, {"type": "STRING", "minLength": 1}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        (
            {"type": ["object", "string"], "properties": {"a": {"type": "integer"}}, "description": "d"},
            {
                "description": "d",
                "anyOf": [
                    {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}, "propertyOrdering": ["a"]},
                    {"type": "STRING"},
                ],
            },
        ),
        ({"enum": ["a", ""]}, {"type": "STRING", "enum": ["a"], "format": "enum"}),
        ({"enum": [""], "type": "string"}, {"type": "STRING"}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "STRING", "enum": ["1", "2"], "format": "enum"}),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"], "format": "enum"}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}),
        (
            {"type": "object", "properties": {"b": {}, "a": {}}, "required": ["a"], "additionalProperties": False},
            {
                "type": "OBJECT",
                "properties": {"b": {"type": "STRING"}, "a": {"type": "STRING"}},
                "propertyOrdering": ["b", "a"],
                "required": ["a"],
            },
        ),
        (
            {"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "propertyOrdering": ["a"]},
        ),
    ],
)
def test_openapi_form(given: Any, converted: dict[str, Any]) -> None:
    assert openapi_schema(given) == converted


def test_openapi_inlines_references_and_cuts_a_cycle_to_an_object() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}}
    assert openapi_schema({"$ref": "#/$defs/N", "$defs": {"N": node}})["properties"] == {
        "next": {"type": "OBJECT", "properties": {"next": {"type": "OBJECT"}}, "propertyOrdering": ["next"]}
    }


WORDS = st.sampled_from(
    sorted(ALLOWED | {"allOf", "const", "nullable", "definitions", "not", "default", "pattern", "minLength", "a", "b"})
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        ["#", "#/$defs/a", "#/definitions/b", "#/properties/a", "#a", "string", "object", "array", "null", "a"]
    ),
)
JSON = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=5)),
    max_leaves=40,
)


@settings(max_examples=300)
@given(JSON)
def test_any_json_is_cleaned_to_the_allowed_words(schema: Any) -> None:
    cleaned = clean_json_schema(schema)
    for node in nodes(cleaned):
        assert node.keys() <= ALLOWED
        if "$ref" in node:
            assert all(key.startswith("$") for key in node)
            assert node["$ref"].removeprefix("#/$defs/") in cleaned["$defs"]
        for name in node.get("required", []):
            assert name in node.get("properties", {name: {}})
    for node in nodes(openapi_schema(schema)):
        assert node.keys() <= OPENAPI_ALLOWED
        assert "type" in node or "anyOf" in node


@given(JSON)
@example({"a": None, "$ref": "#"})
def test_cleaning_twice_changes_nothing_more(schema: Any) -> None:
    once = clean_json_schema(schema)
    assert clean_json_schema(once) == once
