"""Clients' JSON Schemas in the two forms that Gemini reads.

The JSON-schema form (`parametersJsonSchema`, `responseJsonSchema`) knows a part of the standard; the OpenAPI form
(`parameters`, `responseSchema`) is Google's own and refuses every unknown keyword. Only schema positions are walked:
names under `properties` and `$defs` are the client's data. What cannot be said is left out, never invented, and no odd
input raises; the one error is a schema over the size limits.
"""

import json
from collections.abc import Mapping
from typing import Any

from shared.errors import GatewayError
from shared.gemini.schema_refs import References, relax_cycles
from shared.gemini.schema_words import branches_of_enum, is_number, nullable_form, type_words

Schema = dict[str, Any]

MAX_BYTES = 128 * 1024
MAX_ENUM_VALUES = 1000
_MAX_DEPTH = 96
# Inlining can multiply a schema; past this many nodes references stay bare.
_MAX_NODES = 5000

# Keywords whose value is carried when it has the right shape (google-genai 3.4.0).
_TEXT = ("$id", "$anchor", "format", "title", "description")
_COUNTS = ("minItems", "maxItems")
_NUMBERS = ("minimum", "maximum")
# What only the OpenAPI form knows besides.
_OPENAPI_COUNTS = ("minProperties", "maxProperties", "minLength", "maxLength")
_NAME_LISTS = ("required", "propertyOrdering")
_MEASURES = frozenset([*_COUNTS, *_NUMBERS, *_OPENAPI_COUNTS])
_WITH_CHILDREN = frozenset(["properties", "additionalProperties", "items", "prefixItems", "anyOf", "oneOf"])
_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def clean_json_schema(schema: Any, *, param: str | None = None) -> Schema:
    """The schema as Gemini's JSON-schema fields take it; a root reference is resolved, so that a type stands there.

    Raises `GatewayError` invalid_request, naming `param`, over 128 KB, 1,000 enum values or absurd nesting.
    """
    refers = _check_size(schema, param)
    return relax_cycles(_Cleaner(schema, refers=refers, openapi=False).root())


def openapi_schema(schema: Any, *, param: str | None = None) -> Schema:
    """The schema as Gemini's older `parameters` and `responseSchema` fields take it: references inlined, a cycle cut to
    an object, upper-case types, `nullable`. Same errors as `clean_json_schema`."""
    from shared.gemini.schema_openapi import to_openapi  # only old models need it

    refers = _check_size(schema, param)
    return to_openapi(_Cleaner(schema, refers=refers, openapi=True).root())


def _check_size(schema: Any, param: str | None) -> bool:
    """Whether there may be references in the schema, which most have none of."""
    values, level, depth = 0, [schema], 0
    while level:
        if depth > 2 * _MAX_DEPTH:
            raise GatewayError("invalid_request", "The schema is nested too deeply.", param=param)
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below += node.values()
                if isinstance(node.get("enum"), list):
                    values += len(node["enum"])
            elif isinstance(node, list):
                below += node
        if values > MAX_ENUM_VALUES:
            raise GatewayError("invalid_request", "The schema has more than 1000 enum values.", param=param)
        level, depth = below, depth + 1
    text = _encoded(schema)
    if 4 * len(text) > MAX_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise GatewayError("invalid_request", "The schema is larger than 128 KB.", param=param)
    return '"$ref"' in text


