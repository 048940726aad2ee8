"""Thought signatures in the usage table, behind a cache of this environment."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cachetools import TTLCache

from shared.stores.attributes import Attributes
from shared.stores.aws import Aws, read_items, write_items
from shared.stores.protocols import StoredSignature

_log = logging.getLogger(__name__)

_TRIES = 3
_FRONT_BYTES = 16_000_000
_FRONT_S = 3_600.0
_MAX_ITEM_BYTES = 380_000  # below DynamoDB's 400 KB with its names and keys


class DynamoSignatureStore:
    """Implements `protocols.SignatureStore`: items `S#<acct>#<key>` / `S`. `clock` gives epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._clock = clock
        # of the last hour, and where these are too many, those used last
        self._front: TTLCache[tuple[str, str], tuple[StoredSignature, int]] = TTLCache(
            _FRONT_BYTES, _FRONT_S, timer=clock, getsizeof=lambda entry: _size(entry[0])
        )

    async def warm(self) -> None:
        await self._aws.warm("dynamodb")

    async def get(self, acct: str, keys: Sequence[str]) -> Mapping[str, StoredSignature]:
        now = self._clock()
        found: dict[str, StoredSignature] = {}
        missing: list[str] = []
        for key in dict.fromkeys(keys):
            entry = self._front.get((acct, key))
            if entry is None:
                missing.append(key)
            elif entry[1] > now:
                found[key] = entry[0]
        for item in await read_items(self._aws, self._table, [_item_key(acct, key) for key in missing], _TRIES):
            if item["ttl"] > now:  # DynamoDB deletes late
                key, signature = item["pk"].removeprefix(f"S#{acct}#"), _signature(item)
                found[key] = signature
                self._remember(acct, key, signature, item["ttl"])
        return found

    async def put(self, acct: str, items: Mapping[str, StoredSignature], expires_at: int) -> None:
        rows: list[Attributes] = []
        for key, signature in items.items():
            self._remember(acct, key, signature, expires_at)
            size = len(signature.signature.encode())
            if size <= _MAX_ITEM_BYTES:
                rows.append(_row(acct, key, signature, expires_at))
            else:  # kept in the front only: a client that drops it may then need the sentinel
                _log.warning("signature_too_large", extra={"fields": {"bytes": size}})
        await write_items(self._aws, self._table, rows, _TRIES)

    def _remember(self, acct: str, key: str, signature: StoredSignature, expires_at: int) -> None:
        if _size(signature) <= _FRONT_BYTES:
            self._front[acct, key] = signature, expires_at


def _size(signature: StoredSignature) -> int:
    return len(signature.signature) + 200


def _row(acct: str, key: str, signature: StoredSignature, expires_at: int) -> Attributes:
    row = {
        **_item_key(acct, key),
        "sig": {"S": signature.signature},
        "name": {"S": signature.name},
        "fam": {"S": signature.family},
        "ttl": {"N": str(expires_at)},
    }
    if signature.native_id is not None:
        row["nid"] = {"S": signature.native_id}
    return row


def _item_key(acct: str, key: str) -> dict[str, Any]:
    return {"pk": {"S": f"S#{acct}#{key}"}, "sk": {"S": "S"}}


def _signature(item: Mapping[str, Any]) -> StoredSignature:
    return StoredSignature(item["sig"], item.get("nid"), item.get("name", ""), item.get("fam", ""))
