"""Usage, read back: daily aggregates, the rows of a day, the balance of an account."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.stores.attributes import Item, decode_item, expressions
from shared.stores.aws import Aws, AwsFailure, read_items
from shared.stores.dynamodb_admission import UNLIMITED_NANO, state_key
from shared.stores.dynamodb_rows import row_key
from shared.stores.usage_protocols import LostRequest, UsageTotal

_TRIES = 5
_CURSOR = re.compile(r"[0-9]{1,16}#[0-9A-Z]{1,40}")
_OUTSIDE = {  # the name outside: the attribute
    "ts": "ts",
    "kid": "kid",
    "dialect": "dialect",
    "endpoint": "endpoint",
    "stream": "stream",
    "model": "model",
    "model_version": "model_ver",
    "status": "http",
    "finish_reason": "finish",
    "input_tokens": "in_tok",
    "cached_tokens": "cache_tok",
    "output_tokens": "out_tok",
    "reasoning_tokens": "think_tok",
    "cost_nano_usd": "cost_nano",
    "estimated": "estimated",
    "ttft_ms": "ttft_ms",
    "duration_ms": "dur_ms",
}
_SUMMED = ("in_tok", "cache_tok", "out_tok", "think_tok", "cost_nano")
_CORRECTED = ("dialect", "endpoint", "stream", "model_ver", "http", "finish", "estimated", "ttft_ms", "dur_ms", "ts")


class DynamoUsageReader:
    """Implements `usage_protocols.UsageReader` and `usage_protocols.LostRequests`. `clock` gives epoch seconds."""

    def __init__(self, aws: Aws, table: str, *, index: str = "GSI1", clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._table = table
        self._index = index
        self._clock = clock

    async def warm(self) -> None:
        await self._aws.warm("dynamodb")

    async def daily(self, acct: str, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        request = aggregates_query(self._table, acct, first_day, last_day)
        totals: list[UsageTotal] = []
        while True:
            answer = await self._call("query", request)
            totals += (_total(decode_item(item)) for item in answer["Items"])
            if not answer.get("LastEvaluatedKey"):
                return totals
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def rows(
        self, acct: str, day: str, cursor: str | None = None, limit: int = 100, *, newest_first: bool = False
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        partition = f"A#{acct}#{day}"
        request: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": self._index,
            "Limit": limit,
            "ScanIndexForward": not newest_first,
            **expressions({"KeyConditionExpression": "#gsi1pk = :pk"}, {"pk": partition}),
        }
        if cursor is not None:
            request["ExclusiveStartKey"] = _start_key(partition, cursor)
        answer = await self._call("query", request)
        now = self._clock()
        found = [row for item in answer["Items"] if (row := decode_item(item))["ttl"] > now]
        adjustments = await self._adjustments(row for row in found if row["st"] == "lost")
        last = answer.get("LastEvaluatedKey")
        next_cursor = last["gsi1sk"]["S"] if last else None
        return [_shown(_corrected(row, adjustments.get(row["pk"]))) for row in found], next_cursor

    async def lost(self, acct: str, day: str) -> Sequence[LostRequest]:
        parts = {"KeyConditionExpression": "#gsi1pk = :pk", "FilterExpression": "#st = :lost"}
        values = {"pk": f"A#{acct}#{day}", "lost": "lost"}
        request: dict[str, Any] = {"TableName": self._table, "IndexName": self._index, **expressions(parts, values)}
        rows: list[Item] = []
        while True:
            answer = await self._call("query", request)
            rows += (decode_item(item) for item in answer["Items"])
            if not answer.get("LastEvaluatedKey"):
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        adjusted = await self._adjustments(rows)
        return [_lost(row) for row in rows if row["pk"] not in adjusted]

    async def balance(self, acct: str) -> Mapping[str, Any] | None:
        request = {"TableName": self._table, "Key": state_key(acct), "ConsistentRead": True}
        answer = await self._call("get_item", request)
        if "Item" not in answer:
            return None
        state = decode_item(answer["Item"])
        period, spent, available = state["period"], state["spent"], state["avail"]
        today = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%d")
        if period.isdigit() and today[: len(period)] > period:  # the next admission will turn the page
            period, spent, available = today[: len(period)], 0, available + spent
        unlimited = state["limit"] == UNLIMITED_NANO
        return {
            "period": period,
            "spent_nano": spent,
            "spent_all_nano": state["spent_all"],
            "limit_nano": None if unlimited else state["limit"],
            "available_nano": None if unlimited else available,
            "holds": len(state["holds"]),
            "requests_tat_us": state.get("tat_r"),
            "tokens_tat_us": state.get("tat_t"),
        }

    async def _adjustments(self, lost: Iterable[Item]) -> dict[str, Item]:
        """What late settlements said about rows that were booked as lost, by the row's pk."""
        keys = [row_key(row["pk"].removeprefix("R#"), "ADJ") for row in lost]
        return {item["pk"]: item for item in await read_items(self._aws, self._table, keys, _TRIES)}

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self._aws.call("dynamodb", operation, patient=True, **request)
        except AwsFailure as failure:
            raise failure.unavailable() from failure


def _start_key(partition: str, cursor: str) -> dict[str, Any]:
    """The cursor is the row's sort key alone, so that it can never lead into another account."""
    if not _CURSOR.fullmatch(cursor):
        raise ValueError("the cursor is not valid")
    rid = cursor.partition("#")[2]
    return {"gsi1pk": {"S": partition}, "gsi1sk": {"S": cursor}, **row_key(rid)}


def _lost(row: Item) -> LostRequest:
    return LostRequest(
        acct=row["acct"],
        kid=row["kid"],
        rid=row["pk"].removeprefix("R#"),
        day=row["day"],
        model=row["model"],
        estimate_nano=row["est"],
        ended_at=row["ts"] // 1000,
    )


def aggregates_query(table: str, acct: str, first_day: str, last_day: str) -> dict[str, Any]:
    """An account's daily aggregates, both days included."""
    parts = {"KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :first AND :last"}
    # "$" follows "#": every model of the last day lies before it
    values = {"pk": f"A#{acct}", "first": f"D#{first_day}#", "last": f"D#{last_day}$"}
    return {"TableName": table, **expressions(parts, values)}


def _total(item: Item) -> UsageTotal:
    _, day, model = item["sk"].split("#", 2)
    return total_of(day, model, item)


def total_of(day: str, model: str, item: Item) -> UsageTotal:
    return UsageTotal(
        day=day,
        model=model,
        requests=item.get("n", 0),
        errors=item.get("err", 0),
        input_tokens=item.get("in_tok", 0),
        cached_tokens=item.get("cache_tok", 0),
        output_tokens=item.get("out_tok", 0),
        reasoning_tokens=item.get("think_tok", 0),
        cost_nano=item.get("cost_nano", 0),
    )


def _corrected(row: Item, adjustment: Item | None) -> Item:
    if adjustment is None:
        return row
    return {
        **row,
        **{name: adjustment[name] for name in _CORRECTED if name in adjustment},
        **{name: row[name] + adjustment[name] for name in _SUMMED},
    }


def _shown(row: Item) -> dict[str, Any]:
    return {"request_id": row["pk"].removeprefix("R#"), **{name: row.get(a) for name, a in _OUTSIDE.items()}}
