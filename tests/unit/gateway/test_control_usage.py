"""Usage as the control plane tells it to operators and to the holder of a key."""

import pytest
from msgspec.structs import replace

from shared.stores.protocols import AccountLimits
from shared.stores.usage_protocols import UsageTotal
from tests.unit.gateway.control_plane import TODAY, Plane, operators_plane


@pytest.fixture
async def plane():
    async with operators_plane() as plane:
        yield plane


def total(day: str, model: str, **counts: int) -> UsageTotal:
    names = ("requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nano")
    return UsageTotal(day, model, **{name: counts.get(name, 1) for name in names})


async def test_usage_is_grouped_by_day_model_and_key(plane: Plane) -> None:
    one, two = await plane.made(name="one"), await plane.made(name="two")
    plane.stores.totals = {
        one["kid"]: [total("20270114", "m", cost_nano=5), total(TODAY, "m", cost_nano=7)],
        two["kid"]: [total(TODAY, "n", cost_nano=11, requests=3)],
    }
    span = "from=2027-01-01&to=2027-01-31"

    async def lines(query: str) -> dict[tuple[str, ...], int]:
        body = (await plane.ask("GET", f"/admin/usage?{span}&{query}")).json()
        assert body["total"]["cost_nano_usd"] == sum(line["cost_nano_usd"] for line in body["data"])
        names = ("day", "model", "kid")
        return {tuple(line[name] for name in names if name in line): line["cost_nano_usd"] for line in body["data"]}

    assert await lines("group_by=day") == {("2027-01-14",): 5, ("2027-01-15",): 18}
    assert await lines("group_by=model") == {("m",): 12, ("n",): 11}
    assert await lines("group_by=key") == {(one["kid"],): 12, (two["kid"],): 11}
    assert await lines(f"group_by=key&kid={two['kid']}") == {(two["kid"],): 11}
    assert await lines("group_by=day,model") == {
        ("2027-01-14", "m"): 5,
        ("2027-01-15", "m"): 7,
        ("2027-01-15", "n"): 11,
    }
    body = (await plane.ask("GET", f"/admin/usage?{span}")).json()
    assert body["total"] == {
        "requests": 5,
        "errors": 3,
        "input_tokens": 3,
        "cached_tokens": 3,
        "output_tokens": 3,
        "reasoning_tokens": 3,
        "cost_nano_usd": 23,
        "cost_usd": "0.000000023",
    }


async def test_totals_of_all_keys_are_exact_for_few_of_them_and_say_when_they_are_not(plane: Plane) -> None:
    made = await plane.made(name="one")
    plane.stores.totals = {made["kid"]: [total(TODAY, "m", cost_nano=7), total(TODAY, "n", cost_nano=1)]}
    plane.globals.lines = [
        total("20270114", "m", cost_nano=5),
        total(TODAY, "m", cost_nano=6),
        total("20261231", "m", cost_nano=9),
    ]

    async def asked(query: str) -> tuple[bool, list[int], int]:
        body = (await plane.ask("GET", f"/admin/usage?from=2027-01-01&to=2027-01-31&{query}")).json()
        assert body.keys() == {"data", "total", "eventual"}
        return body["eventual"], [line["cost_nano_usd"] for line in body["data"]], body["total"]["cost_nano_usd"]

    assert await asked("group_by=model") == (False, [7, 1], 8)
    assert await asked("group_by=model&exact=false") == (True, [11], 11)
    assert await asked("group_by=day,model&exact=false") == (True, [5, 6], 11)
    assert await asked("group_by=key&exact=false") == (False, [8], 8)
    assert await asked(f"group_by=model&kid={made['kid']}&exact=false") == (False, [7, 1], 8)
    record = plane.stores.records[made["kid"]]
    for number in range(300):
        plane.stores.records[f"k{number}"] = replace(record, kid=f"k{number}", acct=f"k{number}")
    assert await asked("group_by=model") == (True, [11], 11)
    assert await asked("group_by=model&exact=true") == (False, [7, 1], 8)
    assert (await asked("group_by=key"))[0] is False
    assert await plane.error("GET", "/admin/usage?exact=perhaps") == (400, "invalid_value", "exact")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=2027-13-01", "from"),
        ("from=20270101", "from"),
        ("to=x", "to"),
        ("from=2027-02-01&to=2027-01-01", "from"),
        ("from=2026-01-01&to=2027-01-31", "from"),
        ("group_by=hour", "group_by"),
    ],
)
async def test_bad_ranges_and_groups_are_named(plane: Plane, query: str, param: str) -> None:
    assert await plane.error("GET", f"/admin/usage?{query}") == (400, "invalid_value", param)


