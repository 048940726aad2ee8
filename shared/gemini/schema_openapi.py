"""The OpenAPI form of a cleaned JSON Schema, for models that do not read JSON Schema."""

from typing import Any

from shared.gemini.schema_refs import References

Schema = dict[str, Any]

_CARRIED = (
    "title",
    "description",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "pattern",
    "default",
    "example",
)
_MAX_DEPTH = 32
# Inlining multiplies; past this many nodes a reference is cut like a cycle.
_MAX_NODES = 5000
# A branch without any of these only says what is required; it cannot stand alone as a schema.
_SHAPES = frozenset({"$ref", "type", "enum", "anyOf", "oneOf", "properties", "items", "prefixItems"})


def to_openapi(cleaned: Schema) -> Schema:
    """A cleaned schema without references: each is inlined, and cut to an object where it would repeat."""
    return _Writer(References(cleaned)).node(cleaned, ())


class _Writer:
    def __init__(self, references: References) -> None:
        self._references = references
        self._nodes = 0

    def node(self, node: Schema, inside: tuple[str, ...]) -> Schema:
        """`inside` are the references that led here."""
        self._nodes += 1
        reference = node.get("$ref")
        if isinstance(reference, str):
            target = self._references.target(reference)
            if target is None or reference in inside or len(inside) > _MAX_DEPTH or self._nodes > _MAX_NODES:
                return {"type": "OBJECT"}
            return self.node(dict(target), (*inside, reference))
        given: Schema = {key: node[key] for key in _CARRIED if key in node}
        types = node.get("type", [])
        types = [types] if isinstance(types, str) else types
        concrete = [word for word in types if word != "null"]
        if "null" in types:
            given["nullable"] = True
        branches = [branch for key in ("anyOf", "oneOf") for branch in node.get(key, []) if branch.keys() & _SHAPES]
        if branches:
            return self._with_branches(given, node, branches, inside)
        if len(concrete) > 1:
            single = [{**_without_text(node), "type": word} for word in concrete]
            return given | {"anyOf": [self.node(item, inside) for item in single]}
        if types and not concrete:
            return given | {"type": "NULL"}
        return given | self._of_type(concrete[0] if concrete else _implied(node), node, inside)

    def _with_branches(self, given: Schema, node: Schema, branches: list[Schema], inside: tuple[str, ...]) -> Schema:
        """`anyOf` without its null branch, which becomes `nullable`; a single branch left is merged in."""
        real = [branch for branch in branches if branch.get("type") != "null"]
        if len(real) < len(branches):
            given["nullable"] = True
        converted = [self.node(branch, inside) for branch in real]
        if len(converted) == 1:
            return converted[0] | given
        own = self._of_type("object", node, inside) if node.get("properties") else {}
        return given | own | ({"anyOf": converted} if converted else {"type": "NULL"})

    def _of_type(self, kind: str, node: Schema, inside: tuple[str, ...]) -> Schema:
        """What the type allows besides: the upstream refuses a keyword on the wrong type."""
        made: Schema = {"type": kind.upper()}
        if kind == "string":
            values = [str(value) for value in node.get("enum", []) if value != ""]
            if values:
                made |= {"enum": list(dict.fromkeys(values)), "format": "enum"}
            elif node.get("format") == "date-time":
                made["format"] = "date-time"
        elif kind in ("number", "integer") and node.get("enum"):  # an enum is for strings only
            made = {"type": "STRING", "enum": [str(value) for value in node["enum"]], "format": "enum"}
        elif kind == "array":
            made["items"] = self._items(node, inside)
        elif kind == "object" and node.get("properties"):
            properties = node["properties"]
            made["properties"] = {name: self.node(child, inside) for name, child in properties.items()}
            made["propertyOrdering"] = list(properties)
            if node.get("required"):
                made["required"] = node["required"]
        return made

    def _items(self, node: Schema, inside: tuple[str, ...]) -> Schema:
        if isinstance(node.get("items"), dict):
            return self.node(node["items"], inside)
        tuple_items = [self.node(child, inside) for child in node.get("prefixItems", [])]
        if len(tuple_items) > 1:
            return {"anyOf": tuple_items}
        return tuple_items[0] if tuple_items else {"type": "STRING"}


def _implied(node: Schema) -> str:
    """The type of a schema that names none; the upstream demands one."""
    if "properties" in node:
        return "object"
    return "array" if "items" in node or "prefixItems" in node else "string"


def _without_text(node: Schema) -> Schema:
    return {key: value for key, value in node.items() if key not in ("title", "description", "default", "example")}
