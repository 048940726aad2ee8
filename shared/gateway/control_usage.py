"""`/admin/usage` for operators and `/v1/usage` for the holders of keys."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from shared.gateway import usage_queries as queries
from shared.gateway.control_access import ControlPlane, exchange_of, holder
from shared.gateway.responses import json_response
from shared.stores.protocols import KeyRecord
from shared.stores.usage_protocols import UsageTotal

_PAGE = 100
_EXACT_KEYS = 256  # beyond them reading each one's aggregates takes seconds


First = Annotated[str | None, Query(alias="from", description="First day, UTC; 29 days before the last if absent.")]
Last = Annotated[str | None, Query(alias="to", description="Last day, UTC; today if absent.")]
Day = Annotated[str | None, Query(description="A day, UTC; today if absent.")]
Cursor = Annotated[str | None, Query(max_length=200)]
Order = Annotated[
    Literal["asc", "desc"],
    Query(description="asc: in the order they came; desc: the newest first. A cursor keeps to it."),
]
Exact = Annotated[
    bool | None,
    Query(
        description="true: the sum of every key's own totals, which hold each request as soon as its answer has ended; "
        "false: the totals of all keys together, some minutes behind, in as many reads for any number of keys. If "
        "absent: exact up to 256 keys. Always exact where a key is named or grouped by; `eventual` says which it is.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=queries.LARGEST_PAGE)]
Holder = Annotated[KeyRecord, Depends(holder)]


def admin_usage_routes(plane: ControlPlane) -> APIRouter:
    routes = APIRouter(prefix="/admin/usage", tags=["usage"])

    @routes.get("", summary="Totals by day, model or key")
    async def totals(
        request: Request,
        first: First = None,
        last: Last = None,
        group_by: Annotated[str, Query(description="day, model, key, or several separated by commas.")] = "day",
        kid: Annotated[str | None, Query(description="One key; every key if absent.")] = None,
        exact: Exact = None,
    ) -> Response:
        by = queries.dimensions_of(group_by)
        start, end = queries.day_range(first, last, exchange_of(request).today)
        records = [await plane.registry.held(kid)] if kid else await _keys(plane, by, exact)
        if records is None:
            lines = await plane.totals.daily(start, end)
            return _totals(queries.grouped_globally(lines, by), lines, eventual=True)
        found = await queries.totals_of(plane.usage, records, start, end)
        return _totals(queries.grouped(found, by), [total for _, total in found], eventual=False)

    @routes.get("/requests", summary="The requests of a key on one day")
    async def requests(
        request: Request, kid: str, day: Day = None, cursor: Cursor = None, limit: Limit = _PAGE, order: Order = "asc"
    ) -> Response:
        record = await plane.registry.held(kid)
        return await _requests(plane, request, record, day, cursor, limit, order)

    return routes


def own_usage_routes(plane: ControlPlane) -> APIRouter:
    routes = APIRouter(prefix="/v1/usage", tags=["own usage"])

    @routes.get("", summary="What this key used, may use and has left")
    async def own(request: Request, record: Holder, first: First = None, last: Last = None) -> Response:
        exchange = exchange_of(request)
        start, end = queries.day_range(first, last, exchange.today)
        totals = await plane.usage.daily(record.acct, start, end)
        balance = await plane.usage.balance(record.acct)
        return json_response(200, queries.own_view(record, balance, totals, exchange.started_ms * 1000))

    @routes.get("/requests", summary="This key's requests on one day")
    async def own_requests(
        request: Request,
        record: Holder,
        day: Day = None,
        cursor: Cursor = None,
        limit: Limit = _PAGE,
        order: Order = "asc",
    ) -> Response:
        return await _requests(plane, request, record, day, cursor, limit, order)

    return routes


def _totals(data: list[dict[str, Any]], totals: Iterable[UsageTotal], *, eventual: bool) -> Response:
    return json_response(200, {"data": data, "total": queries.summed(totals), "eventual": eventual})


async def _requests(
    plane: ControlPlane,
    request: Request,
    record: KeyRecord,
    day: str | None,
    cursor: str | None,
    limit: int,
    order: str,
) -> Response:
    on = queries.day_of(day, "day") if day else exchange_of(request).day
    newest_first = order == "desc"
    rows, following = await queries.requests_page(plane.usage, record, on, cursor, limit, newest_first=newest_first)
    body: dict[str, Any] = {"data": rows, "next_cursor": following}
    return json_response(200, body)


async def _keys(plane: ControlPlane, by: Sequence[str], exact: bool | None) -> list[KeyRecord] | None:
    """Every key, whose own aggregates are exact; None where the totals of all keys are to answer instead."""
    if "key" in by:
        exact = True
    if exact is False:
        return None
    found: list[KeyRecord] = []
    cursor: str | None = None
    while True:
        records, cursor = await plane.registry.page(cursor)
        found += records
        if cursor is None:
            return found
        if exact is None and len(found) > _EXACT_KEYS:
            return None