@pytest.mark.parametrize(
    "span", ["to=0001-01-05", "from=0001-01-01&to=0001-01-02", "to=0999-12-31", "from=9999-12-31&to=9999-12-31"]
)
async def test_a_range_at_the_edge_of_the_calendar_holds_nothing(plane: Plane, span: str) -> None:
    made = await plane.made()
    assert (await plane.ask("GET", f"/admin/usage?{span}")).json()["data"] == []
    own = await plane.ask("GET", f"/v1/usage?{span}", key=made["key"])
    assert (own.status_code, own.json()["data"]) == (200, [])


async def test_usage_of_an_unknown_key_is_not_found(plane: Plane) -> None:
    assert await plane.error("GET", "/admin/usage?kid=nope") == (404, "not_found", "kid")
    assert await plane.error("GET", "/admin/usage/requests?kid=nope") == (404, "not_found", "kid")
    assert await plane.error("GET", "/admin/usage/requests") == (400, "invalid_value", "kid")


async def test_requests_are_those_of_the_key_alone(plane: Plane) -> None:
    made = await plane.made()
    fresh = (await plane.ask("POST", f"/admin/keys/{made['kid']}/rotate")).json()
    kids = [made["kid"], fresh["kid"], fresh["kid"], made["kid"], fresh["kid"]]
    rows = [{"request_id": str(n), "kid": kid, "day": TODAY} for n, kid in enumerate(kids)]
    plane.stores.requests[made["kid"]] = rows
    path = f"/admin/usage/requests?kid={fresh['kid']}&day=2027-01-15"
    whole = (await plane.ask("GET", path)).json()
    assert ([row["request_id"] for row in whole["data"]], whole["next_cursor"]) == (["1", "2", "4"], None)
    part = (await plane.ask("GET", f"{path}&limit=2")).json()
    assert [row["request_id"] for row in part["data"]] == ["1", "2"]
    rest = (await plane.ask("GET", f"{path}&limit=2&cursor={part['next_cursor']}")).json()
    assert ([row["request_id"] for row in rest["data"]], rest["next_cursor"]) == (["4"], None)
    assert await plane.error("GET", f"{path}&cursor=x") == (400, "invalid_value", "cursor")
    own = (await plane.ask("GET", "/v1/usage/requests?day=2027-01-15", key=made["key"])).json()
    assert [row["request_id"] for row in own["data"]] == ["0", "3"]


async def test_requests_come_in_either_order(plane: Plane) -> None:
    made = await plane.made()
    plane.stores.requests[made["kid"]] = [
        {"request_id": str(number), "kid": made["kid"], "day": TODAY} for number in range(5)
    ]
    for path, key in ((f"/admin/usage/requests?kid={made['kid']}&", None), ("/v1/usage/requests?", made["key"])):
        path += "day=2027-01-15&order="
        shown: dict[str, list[str]] = {}
        for order in ("asc", "desc"):
            found, cursor = [], ""
            while cursor is not None:
                page = (await plane.ask("GET", f"{path}{order}&limit=2&cursor={cursor or 0}", key=key)).json()
                found += [row["request_id"] for row in page["data"]]
                cursor = page["next_cursor"]
            shown[order] = found
        assert shown == {"asc": ["0", "1", "2", "3", "4"], "desc": ["4", "3", "2", "1", "0"]}
        status = (await plane.ask("GET", f"{path}newest", key=key)).status_code
        assert status == 400


async def test_a_holder_sees_limits_what_remains_and_what_it_used(plane: Plane) -> None:
    made = await plane.made(
        rpm=60, tpm=1000, max_concurrency=3, budget={"period": "month", "limit_usd": "5"}, endpoints=["chat"]
    )
    plane.stores.limits[made["kid"]] = AccountLimits(5_000_000_000, 3, "202701")
    plane.stores.totals[made["kid"]] = [total("20270114", "m", cost_nano=5), total(TODAY, "m", cost_nano=7)]
    view = (await plane.ask("GET", "/v1/usage?from=2027-01-15&to=2027-01-15", key=made["key"])).json()
    assert (view["kid"], view["name"], view["period"]) == (made["kid"], "made", "2027-01")
    assert view["limits"]["budget"] == made["budget"]
    assert (view["limits"]["rpm"], view["limits"]["tpm"], view["limits"]["max_concurrency"]) == (60, 1000, 3)
    assert view["remaining"] == {
        "requests": 10,
        "tokens": 1000,
        "concurrency": 1,
        "budget_nano_usd": 3_500_000_000,
        "budget_usd": "3.50",
    }
    assert (view["spent_nano_usd"], view["spent_usd"]) == (1_500_000_000, "1.50")
    ((line,), whole) = view["data"], view["total"]
    assert (line["day"], line["model"], line["cost_nano_usd"], whole["cost_nano_usd"]) == ("2027-01-15", "m", 7, 7)


async def test_an_unlimited_key_has_nothing_that_remains(plane: Plane) -> None:
    view = (await plane.ask("GET", "/v1/usage", key=(await plane.made())["key"])).json()
    assert set(view["remaining"].values()) == {None}
    assert (view["period"], view["data"]) == ("all", [])
