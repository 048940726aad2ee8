"""The control plane on stores in memory: who may ask, what bodies may say, what errors look like."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from shared.gateway.auth import Authenticator
from shared.gateway.control import OPEN_PATHS, build_control_app
from shared.gateway.control_access import ControlPlane
from shared.gateway.front_door import control_serves
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.key_terms import KeyTerms
from shared.gateway.keyring import KeyDirectory
from shared.stores.protocols import AccountLimits, Credential, KeyRecord, KeyStatus, StoreConflict, StoreUnavailable
from shared.stores.usage_protocols import UsageTotal

NOW = 1_800_000_000
TODAY = "20270115"  # of NOW


@dataclass
class Stores:
    """Registry, ledger and usage of one deployment, in memory; `down` makes every one of them fail."""

    records: dict[str, KeyRecord] = field(default_factory=dict)
    statuses: dict[str, dict[str, KeyStatus]] = field(default_factory=dict)
    limits: dict[str, AccountLimits] = field(default_factory=dict)
    totals: dict[str, list[UsageTotal]] = field(default_factory=dict)
    requests: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    down: bool = False

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailable("down", retry_after=2.5)

    async def resolve(self, kid: str) -> KeyRecord | None:
        self._reach()
        return self.records.get(kid)

    async def put(self, record: KeyRecord, *, overwrite: bool = True) -> None:
        self._reach()
        if not overwrite and record.kid in self.records:
            raise StoreConflict(record.kid)
        if len(record.models) > 50:
            raise ValueError("the key record has 5000 bytes")
        self.records[record.kid] = record

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        self._reach()
        start = int(cursor or 0)
        records = list(self.records.values())
        following = start + 10
        return records[start:following], str(following) if following < len(records) else None

    async def pepper(self, pepper_id: str | None = None) -> tuple[str, bytes]:
        return "p1", b"pepper"

    async def pool(self, *, refresh: bool = False) -> Sequence[Credential]:
        return []

    async def open_account(self, record: KeyRecord, *, period: str) -> None:
        self._reach()
        self.statuses.setdefault(record.acct, {}).setdefault(record.kid, "active")

    async def set_key_status(self, acct: str, kid: str, status: KeyStatus) -> None:
        self._reach()
        self.statuses[acct][kid] = status

    async def change_limits(self, acct: str, limits: AccountLimits) -> Sequence[str]:
        self.limits[acct] = limits
        return list(self.statuses[acct])

    async def account_kids(self, acct: str) -> Sequence[str]:
        return list(self.statuses[acct])

    async def daily(self, acct: str, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        self._reach()
        return [total for total in self.totals.get(acct, ()) if first_day <= total.day <= last_day]

    async def rows(
        self, acct: str, day: str, cursor: str | None = None, limit: int = 100, *, newest_first: bool = False
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        if cursor is not None and not cursor.isdigit():
            raise ValueError("cursor")
        start = int(cursor or 0)
        rows = [row for row in self.requests.get(acct, ()) if row["day"] == day]
        rows = rows[::-1] if newest_first else rows
        return rows[start : start + limit], str(start + limit) if start + limit < len(rows) else None

    async def balance(self, acct: str) -> Mapping[str, Any] | None:
        if acct not in self.limits:
            return None
        limit = self.limits[acct].budget_limit_nano
        return {
            "period": "202701",
            "spent_nano": 1_500_000_000,
            "spent_all_nano": 1_500_000_000,
            "limit_nano": limit,
            "available_nano": None if limit is None else limit - 1_500_000_000,
            "holds": 2,
            "requests_tat_us": None,
            "tokens_tat_us": None,
        }


@dataclass
class Globals:
    """Totals of all accounts, in memory."""

    lines: list[UsageTotal] = field(default_factory=list)

    async def daily(self, first_day: str, last_day: str) -> Sequence[UsageTotal]:
        return [total for total in self.lines if first_day <= total.day <= last_day]

    async def projects(self, day: str) -> Mapping[str, int]:
        return {}


class Plane:
    """A client of the control plane, as an operator."""

    def __init__(self) -> None:
        self.stores = Stores()
        directory = KeyDirectory(self.stores, self.stores, lambda: NOW)
        self.registry = KeyRegistry(self.stores, self.stores, self.stores, lambda: NOW, directory.forget)
        self.globals = Globals()
        plane = ControlPlane(Authenticator(directory), self.registry, self.stores, self.globals)
        self.app = build_control_app(plane)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway")
        self.key = ""

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.key if key is None else key}"} | headers
        answer = await self._client.request(method, path, content=content, headers=sent)
        assert answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"
        return answer

    async def made(self, **terms: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/admin/keys", {"name": "made", **terms})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def error(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str, str | None]:
        answer = await self.ask(method, path, body, **more)
        (error,) = answer.json().values()
        assert set(error) == {"code", "message", "param"}
        return answer.status_code, error["code"], error["param"]


@pytest.fixture
async def plane():
    plane = Plane()
    _, plane.key = await plane.registry.issue(KeyTerms("operator", endpoints=("admin",)))
    yield plane
    await plane._client.aclose()


async def test_a_key_is_issued_with_its_terms_and_shown_once(plane: Plane) -> None:
    made = await plane.made(
        name="team",
        models=["gemini-2.5-*"],
        endpoints=["chat"],
        rpm=60,
        tpm=1000,
        max_concurrency=3,
        budget={"period": "month", "limit_usd": "12.50"},
        expires_at="2099-01-31T18:00:00Z",
        ip_allow=["192.0.2.0/24"],
        max_output_tokens=99,
    )
    record = plane.stores.records[made["kid"]]
    assert (record.name, record.models, record.endpoints, record.ip_allow) == (
        "team",
        ("gemini-2.5-*",),
        ("chat",),
        ("192.0.2.0/24",),
    )
    assert (record.rpm, record.tpm, record.max_concurrency, record.max_output_tokens) == (60, 1000, 3, 99)
    assert (record.budget_period, record.budget_limit_nano) == ("month", 12_500_000_000)
    assert (record.expires_at, made["expires_at"]) == (4_073_565_600, 4_073_565_600)
    assert made["budget"] == {"period": "month", "limit_nano": 12_500_000_000, "limit_usd": "12.50"}
    read = (await plane.ask("GET", f"/admin/keys/{made['kid']}")).json()
    assert read == {name: value for name, value in made.items() if name != "key"}
    assert not {"hash", "pepper_id", "key"} & set(read)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "rpm": -1}, "rpm"),
        ({"name": "x", "rpm": 1.5}, "rpm"),
        ({"name": "x", "rpm": True}, "rpm"),
        ({"name": "x", "rpm": "60"}, "rpm"),
        ({"name": "x", "tpm": 2**53}, "tpm"),
        ({"name": "x", "max_concurrency": 1001}, "max_concurrency"),
        ({"name": "x", "rmp": 60}, "rmp"),
        ({"name": "x", "models": ["a", 3]}, "models[1]"),
        ({"name": "x", "models": ["a b"]}, "models"),
        ({"name": "x", "endpoints": ["nope"]}, "endpoints"),
        ({"name": "x", "ip_allow": ["300.1.1.1"]}, "ip_allow"),
        ({"name": "x", "expires_at": "soon"}, "expires_at"),
        ({"name": "x", "expires_at": True}, "expires_at"),
        ({"name": "x", "budget": {"limit_usd": 12.5}}, "budget.limit_usd"),
        ({"name": "x", "budget": {"limit_usd": "-1"}}, "budget.limit_usd"),
        ({"name": "x", "budget": {"limit_usd": "1e3"}}, "budget.limit_usd"),
        ({"name": "x", "budget": {"limit_usd": "0.0000000001"}}, "budget.limit_usd"),
        ({"name": "x", "budget": {"period": "month"}}, "budget.limit_usd"),
        ({"name": "x", "budget": {"period": "week", "limit_usd": "1"}}, "budget.period"),
        ({"name": "x", "budget": "12"}, "budget"),
    ],
)
async def test_a_bad_member_is_named_and_nothing_is_made(plane: Plane, body: Any, param: str) -> None:
    before = dict(plane.stores.records)
    assert await plane.error("POST", "/admin/keys", body) == (400, "invalid_value", param)
    assert plane.stores.records == before


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", (400, "invalid_json", None)),
        (b"[]", (400, "invalid_json", None)),
        (b'{"name":"x","rpm":NaN}', (400, "invalid_json", None)),
        (b'{"name":"x","name":"y"}', (400, "invalid_json", None)),
        (b'{"name":"' + b"x" * 70_000 + b'"}', (413, "request_too_large", None)),
    ],
)
async def test_bad_bytes_are_refused(plane: Plane, raw: bytes, expected: tuple[int, str, str | None]) -> None:
    assert await plane.error("POST", "/admin/keys", raw) == expected


async def test_a_record_too_large_for_its_store_is_the_operators_error(plane: Plane) -> None:
    assert (await plane.error("POST", "/admin/keys", {"name": "x", "models": ["m"] * 51}))[:2] == (400, "invalid_value")


async def test_every_path_wants_an_operators_key_unless_it_is_open(plane: Plane) -> None:
    client = (await plane.made())["key"]
    described = (await plane.ask("GET", "/openapi.json", key="")).json()
    asked = 0
    for path, operations in described["paths"].items():
        if not control_serves(path):
            continue
        for method in operations:
            target = path.replace("{kid}", "x")
            assert await plane.error(method.upper(), target, {}, key="") == (401, "invalid_api_key", None)
            if path.startswith("/admin"):
                assert await plane.error(method.upper(), target, {}, key=client) == (403, "endpoint_not_allowed", None)
            asked += 1
    assert asked >= 10
    for path in OPEN_PATHS:
        assert (await plane.ask("GET", path, key="")).status_code == 200
    known = {route.path for route in plane.app.routes if hasattr(route, "path")}
    assert known - set(described["paths"]) <= OPEN_PATHS | {""}


async def test_keys_are_listed_by_pages(plane: Plane) -> None:
    kids = {(await plane.made())["kid"] for _ in range(24)}
    first = (await plane.ask("GET", "/admin/keys?limit=10")).json()
    assert len(first["data"]) == 10
    listed, cursor = first["data"], first["next_cursor"]
    while cursor:
        following = (await plane.ask("GET", f"/admin/keys?limit=10&cursor={cursor}")).json()
        listed, cursor = listed + following["data"], following["next_cursor"]
    assert len(listed) == 25
    assert kids < {record["kid"] for record in listed}
    whole = (await plane.ask("GET", "/admin/keys")).json()
    assert (len(whole["data"]), whole["next_cursor"]) == (25, None)
    assert await plane.error("GET", "/admin/keys?cursor=x") == (400, "invalid_value", "cursor")
    assert await plane.error("GET", "/admin/keys?limit=0") == (400, "invalid_value", "limit")


async def test_a_change_touches_what_it_names_only(plane: Plane) -> None:
    made = await plane.made(rpm=60, models=["a"], budget={"period": "month", "limit_usd": "5"})
    kid = made["kid"]
    changed = (await plane.ask("PATCH", f"/admin/keys/{kid}", {"rpm": 5, "name": "new"})).json()
    assert changed == {**{k: v for k, v in made.items() if k != "key"}, "rpm": 5, "name": "new", "version": 2}
    assert kid not in plane.stores.limits  # the ledger's limits were not named
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {"period": "day", "limit_usd": "7.5"}})
    assert plane.stores.limits[kid] == AccountLimits(7_500_000_000, None, TODAY)
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": None, "rpm": None, "models": []})
    assert plane.stores.limits[kid] == AccountLimits(None, None, "all")
    record = plane.stores.records[kid]
    assert (record.rpm, record.models, record.budget_limit_nano, record.budget_period) == (None, (), None, "none")
    assert await plane.error("PATCH", f"/admin/keys/{kid}", {"rpm": -1}) == (400, "invalid_value", "rpm")
    assert await plane.error("PATCH", f"/admin/keys/{kid}", {"name": ""}) == (400, "invalid_value", "name")
    assert await plane.error("PATCH", f"/admin/keys/{kid}", {"kid": "x"}) == (400, "invalid_value", "kid")
    assert await plane.error("PATCH", "/admin/keys/nope", {"rpm": 1}) == (404, "not_found", "kid")


async def test_a_key_is_switched_off_and_on(plane: Plane) -> None:
    made = await plane.made()
    assert (await plane.ask("GET", "/v1/usage", key=made["key"])).status_code == 200
    await plane.ask("PATCH", f"/admin/keys/{made['kid']}", {"status": "disabled"})
    assert plane.stores.statuses[made["kid"]] == {made["kid"]: "disabled"}
    assert (await plane.ask("GET", "/v1/usage", key=made["key"])).status_code == 401
    await plane.ask("PATCH", f"/admin/keys/{made['kid']}", {"status": "active"})
    assert (await plane.ask("GET", "/v1/usage", key=made["key"])).status_code == 200
    status = await plane.error("PATCH", f"/admin/keys/{made['kid']}", {"status": "revoked"})
    assert status == (400, "invalid_value", "status")


async def test_a_revocation_is_effective_at_once_and_for_ever(plane: Plane) -> None:
    made = await plane.made()
    assert (await plane.ask("GET", "/v1/usage", key=made["key"])).status_code == 200
    answer = await plane.ask("DELETE", f"/admin/keys/{made['kid']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    assert plane.stores.statuses[made["kid"]][made["kid"]] == "revoked"
    assert await plane.error("GET", "/v1/usage", key=made["key"]) == (401, "invalid_api_key", None)
    assert (await plane.ask("DELETE", f"/admin/keys/{made['kid']}")).json() == answer.json()
    assert await plane.error("PATCH", f"/admin/keys/{made['kid']}", {"status": "active"}) == (409, "conflict", "kid")
    assert await plane.error("POST", f"/admin/keys/{made['kid']}/rotate") == (409, "conflict", "kid")
    assert await plane.error("DELETE", "/admin/keys/nope") == (404, "not_found", "kid")


async def test_a_rotation_keeps_account_and_terms(plane: Plane) -> None:
    made = await plane.made(rpm=60, budget={"period": "month", "limit_usd": "5"})
    answer = await plane.ask("POST", f"/admin/keys/{made['kid']}/rotate", {"overlap_seconds": 600})
    fresh = answer.json()
    assert (answer.status_code, fresh["acct"], fresh["replaces"]) == (201, made["kid"], made["kid"])
    assert fresh["kid"] != made["kid"]
    assert (fresh["rpm"], fresh["budget"], fresh["name"]) == (60, made["budget"], "made")
    old = plane.stores.records[made["kid"]]
    assert (old.replaced_by, old.expires_at, old.status) == (fresh["kid"], NOW + 600, "active")
    for key in (made["key"], fresh["key"]):
        assert (await plane.ask("GET", "/v1/usage", key=key)).status_code == 200
    assert await plane.error("POST", f"/admin/keys/{made['kid']}/rotate") == (409, "conflict", "kid")
    # the account's limits are those of both
    await plane.ask("PATCH", f"/admin/keys/{fresh['kid']}", {"rpm": 5, "budget": {"limit_usd": "1"}, "name": "n"})
    old = plane.stores.records[made["kid"]]
    assert (old.rpm, old.budget_limit_nano, old.budget_period, old.name) == (5, 1_000_000_000, "none", "made")


async def test_a_rotation_without_overlap_ends_the_old_key(plane: Plane) -> None:
    made = await plane.made(expires_at=NOW + 50)
    assert (await plane.ask("GET", "/v1/usage", key=made["key"])).status_code == 200
    fresh = (await plane.ask("POST", f"/admin/keys/{made['kid']}/rotate", {"overlap_seconds": 0})).json()
    assert plane.stores.statuses[made["kid"]] == {made["kid"]: "revoked", fresh["kid"]: "active"}
    assert await plane.error("GET", "/v1/usage", key=made["key"]) == (401, "invalid_api_key", None)
    again = await plane.ask("POST", f"/admin/keys/{fresh['kid']}/rotate")  # a day by default, never past the old end
    assert again.status_code == 201
    assert plane.stores.records[fresh["kid"]].expires_at == NOW + 50
    path = f"/admin/keys/{again.json()['kid']}/rotate"
    assert await plane.error("POST", path, {"overlap_seconds": -1}) == (400, "invalid_value", "overlap_seconds")


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


async def test_stores_that_are_down_are_503(plane: Plane) -> None:
    made = await plane.made()
    await plane.ask("GET", "/v1/usage", key=made["key"])  # known to the cache
    await plane.ask("GET", "/admin/keys")
    plane.stores.down = True
    for method, path in (("GET", "/admin/keys"), ("DELETE", f"/admin/keys/{made['kid']}"), ("GET", "/admin/usage")):
        answer = await plane.ask(method, path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
        assert answer.json()["error"]["code"] == "unavailable"


async def test_a_registry_that_fails_at_the_entrance_is_told_to_the_operator(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    plane.stores.down = True
    assert await plane.error("GET", "/admin/keys") == (503, "unavailable", None)
    (record,) = [record for record in caplog.records if record.message == "control_unavailable"]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "down"


async def test_unknown_paths_and_methods_are_json(plane: Plane) -> None:
    assert await plane.error("GET", "/admin/nope") == (404, "not_found", None)
    assert await plane.error("GET", "/admin/keys/") == (404, "not_found", None)
    answer = await plane.ask("PUT", "/admin/keys")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "allow" in answer.headers


async def test_what_escapes_is_one_plain_500_with_an_id(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(kid: str) -> KeyRecord | None:
        raise RuntimeError("secret detail")

    plane.stores.resolve = broken  # type: ignore[method-assign]
    await plane.ask("GET", "/admin/keys", key=plane.key)
    answer = await plane.ask("GET", "/admin/keys/x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret detail" not in answer.text


async def test_the_clients_own_id_comes_back(plane: Plane) -> None:
    answer = await plane.ask("GET", "/health", **{"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"


async def test_the_page_needs_nothing_from_elsewhere(plane: Plane) -> None:
    answer = await plane.ask("GET", "/docs", key="")
    assert "<script" not in answer.text
    assert not re.search(r'(?:src|href)="(?!/)', answer.text)
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
    for text in ("/admin/keys/{kid}/rotate", "/v1/chat/completions", "max_concurrency", "overlap_seconds"):
        assert text in answer.text


async def test_the_description_is_whole(plane: Plane) -> None:
    described = (await plane.ask("GET", "/openapi.json", key="")).json()
    text = json.dumps(described)
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert {"NewKey", "KeyChange", "Rotation", "Budget"} <= names <= set(described["components"]["schemas"])
    assert described["openapi"].startswith("3.")


async def test_a_forgotten_key_is_asked_for_again(plane: Plane) -> None:
    made = await plane.made()
    await plane.ask("GET", "/v1/usage", key=made["key"])
    plane.stores.records[made["kid"]] = replace(plane.stores.records[made["kid"]], name="behind its back")
    cached = (await plane.ask("GET", "/v1/usage", key=made["key"])).json()["name"]
    await plane.ask("PATCH", f"/admin/keys/{made['kid']}", {"rpm": 1})
    fresh = (await plane.ask("GET", "/v1/usage", key=made["key"])).json()["name"]
    assert (cached, fresh) == ("made", "behind its back")
