"""What environments tell each other of resting upstream credentials, in the usage table: one item for each owner."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.stores.attributes import decode_item, encode_item
from shared.stores.aws import Aws, AwsFailure, retrying
from shared.stores.protocols import Cooldown

_TRIES = 3
_BATCH = 100  # the most keys of one BatchGetItem


class DynamoCooldowns:
    """Implements `protocols.CooldownStore`: items `POOL#<owner>` / `STATE`. `clock` gives epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._clock = clock

    async def get(self, owners: Sequence[str]) -> Mapping[str, Sequence[Cooldown]]:
        found: dict[str, Sequence[Cooldown]] = {}
        for start in range(0, len(owners), _BATCH):
            keys = [_key(owner) for owner in owners[start : start + _BATCH]]
            for item in await self._read(keys):
                rests = [Cooldown(*row) for row in json.loads(item["rests"])]
                now = self._clock()  # DynamoDB deletes late, and one of several may be over before the item is
                found[item["pk"].removeprefix("POOL#")] = [rest for rest in rests if rest.until > now]
        return found

    async def put(self, owner: str, rests: Sequence[Cooldown]) -> None:
        rows = [[rest.model, rest.quota_id, rest.kind, rest.until] for rest in rests]
        ttl = max((rest.until for rest in rests), default=int(self._clock()))
        item = {**_key(owner), **encode_item({"rests": json.dumps(rows), "ttl": ttl})}
        try:
            await retrying(lambda: self._aws.call("dynamodb", "put_item", TableName=self._table, Item=item), _TRIES)
        except AwsFailure as failure:
            raise failure.unavailable() from failure

    async def _read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        asked: Mapping[str, Any] = {self._table: {"Keys": keys}}
        found: list[dict[str, Any]] = []

        async def read() -> None:
            nonlocal asked
            answer = await self._aws.call("dynamodb", "batch_get_item", RequestItems=asked)
            found.extend(decode_item(item) for item in answer["Responses"].get(self._table, ()))
            asked = answer.get("UnprocessedKeys") or {}
            if asked:
                raise AwsFailure("dynamodb.batch_get_item", "ThrottlingException")

        try:
            await retrying(read, _TRIES)
        except AwsFailure as failure:
            raise failure.unavailable() from failure
        return found


def _key(owner: str) -> dict[str, Any]:
    return encode_item({"pk": f"POOL#{owner}", "sk": "STATE"})
