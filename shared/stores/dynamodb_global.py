"""What all accounts used, by day and model: `G#<yyyymmdd>#<shard>` / `<model>`, counted apart from the requests.

Counted are not requests but the accounts' daily aggregates, whose images hold absolute figures and a counter of writes
`v`. What of an aggregate is already in the totals stands beside them, under `C#<acct>`; one transaction adds the
difference and moves that mark, on the condition that nobody else has. So a batch may be delivered twice, cut
differently, out of order or not at all: an older image changes nothing, and the next image of the same aggregate brings
what a lost one would have. A batch of many requests of one key and model costs four write units, not four for each.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zlib import crc32

from shared.stores.attributes import Item, decode_item, encode_item, expressions
from shared.stores.aws import Aws, AwsFailure, read_items, retrying
from shared.stores.dynamodb_rows import PROJECT, additions
from shared.stores.dynamodb_usage import aggregates_query, total_of
from shared.stores.protocols import StoreUnavailable
from shared.stores.usage_protocols import UsageTotal

SHARDS = 16
_AT_ONCE = 24
_MARKS = 99  # a transaction has a hundred items, the total is one of them
_TRIES = 6
_COUNTED = ("n", "err", "in_tok", "cache_tok", "out_tok", "think_tok", "cost_nano")
_REASON = "ConditionalCheckFailed"

_Place = tuple[str, int, str]  # day, shard, model


def aggregates_of(records: Iterable[Mapping[str, Any]]) -> list[Item]:
    """The daily aggregates among the records of the table's stream, as a function's event has them (NEW_IMAGE)."""
    images = (record["dynamodb"].get("NewImage") for record in records if record["eventName"] != "REMOVE")
    return [decode_item(image) for image in images if image is not None and _is_aggregate(image)]


def _is_aggregate(image: Mapping[str, Any]) -> bool:
    return bool(image["pk"]["S"].startswith("A#") and image["sk"]["S"].startswith("D#"))


class DynamoGlobalTotals:
    """Implements `usage_protocols.GlobalTotals` and `usage_protocols.GlobalUpkeep`."""

    def __init__(self, aws: Aws, table: str) -> None:
        self._aws = aws
        self._table = table

    async def count(self, aggregates: Iterable[Item]) -> int:
        """Bring the totals up to these images of aggregates; how many held something new."""
        newest: dict[tuple[str, str], Item] = {}
        for image in aggregates:
            key = image["pk"], image["sk"]
            if key not in newest or image.get("v", 0) > newest[key].get("v", 0):
                newest[key] = image
        groups: dict[_Place, list[Item]] = {}
        for image in newest.values():
            groups.setdefault(_place(image), []).append(image)
        counted = 0
        for place, images in groups.items():
            for start in range(0, len(images), _MARKS):
                counted += await self._count(place, images[start : start + _MARKS])
        return counted

    async def recount(self, acct: str, first_day: str, last_day: str) -> int:
        return await self.count(await self._items(aggregates_query(self._table, acct, first_day, last_day)))

    async def daily(self, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        sums: dict[tuple[str, str], UsageTotal] = {}
        for day, item in await self._totals(_days(first_day, last_day)):
            total = total_of(day, item["sk"], item)
            sums[day, total.model] = _added(sums[day, total.model], total) if (day, total.model) in sums else total
        return [sums[place] for place in sorted(sums)]

    async def projects(self, day: str) -> Mapping[str, int]:
        sums: dict[str, int] = {}
        for _, item in await self._totals([day]):
            for name in item.keys() - _COUNTED:
                if name.startswith(PROJECT):
                    project = name.removeprefix(PROJECT)
                    sums[project] = sums.get(project, 0) + item[name]
        return sums

    async def _count(self, place: _Place, images: Sequence[Item]) -> int:
        for _ in range(_TRIES):
            marks = await self._marks(images)
            fresh = [image for image in images if image.get("v", 0) > marks.get(_mark_of(image), {"v": -1})["v"]]
            if not fresh or await self._write(_transaction(self._table, place, fresh, marks)):
                return len(fresh)
        raise StoreUnavailable("the totals are being counted by others")

    async def _marks(self, images: Sequence[Item]) -> dict[tuple[str, str], Item]:
        """How far these aggregates are counted."""
        keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in map(_mark_of, images)]
        items = await read_items(self._aws, self._table, keys, _TRIES, consistent=True)
        return {(item["pk"], item["sk"]): item for item in items}

    async def _write(self, request: Mapping[str, Any]) -> bool:
        """False where another consumer has counted one of these meanwhile."""
        try:
            await retrying(lambda: self._aws.call("dynamodb", "transact_write_items", **request), _TRIES)
        except AwsFailure as failure:
            if any(reason.code == _REASON for reason in failure.reasons):
                return False
            raise failure.unavailable() from failure
        return True

    async def _totals(self, days: Sequence[str]) -> list[tuple[str, Item]]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(day: str, shard: int) -> list[tuple[str, Item]]:
            parts = {"KeyConditionExpression": "#pk = :pk"}
            request = {"TableName": self._table, **expressions(parts, {"pk": f"G#{day}#{shard}"})}
            async with gate:
                return [(day, item) for item in await self._items(request)]

        found = await asyncio.gather(*(one(day, shard) for day in days for shard in range(SHARDS)))
        return [pair for pairs in found for pair in pairs]

    async def _items(self, request: dict[str, Any]) -> list[Item]:
        items: list[Item] = []
        while True:
            answer = await self._call("query", request)
            items += map(decode_item, answer["Items"])
            if not answer.get("LastEvaluatedKey"):
                return items
            request = {**request, "ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        async def attempt() -> Mapping[str, Any]:
            return await self._aws.call("dynamodb", operation, patient=True, **request)

        try:
            return await retrying(attempt, _TRIES)
        except AwsFailure as failure:
            raise failure.unavailable() from failure


def _place(image: Item) -> _Place:
    """An account always adds to one shard, so that a busy day's writers meet seldom."""
    _, day, model = image["sk"].split("#", 2)
    return day, crc32(image["pk"].encode()) % SHARDS, model


