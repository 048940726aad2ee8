"""The small vocabulary of schema cleaning: type words, enum values, nullability."""

from typing import Any

Schema = dict[str, Any]

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
# What hand-written schemas say instead.
_SYNONYMS = {
    "str": "string",
    "text": "string",
    "float": "number",
    "double": "number",
    "int": "integer",
    "long": "integer",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "map": "object",
    "none": "null",
}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_words(given: Any) -> list[str]:
    """The valid JSON Schema types that `type` names, in lower case; unknown words mean "any" and vanish."""
    if isinstance(given, str) and given in _TYPES:
        return [given]
    words = given if isinstance(given, list) else [given]
    lowered = [word.strip().lower() for word in words if isinstance(word, str)]
    known = [_SYNONYMS.get(word, word) for word in lowered]
    return list(dict.fromkeys(word for word in known if word in _TYPES))


def branches_of_enum(values: list[Any], types: list[str]) -> list[Schema]:
    """An `enum` as the upstream takes it: strings and numbers stay an enum, booleans and null become a type of their
    own. Several branches belong into an `anyOf`; objects and arrays have no form and give none."""
    if not values:
        return []
    plain = [value for value in values if isinstance(value, str) or is_number(value)]
    branches: list[Schema] = []
    if plain:
        narrowed = [word for word in types if word not in ("null", "boolean", "object", "array")]
        branches.append(
            {"type": narrowed[0] if len(narrowed) == 1 else narrowed, "enum": plain} if narrowed else {"enum": plain}
        )
    if any(isinstance(value, bool) for value in values):
        branches.append({"type": "boolean"})
    if any(value is None for value in values):
        branches.append({"type": "null"})
    return branches


def nullable_form(cleaned: Schema) -> Schema:
    """The schema or null: a type array where only the type restricts the value, else a branch."""
    null = {"type": "null"}
    for key in ("anyOf", "oneOf"):
        if key in cleaned:
            return cleaned if null in cleaned[key] else {**cleaned, key: [*cleaned[key], null]}
    types = cleaned.get("type")
    if "enum" in cleaned:
        kept = {key: cleaned.pop(key) for key in ("type", "enum") if key in cleaned}
        return {**cleaned, "anyOf": [kept, null]}
    if isinstance(types, str) and types != "null":
        return {**cleaned, "type": [types, "null"]}
    if isinstance(types, list) and "null" not in types:
        return {**cleaned, "type": [*types, "null"]}
    return cleaned
