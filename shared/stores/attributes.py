"""DynamoDB's attribute form and expressions, without boto3's serializer, which would import boto3."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

Item = Mapping[str, Any]  # plain Python values
Attributes = Mapping[str, Any]  # {"name": {"S": "value"}}

_NAME = re.compile(r"#([A-Za-z0-9_]+)")


def encode(value: Any) -> dict[str, Any]:
    """Numbers are integers: money and counters have no fraction here."""
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is int:
        return {"N": str(value)}
    if kind is bool:
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, Mapping):
        return {"M": encode_item(value)}
    raise TypeError(f"no attribute form for {kind.__name__}")


def encode_item(item: Item) -> dict[str, Any]:
    """`encode` of every value; the two forms that nearly all have stand here, for a row has dozens."""
    return {
        name: {"S": value} if type(value) is str else {"N": str(value)} if type(value) is int else encode(value)
        for name, value in item.items()
    }


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


class Update:
    """An UpdateItem call whose texts are always the same: `#name` in them stands for the attribute `name`, or for the
    one that a call gives it. Only key, names and values are written for each call, the values in DynamoDB's form."""

    def __init__(self, update: str, condition: str, answers: Mapping[str, str] | None = None) -> None:
        self._texts = {"UpdateExpression": update, "ConditionExpression": condition, **(answers or {})}
        self._names = _aliases(update, condition)

    def of(self, table: str, key: Attributes, names: Mapping[str, str], values: Attributes) -> dict[str, Any]:
        return {
            "TableName": table,
            "Key": key,
            **self._texts,
            "ExpressionAttributeNames": {**self._names, **names},
            "ExpressionAttributeValues": values,
        }


def expressions(parts: Mapping[str, str], values: Item, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The expression arguments of a call: `parts` as given, every `#name` in them aliased.

    `#name` stands for the attribute `name`, or for `names["name"]` where one is given; all names are aliased because
    `status`, `limit`, `day` and `ttl` are reserved words.
    """
    used = _aliases(*parts.values())
    given = {f"#{name}": attribute for name, attribute in names.items() if f"#{name}" in used} if names else {}
    arguments: dict[str, Any] = {**parts, "ExpressionAttributeNames": {**used, **given}}
    if values:
        arguments["ExpressionAttributeValues"] = encode_item({f":{name}": value for name, value in values.items()})
    return arguments


@lru_cache(maxsize=256)  # the texts are few: what differs between requests stands in names and values
def _aliases(*texts: str) -> dict[str, str]:
    return {f"#{name}": name for name in sorted({name for text in texts for name in _NAME.findall(text)})}
