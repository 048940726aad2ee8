"""What environments tell each other of resting upstream credentials, in the usage table: one item for each owner."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.stores.attributes import encode_item
from shared.stores.aws import Aws, AwsFailure, read_items, retrying
from shared.stores.protocols import Cooldown

_TRIES = 3


class DynamoCooldowns:
    """Implements `protocols.CooldownStore`: items `POOL#<owner>` / `STATE`. `clock` gives epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._clock = clock

    async def get(self, owners: Sequence[str]) -> Mapping[str, Sequence[Cooldown]]:
        found: dict[str, Sequence[Cooldown]] = {}
        for item in await read_items(self._aws, self._table, [_key(owner) for owner in owners], _TRIES):
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


def _key(owner: str) -> dict[str, Any]:
    return encode_item({"pk": f"POOL#{owner}", "sk": "STATE"})
