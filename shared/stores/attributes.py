"""DynamoDB's attribute form and expressions, without boto3's serializer, which would import boto3."""

import re
from collections.abc import Mapping
from typing import Any

Item = Mapping[str, Any]  # plain Python values
Attributes = Mapping[str, Any]  # {"name": {"S": "value"}}

_NAME = re.compile(r"#([A-Za-z0-9_]+)")


def encode(value: Any) -> dict[str, Any]:
    """Numbers are integers: money and counters have no fraction here."""
    match value:
        case bool():
            return {"BOOL": value}
        case None:
            return {"NULL": True}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case Mapping():
            return {"M": encode_item(value)}
    raise TypeError(f"no attribute form for {type(value).__name__}")


def encode_item(item: Item) -> dict[str, Any]:
    return {name: encode(value) for name, value in item.items()}


def decode(attribute: Attributes) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "NULL":
            return None
        case "M":
            return decode_item(value)
        case "S" | "BOOL":
            return value
    raise TypeError(f"unexpected attribute type {kind}")


def decode_item(item: Attributes) -> dict[str, Any]:
    return {name: decode(value) for name, value in item.items()}


def expressions(parts: Mapping[str, str], values: Item, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The expression arguments of a call: `parts` as given, every `#name` in them aliased.

    `#name` stands for the attribute `name`, or for `names["name"]` where one is given; all names are aliased because
    `status`, `limit`, `day` and `ttl` are reserved words.
    """
    given = names or {}
    used = sorted({name for text in parts.values() for name in _NAME.findall(text)})
    arguments: dict[str, Any] = {**parts, "ExpressionAttributeNames": {f"#{n}": given.get(n, n) for n in used}}
    if values:
        arguments["ExpressionAttributeValues"] = {f":{name}": encode(value) for name, value in values.items()}
    return arguments
