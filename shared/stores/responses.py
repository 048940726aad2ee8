"""Responses and conversations in the usage table: compressed, and in as many items as it takes.

A document is a head item and further pieces, since one item holds at most 400 KB. The head is written last and names
the generation of its pieces, so that a reader never sees half of a write; pieces of replaced generations expire.
"""

import asyncio
import json
import secrets
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from shared.json_codec import encode
from shared.stores.attributes import expressions
from shared.stores.aws import Aws, AwsFailure, retrying
from shared.stores.protocols import KeptDocument, StoreConflict

PIECE_BYTES = 350_000  # below 400 KB with its names and keys
_SMALL_BYTES = 8_192  # what a window of 13 bits holds
_BATCH = 100  # the most keys of one BatchGetItem
_LONGEST_ID = 256  # characters; a longer one is none of ours, and DynamoDB refuses keys from 2,048 bytes on
_AT_ONCE = 8
_TRIES = 4
_HEAD = "H"
_REFUSED = "ConditionalCheckFailedException"


class DynamoResponseStore:
    """Implements `protocols.ResponseStore`: items `D#<acct>#<id>` / `H` and / `<generation>#<number>`. `clock` gives
    epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._clock = clock

    async def get(self, acct: str, ids: Sequence[str]) -> Mapping[str, KeptDocument]:
        known = [document_id for document_id in dict.fromkeys(ids) if len(document_id) <= _LONGEST_ID]
        places = {_partition(acct, document_id): document_id for document_id in known}
        now = self._clock()
        heads = [item for item in await self._read([(pk, _HEAD) for pk in places]) if int(item["ttl"]["N"]) > now]
        wanted = [
            (head["pk"]["S"], _piece_key(head["gen"]["S"], number))
            for head in heads
            for number in range(1, int(head["pieces"]["N"]))
        ]
        pieces = {(item["pk"]["S"], item["sk"]["S"]): item["data"]["B"] for item in await self._read(wanted)}
        found: dict[str, KeptDocument] = {}
        for head in heads:
            document = _joined(head, pieces)
            if document is not None:
                found[places[head["pk"]["S"]]] = document
        return found

    async def put(
        self,
        acct: str,
        document_id: str,
        document: KeptDocument,
        expires_at: int,
        *,
        if_state: Collection[str] | None = None,
    ) -> None:
        packed = _packed(encode(document.body))
        pieces = [packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES)]
        pk, generation = _partition(acct, document_id), secrets.token_hex(6)
        if len(pieces) > 1:
            limit = asyncio.Semaphore(_AT_ONCE)

            async def write(number: int) -> None:
                async with limit:
                    key = _item_key(pk, _piece_key(generation, number))
                    item = {**key, "data": {"B": pieces[number]}, "ttl": {"N": str(expires_at)}}
                    await self._call("put_item", Item=item)

            await asyncio.gather(*(write(number) for number in range(1, len(pieces))))
        head = {
            **_item_key(pk, _HEAD),
            "st": {"S": document.state},
            "gen": {"S": generation},
            "pieces": {"N": str(len(pieces))},
            "data": {"B": pieces[0]},
            "ttl": {"N": str(expires_at)},
        }
        try:
            await self._call("put_item", Item=head, **_condition(if_state))
        except _Refused as refused:
            if refused.generation != generation:  # else our own write, whose answer was lost
                raise StoreConflict("the kept document is in another state") from refused

    async def delete(self, acct: str, document_id: str) -> bool:
        pk = _partition(acct, document_id)
        answer = await self._call("delete_item", Key=_item_key(pk, _HEAD), ReturnValues="ALL_OLD")
        head = answer.get("Attributes")
        if not head:
            return False
        keys = [_piece_key(head["gen"]["S"], number) for number in range(1, int(head["pieces"]["N"]))]
        await asyncio.gather(*(self._call("delete_item", Key=_item_key(pk, sk)) for sk in keys))
        return int(head["ttl"]["N"]) > self._clock()

    async def _call(self, operation: str, **request: Any) -> Mapping[str, Any]:
        try:
            return await retrying(
                lambda: self._aws.call("dynamodb", operation, TableName=self._table, **request), _TRIES
            )
        except AwsFailure as failure:
            if failure.code == _REFUSED:
                raise _Refused((failure.item or {}).get("gen", {}).get("S", "")) from failure
            raise failure.unavailable() from failure

    async def _read(self, keys: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        batches = [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
        found = await asyncio.gather(*(self._read_batch(batch) for batch in batches))
        return [item for items in found for item in items]

    async def _read_batch(self, keys: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """One answer holds 16 MB at most; what is left over is asked for again, and progress starts the tries anew."""
        asked: Mapping[str, Any] = {
            self._table: {"Keys": [_item_key(pk, sk) for pk, sk in keys], "ConsistentRead": True}
        }
        found: list[Mapping[str, Any]] = []

        async def read() -> bool:
            nonlocal asked
            answer = await self._aws.call("dynamodb", "batch_get_item", RequestItems=asked)
            items = answer["Responses"].get(self._table, ())
            found.extend(items)
            asked = answer.get("UnprocessedKeys") or {}
            if asked and not items:
                raise AwsFailure("dynamodb.batch_get_item", "ThrottlingException")
            return not asked

        try:
            while not await retrying(read, _TRIES):
                pass
        except AwsFailure as failure:
            raise failure.unavailable() from failure
        return found


class _Refused(Exception):
    """A condition did not hold, on a document of this generation; "" where there is none."""

    def __init__(self, generation: str) -> None:
        super().__init__(generation)
        self.generation = generation


def _condition(if_state: Collection[str] | None) -> dict[str, Any]:
    if if_state is None:
        return {}
    if not if_state:
        condition = expressions({"ConditionExpression": "attribute_not_exists(#pk)"}, {})
        return {**condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    states = {f"s{number}": state for number, state in enumerate(sorted(if_state))}
    listed = ", ".join(f":{name}" for name in states)
    condition = expressions({"ConditionExpression": f"#st IN ({listed})"}, states)
    return {**condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _packed(data: bytes) -> bytes:
    """As small as zlib makes it at its usual level. A document that its smallest windows hold needs no larger ones,
    whose allocation would cost more than the work."""
    small = len(data) <= _SMALL_BYTES
    packer = zlib.compressobj(6, wbits=13, memLevel=5) if small else zlib.compressobj(6)
    return packer.compress(data) + packer.flush()


def _joined(head: Mapping[str, Any], pieces: Mapping[tuple[str, str], bytes]) -> KeptDocument | None:
    """None where a piece is gone: the document was deleted or replaced while it was read."""
    pk, generation = head["pk"]["S"], head["gen"]["S"]
    data = [head["data"]["B"]]
    for number in range(1, int(head["pieces"]["N"])):
        piece = pieces.get((pk, _piece_key(generation, number)))
        if piece is None:
            return None
        data.append(piece)
    return KeptDocument(json.loads(zlib.decompress(b"".join(data))), head["st"]["S"])


def _partition(acct: str, document_id: str) -> str:
    return f"D#{acct}#{document_id}"


def _piece_key(generation: str, number: int) -> str:
    return f"{generation}#{number:05d}"


def _item_key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}
