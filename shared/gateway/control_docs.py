"""The API's description as OpenAPI, and as one page of HTML that needs no script and nothing from elsewhere."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from shared.gateway.control_bodies import KeyChange, NewKey, Rotation
from shared.gateway.registry import ROWS

_REF = "#/components/schemas/{model}"
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem}
code{font-family:ui-monospace,monospace}
summary{cursor:pointer;padding:.25rem 0}
table{border-collapse:collapse;margin:.5rem 0 1rem 1rem}
td,th{border-bottom:1px solid #8886;padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"


def complete(app: FastAPI) -> dict[str, Any]:
    """The control plane's description with the data plane's paths, whose bodies are those of their dialects."""
    described = get_openapi(
        title="Gemini gateway",
        version=app.version,
        description="Google's Gemini behind the APIs of OpenAI, Anthropic and Google, with keys and budgets.",
        routes=app.routes,
    )
    _, schemas = models_json_schema(
        [(model, "validation") for model in (NewKey, KeyChange, Rotation)], ref_template=_REF
    )
    components = described.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas["$defs"])
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"key": []}]
    for operations in described["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # a bad parameter is 400 here
    for path, method, operation in _data_plane():
        described["paths"].setdefault(path, {}).setdefault(method, operation)
    return described


def _data_plane() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for row in ROWS:
        if row.path.startswith(("//", "/internal/")):  # misspellings, and what only we ask
            continue
        path = re.sub(r":[a-z]+}", "}", row.path)
        yield (
            path,
            row.method.lower(),
            {
                "tags": [row.endpoint],
                "summary": f"{row.action.replace('_', ' ')} ({row.dialect.replace('_', ' ')})",
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    for name in re.findall(r"{([a-z_]+)}", path)
                ],
                "responses": {"200": {"description": "The answer in the dialect of the path"}},
            },
        )


def page(described: Mapping[str, Any]) -> str:
    """The description as HTML: one entry for each operation, its parameters and body."""
    schemas = described["components"]["schemas"]
    sections: dict[str, list[str]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            entry = _entry(path, method, operation, schemas)
            sections.setdefault(operation["tags"][0], []).append(entry)
    body = "".join(f"<section><h2>{escape(tag)}</h2>{''.join(entries)}</section>" for tag, entries in sections.items())
    title = escape(described["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} API</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title} API</h1>"
        f"<p>{escape(described['info']['description'])} Every operation takes a key as "
        '<code>Authorization: Bearer …</code>. For tools: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{body}</main></body></html>"
    )


def _entry(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    rows = [
        (parameter["name"], _type(parameter["schema"]), parameter.get("description", ""))
        for parameter in operation.get("parameters", ())
    ]
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        rows += [
            (member, _type(schema), schema.get("description", ""))
            for member, schema in schemas[name]["properties"].items()
        ]
    listed = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{escape(text)}</td></tr>"
        for name, kind, text in rows
    )
    table = f"<table><tr><th>name</th><th>type</th><th></th></tr>{listed}</table>" if rows else ""
    head = f"<code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}"
    return f"<details><summary>{head}</summary>{table}</details>"


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    return " | ".join(map(str, schema["enum"])) if "enum" in schema else str(schema.get("type", "any"))
