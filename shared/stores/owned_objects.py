"""Who owns what stands at the upstream, in the usage table: one item per object, all of an account under one key."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.stores.attributes import decode_item, encode_item, expressions
from shared.stores.aws import Aws, AwsFailure, retrying
from shared.stores.protocols import OwnedObject

_TRIES = 3
_LONGEST_KEY = 1_024  # bytes; DynamoDB refuses longer sort keys, so nothing is under one


class DynamoOwnedObjects:
    """Implements `protocols.OwnedObjectStore`: items `O#<acct>` / `<name>`. `clock` gives epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._clock = clock

    async def put(self, acct: str, item: OwnedObject) -> None:
        fields = {"cred": item.credential_id, "url": item.url, "ttl": item.expires_at}
        await self._call("put_item", Item={**_key(acct, item.name), **encode_item(fields)})

    async def get(self, acct: str, name: str) -> OwnedObject | None:
        if len(name.encode()) > _LONGEST_KEY:
            return None
        answer = await self._call("get_item", Key=_key(acct, name), ConsistentRead=True)
        item = decode_item(answer.get("Item") or {})
        return _owned(item) if item and item["ttl"] > self._clock() else None  # DynamoDB deletes late

    async def page(self, acct: str, kind: str, after: str = "", limit: int = 100) -> Sequence[OwnedObject]:
        low, high = after or f"{kind}/", f"{kind}0"  # "0" follows "/"
        parts = {"KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :low AND :high"}
        arguments = expressions(parts, {"pk": _partition(acct), "low": low, "high": high})
        found: list[OwnedObject] = []
        more: Mapping[str, Any] = {}
        while len(found) < limit:
            answer = await self._call("query", **arguments, **more, Limit=limit + 1, ConsistentRead=True)
            rows = [decode_item(item) for item in answer["Items"]]
            found += [_owned(row) for row in rows if row["ttl"] > self._clock() and row["sk"] != after]
            if "LastEvaluatedKey" not in answer:
                break
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found[:limit]

    async def delete(self, acct: str, name: str) -> None:
        await self._call("delete_item", Key=_key(acct, name))

    async def _call(self, verb: str, **arguments: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = {}

        async def ask() -> None:
            nonlocal answer
            answer = await self._aws.call("dynamodb", verb, TableName=self._table, **arguments)

        try:
            await retrying(ask, _TRIES)
        except AwsFailure as failure:
            raise failure.unavailable() from failure
        return answer


def _partition(acct: str) -> str:
    return f"O#{acct}"


def _key(acct: str, name: str) -> dict[str, Any]:
    return encode_item({"pk": _partition(acct), "sk": name})


def _owned(item: Mapping[str, Any]) -> OwnedObject:
    return OwnedObject(item["sk"], item["cred"], item["ttl"], item["url"])
