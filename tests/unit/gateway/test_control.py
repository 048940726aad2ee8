"""The control plane on stores in memory: who may ask, what bodies may say, what errors look like."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from msgspec.structs import replace

from shared.gateway.control import OPEN_PATHS
from shared.gateway.front_door import control_serves
from shared.stores.protocols import AccountLimits, KeyRecord
from tests.unit.gateway.control_plane import NOW, TODAY, Plane, operators_plane


@pytest.fixture
async def plane():
    async with operators_plane() as plane:
        yield plane


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
    assert plane.stores.limits[kid] == AccountLimits(7_500_000_000, None, TODAY, TODAY)
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {"limit_usd": "8"}})
    assert plane.stores.limits[kid] == AccountLimits(8_000_000_000, None, TODAY, TODAY)  # still that of a day
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {"period": "none"}})
    assert plane.stores.limits[kid] == AccountLimits(8_000_000_000, None, "all", TODAY)
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {"period": "day"}})
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {}})
    assert plane.stores.limits[kid] == AccountLimits(8_000_000_000, None, TODAY, TODAY)
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {"limit_usd": None}})
    assert plane.stores.limits[kid] == AccountLimits(None, None, "all", TODAY)
    assert await plane.error("PATCH", f"/admin/keys/{kid}", {"budget": {"period": "day"}}) == (
        *(400, "invalid_value"),
        "budget.limit_usd",
    )
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": {"period": "day", "limit_usd": "7.5"}})
    await plane.ask("PATCH", f"/admin/keys/{kid}", {"budget": None, "rpm": None, "models": []})
    assert plane.stores.limits[kid] == AccountLimits(None, None, "all", TODAY)
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
    assert (old.rpm, old.budget_limit_nano, old.budget_period, old.name) == (5, 1_000_000_000, "month", "made")


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


async def test_a_registry_that_fails_at_the_entrance_is_told_to_the_operator(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    plane.stores.down = True
    assert await plane.error("GET", "/admin/keys") == (503, "unavailable", None)
    (record,) = [record for record in caplog.records if record.message == "control_unavailable"]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "down"


async def test_stores_that_are_down_are_503(plane: Plane) -> None:
    made = await plane.made()
    await plane.ask("GET", "/v1/usage", key=made["key"])  # known to the cache
    await plane.ask("GET", "/admin/keys")
    plane.stores.down = True
    for method, path in (("GET", "/admin/keys"), ("DELETE", f"/admin/keys/{made['kid']}"), ("GET", "/admin/usage")):
        answer = await plane.ask(method, path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
        assert answer.json()["error"]["code"] == "unavailable"


async def test_unknown_paths_and_methods_are_json(plane: Plane) -> None:
    assert await plane.error("GET", "/admin/nope") == (404, "not_found", None)
    assert await plane.error("GET", "/admin/keys/") == (404, "not_found", None)


@pytest.mark.parametrize("path", ["/%61dmin/keys", "/admin%2Fkeys", "/admin/%6beys", "/v1/%75sage", "/%64ocs"])
async def test_a_path_has_one_spelling(plane: Plane, path: str) -> None:
    """Whoever guards `/admin/` in front of the gateway guards all of it."""
    assert await plane.error("GET", path) == (404, "not_found", None)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/admin/keys", "GET, POST"),
        ("/admin/keys/abc", "DELETE, GET, PATCH"),
        ("/admin/keys/abc/rotate", "POST"),
        ("/v1/usage", "GET"),
        ("/docs", "GET"),
    ],
)
async def test_a_wrong_method_is_told_every_right_one(plane: Plane, path: str, allowed: str) -> None:
    answer = await plane.ask("PUT", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


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