class _Cleaner:
    """One walk over one schema. `openapi` keeps the few keywords that only the OpenAPI form knows."""

    def __init__(self, schema: Any, *, refers: bool, openapi: bool) -> None:
        self._references = References(schema, refers=refers)
        self._root = schema
        self._openapi = openapi
        self._nodes = 0
        self._inside: list[str] = []  # references whose target is being written at this moment

    def root(self) -> Schema:
        cleaned = self._node(self._root, 0)
        if "$ref" in cleaned:  # a bare reference has no type, which a root must have
            self._inside.append(cleaned["$ref"])
            cleaned = self._node(self._references.target(cleaned["$ref"]), 0)
            self._inside.pop()
        definitions = {name: self._definition(name) for name in self._references.definitions}
        return {**cleaned, "$defs": definitions} if definitions else cleaned

    def _definition(self, name: str) -> Schema:
        self._inside.append(self._references.of_definition(name))
        cleaned = self._node(self._references.definitions[name], 1)
        self._inside.pop()
        return cleaned

    def _node(self, node: Any, depth: int) -> Schema:
        self._nodes += 1
        if not isinstance(node, dict) or depth > _MAX_DEPTH:
            return {}  # `true`, and everything that is no schema: any value
        if "$ref" not in node and "allOf" not in node:
            return self._written(node, depth)
        opened: list[str] = []
        while isinstance(node.get("$ref"), str) or isinstance(node.get("allOf"), list):
            node = self._flattened(node)
            reference = self._references.canonical(node["$ref"]) if isinstance(node.get("$ref"), str) else None
            if reference is None:
                node = {key: value for key, value in node.items() if key != "$ref"}
                continue
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            if not self._says_anything(siblings) or reference in self._inside or self._nodes > _MAX_NODES:
                del self._inside[len(self._inside) - len(opened) :]
                return {"$ref": reference}
            # A `$ref` may have no siblings, so a copy of the target is written here with the siblings merged in.
            self._nodes += 1
            self._inside.append(reference)
            opened.append(reference)
            node = _merged(siblings, self._references.target(reference))
        written = self._written(node, depth)
        del self._inside[len(self._inside) - len(opened) :]
        return written

    def _written(self, node: Mapping[str, Any], depth: int) -> Schema:
        """A node without `$ref` and `allOf`."""
        cleaned = self._annotations(node)
        if not _WITH_CHILDREN.isdisjoint(node):
            self._children(node, cleaned, depth)
        return self._typed(node, cleaned)

    def _flattened(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """The node with the branches of its `allOf` folded in; what the node says itself wins. Of several references
        one stays as `$ref`, the others are opened here."""
        if not isinstance(node.get("allOf"), list):
            return node
        merged: Schema = {key: value for key, value in node.items() if key != "allOf"}
        seen = {merged["$ref"]} if isinstance(merged.get("$ref"), str) else set()
        todo: list[Mapping[str, Any]] = [branch for branch in reversed(node["allOf"]) if isinstance(branch, dict)]
        while todo and self._nodes <= _MAX_NODES:
            self._nodes += 1
            branch = todo.pop()
            nested = branch.get("allOf")
            reference = branch.get("$ref")
            own = {key: value for key, value in branch.items() if key not in ("allOf", "$ref")}
            merged = _merged(merged, own)
            todo.extend(item for item in reversed(nested if isinstance(nested, list) else []) if isinstance(item, dict))
            if isinstance(reference, str) and reference not in seen:
                seen.add(reference)
                if "$ref" not in merged:
                    merged["$ref"] = reference
                elif (target := self._references.target(reference)) is not None:
                    todo.append(target)
        return merged

    def _says_anything(self, siblings: Mapping[str, Any]) -> bool:
        """Whether anything would be left of the siblings of a `$ref` after cleaning."""
        probe = {key: value for key, value in siblings.items() if key not in ("$defs", "definitions")}
        return bool(self._annotations(probe)) or any(
            key in probe
            for key in ("type", "enum", "const", "nullable", "properties", "items", "prefixItems", "anyOf", "oneOf")
        )

    def _annotations(self, node: Mapping[str, Any]) -> Schema:
        """The keywords without schemas inside."""
        cleaned: Schema = {key: node[key] for key in _TEXT if key in node and isinstance(node[key], str)}
        if not _MEASURES.isdisjoint(node):
            counts = _COUNTS + _OPENAPI_COUNTS if self._openapi else _COUNTS
            cleaned |= {
                key: int(node[key]) for key in counts if key in node and is_number(node[key]) and node[key] >= 0
            }
            cleaned |= {key: node[key] for key in _NUMBERS if key in node and is_number(node[key])}
        if self._openapi:
            cleaned |= {key: node[key] for key in ("pattern",) if isinstance(node.get(key), str)}
            cleaned |= {key: node[key] for key in ("default", "example") if node.get(key) is not None}
        for key in _NAME_LISTS:
            if key in node and isinstance(node[key], list):
                cleaned[key] = list(dict.fromkeys(name for name in node[key] if isinstance(name, str)))
        if not cleaned.get("required", True):
            del cleaned["required"]
        return cleaned

    def _children(self, node: Mapping[str, Any], cleaned: Schema, depth: int) -> None:
        self._properties(node, cleaned, depth)
        extra = node.get("additionalProperties")
        if isinstance(extra, bool):
            cleaned["additionalProperties"] = extra
        elif isinstance(extra, dict):
            cleaned["additionalProperties"] = self._node(extra, depth + 1)
        items, tuple_items = node.get("items"), node.get("prefixItems")
        if isinstance(items, list):  # the tuple form of older drafts
            items, tuple_items = node.get("additionalItems"), items
        if isinstance(items, dict) or items is True:
            cleaned["items"] = self._node(items, depth + 1)
        if isinstance(tuple_items, list) and tuple_items:
            cleaned["prefixItems"] = [self._node(child, depth + 1) for child in tuple_items]
        for key in ("anyOf", "oneOf"):
            branches = node.get(key)
            if isinstance(branches, list) and any(branch is not False for branch in branches):
                cleaned[key] = [self._node(branch, depth + 1) for branch in branches if branch is not False]

    def _properties(self, node: Mapping[str, Any], cleaned: Schema, depth: int) -> None:
        properties = node.get("properties")
        if not isinstance(properties, dict):
            return
        kept = {name: child for name, child in properties.items() if child is not False}
        cleaned["properties"] = {name: self._node(child, depth + 1) for name, child in kept.items()}
        for key in _NAME_LISTS:  # the upstream refuses names that are no properties
            if key in cleaned:
                cleaned[key] = [name for name in cleaned[key] if name in kept]
                if not cleaned[key]:
                    del cleaned[key]

    def _typed(self, node: Mapping[str, Any], cleaned: Schema) -> Schema:
        """`type`, `enum`, `const` and `nullable` in the words that Gemini reads."""
        types = type_words(node.get("type"))
        values = [node["const"]] if "const" in node else node.get("enum")
        branches = branches_of_enum(values, types) if isinstance(values, list) else []
        named: Schema = {}
        if not branches:
            if types:
                named["type"] = types[0] if len(types) == 1 else types
        elif len(branches) == 1:
            named = branches[0]
        elif "anyOf" not in cleaned:
            named["anyOf"] = branches
        whole = named | cleaned
        return nullable_form(whole) if node.get("nullable") is True else whole


def _merged(first: Mapping[str, Any], second: Mapping[str, Any] | None) -> Schema:
    """Both schemas at once, as far as one node can say it: properties and required names of both, else the first's."""
    merged: Schema = dict(first)
    for key, value in (second or {}).items():
        mine = merged.get(key)
        if key == "properties" and isinstance(mine, dict) and isinstance(value, dict):
            shared = [name for name in value if name in mine and mine[name] != value[name]]
            merged[key] = {**value, **mine} | {name: {"allOf": [mine[name], value[name]]} for name in shared}
        elif key in ("required", "allOf") and isinstance(mine, list) and isinstance(value, list):
            merged[key] = mine + [item for item in value if item not in mine]
        elif key not in merged:
            merged[key] = value
    return merged
