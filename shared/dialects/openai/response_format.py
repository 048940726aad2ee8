"""`response_format`: JSON answers by the upstream's own means, or by asking for them in words where it has none."""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.openai.fields import invalid, mapping, string
from shared.gemini.catalog import Capabilities
from shared.gemini.schema import clean_json_schema, openapi_schema
from shared.gemini.types import GenerationConfig

JSON = "application/json"


class Format(Struct, frozen=True):
    """The shape that the client wants. `schema` is cleaned JSON Schema, None where any JSON object will do."""

    json: bool = False
    schema: Mapping[str, Any] | None = None
    param: str = "response_format"


def read_format(value: Any, param: str) -> Format:
    """The body's `response_format`; also the flat forms of other servers, with the schema beside the type."""
    if value is None:
        return Format()
    given = mapping(value, param)
    kind = given.get("type")
    if kind == "text":
        return Format()
    if kind == "json_object":
        flat = given.get("schema", given.get("response_schema"))
        return Format(True, _object_schema(flat, f"{param}.schema") if flat else None, param)
    if kind != "json_schema":
        raise invalid("Expected text, json_object or json_schema.", f"{param}.type")
    where = param
    if given.get("json_schema") is not None:
        where = f"{param}.json_schema"
        given = mapping(given["json_schema"], where)
    if given.get("name") is not None:
        string(given["name"], f"{where}.name")
    schema = given.get("schema")
    return Format(True, _object_schema(schema, f"{where}.schema") if schema is not None else None, param)


def read_google_format(mime_type: Any, schema: Any, param: str) -> Format:
    """`response_mime_type` and `response_schema` of `google.generation_config`; the root may be of any type there."""
    if mime_type is not None and string(mime_type, f"{param}.response_mime_type") not in (JSON, "text/plain"):
        raise invalid("Expected application/json or text/plain.", f"{param}.response_mime_type")
    if schema is None:
        return Format(mime_type == JSON, None, param)
    where = f"{param}.response_schema"
    return Format(True, clean_json_schema(mapping(schema, where), param=where), param)


def _object_schema(value: Any, param: str) -> dict[str, Any]:
    schema = mapping(value, param)
    cleaned = clean_json_schema(schema, param=param)
    root = cleaned.get("type", "object" if "properties" in cleaned else None)
    if root != "object":
        raise invalid("The root of the schema must be an object.", param.partition(".")[0])
    return {**cleaned, "type": "object"}


def apply_format(wanted: Format, config: GenerationConfig, caps: Capabilities, *, tools: bool, forced: bool) -> str:
    """Asks for JSON in `config`, or returns the sentence for the system instruction that asks in words.

    In words: models up to 2.5 refuse JSON output beside any tool, newer ones beside forced calls (R42 of the Gemini
    reference). The answer may then come inside a code fence.
    """
    if not wanted.json:
        return ""
    if (tools and not caps.json_with_tools) or forced:
        return _in_words(wanted.schema)
    config["responseMimeType"] = JSON
    if wanted.schema is not None:
        if caps.json_schema:
            config["responseJsonSchema"] = dict(wanted.schema)
        else:
            config["responseSchema"] = openapi_schema(wanted.schema, param=wanted.param)
    return ""


def _in_words(schema: Mapping[str, Any] | None) -> str:
    how = "When you answer with text, answer with one JSON object only: no code fence, no words around it."
    if schema is None:
        return how
    return (
        f"{how} It must conform to this JSON Schema:\n{json.dumps(schema, ensure_ascii=False, separators=(',', ':'))}"
    )