def _mark_of(image: Item) -> tuple[str, str]:
    return f"C#{image['pk'].removeprefix('A#')}", image["sk"]


def _amounts(item: Item) -> dict[str, int]:
    return {name: amount for name, amount in item.items() if name in _COUNTED or name.startswith(PROJECT)}


def _transaction(
    table: str, place: _Place, images: Sequence[Item], marks: Mapping[tuple[str, str], Item]
) -> dict[str, Any]:
    """The marks moved to these images, and the sum of the steps added to the total."""
    day, shard, model = place
    steps: dict[str, int] = {}
    items: list[dict[str, Any]] = []
    for image in images:
        key = _mark_of(image)
        before = marks.get(key)
        amounts, known = _amounts(image), _amounts(before or {})
        for name in amounts.keys() | known.keys():
            steps[name] = steps.get(name, 0) + amounts.get(name, 0) - known.get(name, 0)
        mark = {"pk": key[0], "sk": key[1], "v": image.get("v", 0), **amounts}
        guard = "attribute_not_exists(#pk)" if before is None else "#v = :v"
        condition = expressions({"ConditionExpression": guard}, {} if before is None else {"v": before["v"]})
        items.append({"Put": {"TableName": table, "Item": encode_item(mark), **condition}})
    added = encode_item({name: step for name, step in steps.items() if step or name == "n"})
    total = {"pk": {"S": f"G#{day}#{shard}"}, "sk": {"S": model}}
    items.append({"Update": {"TableName": table, "Key": total, **additions(added)}})
    return {"TransactItems": items}


def _days(first_day: str, last_day: str) -> list[str]:
    first, last = _date(first_day), _date(last_day)
    return [(first + timedelta(days=number)).strftime("%Y%m%d") for number in range((last - first).days + 1)]


def _date(day: str) -> date:
    return datetime.strptime(day, "%Y%m%d").date()


def _added(one: UsageTotal, other: UsageTotal) -> UsageTotal:
    return UsageTotal(
        day=one.day,
        model=one.model,
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        input_tokens=one.input_tokens + other.input_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        cost_nano=one.cost_nano + other.cost_nano,
    )
