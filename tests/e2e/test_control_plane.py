"""The control plane as an operator's script meets it: over HTTP, on a running gateway, with requests in between."""

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.running import running_gateway

HELLO = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "hello"}]}
COUNTS = {"requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nano_usd"}
ROW = {
    *("request_id", "ts", "kid", "dialect", "endpoint", "stream", "model", "model_version", "status", "finish_reason"),
    *("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_nano_usd", "estimated"),
    *("ttft_ms", "duration_ms"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("control") / "state", {}) as gateway:
        yield gateway


def ask(gateway, method, path, body=None, key=None):
    """(status, headers, parsed body)"""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key or gateway.admin_key}", "content-type": "application/json"}
    request = urllib.request.Request(gateway.base_url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def made(gateway, **terms):
    status, _, body = ask(gateway, "POST", "/admin/keys", {"name": "made", **terms})
    assert status == 201, body
    return body


def use(gateway, key):
    status, headers, _ = ask(gateway, "POST", "/v1/chat/completions", HELLO, key)
    return status, headers


def rows(gateway, kid, number, patience_s=5.0):
    """The rows of a key once there are `number`: settlement follows the last byte."""
    end = time.monotonic() + patience_s
    while True:
        status, _, body = ask(gateway, "GET", f"/admin/usage/requests?kid={kid}")
        assert status == 200
        if len(body["data"]) >= number or time.monotonic() > end:
            assert len(body["data"]) == number
            return body["data"]
        time.sleep(0.05)


def test_a_key_is_made_used_seen_and_revoked(running):
    key = made(running, budget={"period": "month", "limit_usd": "12.50"}, rpm=600)
    cost = 0
    for _ in range(2):
        status, headers = use(running, key["key"])
        assert status == 200
        whole, _, rest = headers["x-gateway-cost-usd"].partition(".")
        cost += int(whole + rest.ljust(9, "0"))
    found = rows(running, key["kid"], 2)
    assert all(set(row) == ROW for row in found)
    assert sum(row["cost_nano_usd"] for row in found) == cost > 0

    today = time.strftime("%Y-%m-%d", time.gmtime())
    for group, expected in (
        ("day", {"day": today}),
        ("model", {"model": HELLO["model"]}),
        ("key", {"kid": key["kid"]}),
    ):
        path = f"/admin/usage?from={today}&to={today}&group_by={group}&kid={key['kid']}"
        body = ask(running, "GET", path)[2]
        (line,) = body["data"]
        assert expected.items() <= line.items()
        assert line.keys() >= COUNTS <= body["total"].keys()
        assert (line["requests"], line["cost_nano_usd"], body["total"]["cost_nano_usd"]) == (2, cost, cost)

    own = ask(running, "GET", "/v1/usage", key=key["key"])[2]
    assert (own["kid"], own["name"], own["period"]) == (key["kid"], "made", today[:7])
    assert own["total"]["cost_nano_usd"] == own["spent_nano_usd"] == cost
    assert own["remaining"]["budget_nano_usd"] == 12_500_000_000 - cost
    assert ask(running, "GET", "/v1/usage/requests", key=key["key"])[2]["data"] == found

    assert ask(running, "DELETE", f"/admin/keys/{key['kid']}")[0] == 200
    assert use(running, key["key"])[0] == 401
    assert ask(running, "GET", f"/admin/keys/{key['kid']}")[2]["status"] == "revoked"


def test_a_changed_limit_holds_from_the_next_request(running):
    key = made(running)
    assert use(running, key["key"])[0] == 200
    assert ask(running, "PATCH", f"/admin/keys/{key['kid']}", {"rpm": 60, "rpm_burst": 1})[0] == 200
    statuses = [use(running, key["key"])[0] for _ in range(3)]
    assert statuses.count(200) == 1
    assert set(statuses) == {200, 429}
    assert ask(running, "PATCH", f"/admin/keys/{key['kid']}", {"rpm": None, "models": ["gemini-2.5-*"]})[0] == 200
    assert use(running, key["key"])[0] == 404


def test_a_budget_grows_without_forgetting_what_was_spent(running):
    key = made(running, budget={"period": "none", "limit_usd": "0.000001"})
    assert use(running, key["key"])[0] == 429
    patched = ask(running, "PATCH", f"/admin/keys/{key['kid']}", {"budget": {"limit_usd": "1"}})[2]
    assert patched["budget"]["limit_usd"] == "1.00"
    assert use(running, key["key"])[0] == 200
    (row,) = rows(running, key["kid"], 1)
    ask(running, "PATCH", f"/admin/keys/{key['kid']}", {"budget": {"limit_usd": "0.000001"}})
    own = ask(running, "GET", "/v1/usage", key=key["key"])[2]
    assert (own["spent_nano_usd"], own["remaining"]["budget_usd"]) == (row["cost_nano_usd"], "0.00")
    assert use(running, key["key"])[0] == 429


def test_two_keys_of_a_rotation_share_one_budget(running):
    old = made(running, budget={"period": "month", "limit_usd": "3"})
    assert use(running, old["key"])[0] == 200
    status, _, fresh = ask(running, "POST", f"/admin/keys/{old['kid']}/rotate", {"overlap_seconds": 3})
    assert status == 201
    assert use(running, fresh["key"])[0] == 200
    assert use(running, old["key"])[0] == 200
    mine = rows(running, old["kid"], 2) + rows(running, fresh["kid"], 1)
    spent = sum(row["cost_nano_usd"] for row in mine)
    for key in (old, fresh):
        own = ask(running, "GET", "/v1/usage", key=key["key"])[2]
        assert own["remaining"]["budget_nano_usd"] == 3_000_000_000 - spent
    time.sleep(3.1)
    assert use(running, old["key"])[0] == 401
    assert use(running, fresh["key"])[0] == 200


def test_fifty_operators_at_once_lose_no_key(running):
    with ThreadPoolExecutor(10) as pool:
        kids = {key["kid"] for key in pool.map(lambda n: made(running, name=f"key {n}"), range(50))}
    listed, cursor = set(), ""
    while cursor is not None:
        body = ask(running, "GET", f"/admin/keys?limit=20{cursor and '&cursor=' + cursor}")[2]
        listed |= {record["kid"] for record in body["data"]}
        cursor = body["next_cursor"]
    assert kids <= listed


def test_the_operators_key_is_no_clients_key_and_the_reverse(running):
    assert ask(running, "GET", "/admin/keys", key=running.client_key)[0] == 403
    assert use(running, running.admin_key)[0] == 403
    for path in ("/admin/keys", "/admin/usage", "/v1/usage"):
        status, headers, body = ask(running, "GET", path, key="sk-nothing")
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert headers["x-request-id"]


def test_the_page_of_the_api_is_open(running):
    with urllib.request.urlopen(f"{running.base_url}/docs", timeout=5) as answer:
        assert "/admin/keys/{kid}/rotate" in answer.read().decode()
    with urllib.request.urlopen(f"{running.base_url}/openapi.json", timeout=5) as answer:
        assert "/v1/chat/completions" in json.loads(answer.read())["paths"]


def test_no_key_is_ever_written_to_the_log(running):
    key = made(running)
    use(running, key["key"])
    ask(running, "DELETE", f"/admin/keys/{key['kid']}")
    text = running.log.read_text()
    assert key["key"] not in text
    assert running.admin_key not in text
