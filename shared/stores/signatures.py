"""Thought signatures in the usage table, behind a cache of this environment."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.stores.attributes import Attributes
from shared.stores.aws import Aws, read_items, write_items
from shared.stores.protocols import StoredSignature

_log = logging.getLogger(__name__)

_TRIES = 3
_FRONT_BYTES = 16_000_000
_FRONT_S = 3_600.0
_MAX_ITEM_BYTES = 380_000  # below DynamoDB's 400 KB with its names and keys


class _Remembered(Struct, frozen=True):
    """`until` when this environment may rely on it, in epoch seconds."""

    signature: StoredSignature
    expires_at: int
    until: float

    @property
    def size(self) -> int:
        return len(self.signature.signature) + 200


class _Front:
    """Signatures at hand: those of the last hour, and where these are too many, the latest of them."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, str], _Remembered] = OrderedDict()  # the oldest first
        self._bytes = 0

    def get(self, acct: str, key: str, now: float) -> _Remembered | None:
        entry = self._entries.get((acct, key))
        return entry if entry is not None and now < entry.until else None

    def put(self, acct: str, key: str, signature: StoredSignature, expires_at: int, now: float) -> None:
        entries, place = self._entries, (acct, key)
        if (replaced := entries.pop(place, None)) is not None:
            self._bytes -= replaced.size
        added = entries[place] = _Remembered(signature, expires_at, now + _FRONT_S)
        self._bytes += added.size
        while entries and (self._bytes > _FRONT_BYTES or next(iter(entries.values())).until <= now):
            self._bytes -= entries.popitem(last=False)[1].size


class DynamoSignatureStore:
    """Implements `protocols.SignatureStore`: items `S#<acct>#<key>` / `S`. `clock` gives epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._clock = clock
        self._front = _Front()

    async def warm(self) -> None:
        await self._aws.warm("dynamodb")

    async def get(self, acct: str, keys: Sequence[str]) -> Mapping[str, StoredSignature]:
        now = self._clock()
        found: dict[str, StoredSignature] = {}
        missing: list[str] = []
        for key in dict.fromkeys(keys):
            entry = self._front.get(acct, key, now)
            if entry is None:
                missing.append(key)
            elif entry.expires_at > now:
                found[key] = entry.signature
        for item in await read_items(self._aws, self._table, [_item_key(acct, key) for key in missing], _TRIES):
            if item["ttl"] > now:  # DynamoDB deletes late
                key, signature = item["pk"].removeprefix(f"S#{acct}#"), _signature(item)
                found[key] = signature
                self._front.put(acct, key, signature, item["ttl"], now)
        return found

    async def put(self, acct: str, items: Mapping[str, StoredSignature], expires_at: int) -> None:
        now = self._clock()
        rows: list[Attributes] = []
        for key, signature in items.items():
            self._front.put(acct, key, signature, expires_at, now)
            if len(signature.signature) <= _MAX_ITEM_BYTES:
                rows.append(_row(acct, key, signature, expires_at))
            else:  # kept in the front only: a client that drops it may then need the sentinel
                _log.warning("signature_too_large", extra={"fields": {"bytes": len(signature.signature)}})
        await write_items(self._aws, self._table, rows, _TRIES)


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
