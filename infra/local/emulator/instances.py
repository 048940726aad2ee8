"""A deterministic value that is valid under a schema: proto Schema and JSON Schema alike."""

from __future__ import annotations

from typing import Any

type Json = dict[str, Any]

DEEP = 5  # from this depth on only what is required is written, so that recursive schemas end

FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1S",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "byte": "YQ==",
}


def instance(schema: Any, name: str = "value") -> Any:
    """A valid instance of `schema`; strings are made of the property's name."""
    return _Builder(schema if isinstance(schema, dict) else {}).build(schema, name, 0)


class _Builder:
    def __init__(self, root: Json) -> None:
        self.root = root

    def build(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, dict):
            return name
        if "$ref" in schema:
            return self.build(self.resolve(schema["$ref"]), name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                rest = {key: value for key, value in schema.items() if key != word}
                return self.build(rest | self.choose(schema[word], depth), name, depth + 1)
        if schema.get("allOf"):
            return self.build(self.merge(schema), name, depth + 1)
        return self.typed(self.type_of(schema, depth), schema, name, depth)

    def resolve(self, ref: str) -> Any:
        node: Any = self.root
        for step in ref.lstrip("#/").split("/") if ref not in ("#", "") else []:
            key = step.replace("~1", "/").replace("~0", "~")
            node = node.get(key, {}) if isinstance(node, dict) else {}
        return node

    def choose(self, options: list[Any], depth: int) -> Json:
        """The first option that is not null; deep down, null or the first scalar, so that recursion ends."""
        rows = [option for option in options if isinstance(option, dict)]
        plain = [row for row in rows if str(row.get("type", "")).lower() != "null"]
        if depth >= DEEP:
            rows.sort(
                key=lambda row: (str(row.get("type", "")).lower() != "null", "$ref" in row or "properties" in row)
            )
            return rows[0] if rows else {}
        return (plain or rows or [{}])[0]

    def merge(self, schema: Json) -> Json:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for branch in schema["allOf"]:
            row = self.resolve(branch["$ref"]) if isinstance(branch, dict) and "$ref" in branch else branch
            for key, value in (row or {}).items():
                if key == "properties":
                    merged[key] = merged.get(key, {}) | value
                elif key == "required":
                    merged[key] = [*merged.get(key, []), *value]
                else:
                    merged.setdefault(key, value)
        return merged

    def type_of(self, schema: Json, depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            names = [str(item).lower() for item in kind]
            if depth >= DEEP and "null" in names:
                return "null"
            kind = next((item for item in names if item != "null"), "null")
        if kind:
            return str(kind).lower()
        if "properties" in schema or "additionalProperties" in schema:
            return "object"
        return "array" if "items" in schema or "prefixItems" in schema else "string"

    def typed(self, kind: str, schema: Json, name: str, depth: int) -> Any:
        if kind == "object":
            return self.object(schema, depth)
        if kind == "array":
            return self.array(schema, name, depth)
        if kind in ("integer", "number"):
            return number(schema, whole=kind == "integer")
        if kind == "boolean":
            return True
        return None if kind == "null" else string(schema, name)

    def object(self, schema: Json, depth: int) -> Json:
        properties = schema.get("properties") or {}
        required = schema.get("required") or []
        names = [key for key in properties if depth < DEEP or key in required]
        order = schema.get("propertyOrdering") or []
        names.sort(key=lambda key: order.index(key) if key in order else len(order))
        out = {key: self.build(properties[key], key, depth + 1) for key in names}
        for key in required:
            if key not in out:
                out[key] = self.build(schema.get("additionalProperties") or {}, key, depth + 1)
        for i in range(int(schema.get("minProperties", 0)) - len(out)):
            out[f"key{i + 1}"] = self.build(schema.get("additionalProperties") or {}, "value", depth + 1)
        return out

    def array(self, schema: Json, name: str, depth: int) -> list[Any]:
        low = int(schema.get("minItems", 0))
        count = low if depth >= DEEP else max(low, 1)
        if "maxItems" in schema:
            count = min(count, int(schema["maxItems"]))
        heads = schema.get("prefixItems") or []
        out = [self.build(head, f"{name}{i + 1}", depth + 1) for i, head in enumerate(heads)]
        items = schema.get("items", {})
        while len(out) < count and items is not False:
            out.append(self.build(items, name.removesuffix("s") or name, depth + 1))
            if schema.get("uniqueItems") and isinstance(out[-1], str | int) and out.count(out[-1]) > 1:
                out[-1] = f"{out[-1]}{len(out)}" if isinstance(out[-1], str) else out[-1] + len(out)
        return out


def number(schema: Json, *, whole: bool) -> int | float:
    """1, moved into [minimum, maximum] and onto multipleOf."""
    low, high = schema.get("minimum"), schema.get("maximum")
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    if isinstance(schema.get("exclusiveMinimum"), int | float):
        low = max(schema["exclusiveMinimum"] + step, low if low is not None else -float("inf"))
    if isinstance(schema.get("exclusiveMaximum"), int | float):
        high = min(schema["exclusiveMaximum"] - step, high if high is not None else float("inf"))
    value: float = 1
    if low is not None:
        value = max(value, float(low))
    if high is not None:
        value = min(value, float(high))
    if schema.get("multipleOf"):
        value = -(-value // step) * step
    return int(value) if whole else value


def string(schema: Json, name: str) -> str:
    text = FORMATS.get(schema.get("format", ""), name)
    low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
    if len(text) < low:
        text += "x" * (low - len(text))
    return text[: int(high)] if high is not None else text
