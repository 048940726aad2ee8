"""Limits of a key under many requests at once, through the whole gateway: never more than was granted."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from tests.running import running_gateway

NANO = 1_000_000_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("limits") / "state", {}) as running:
        yield running


def call(url, key, body=None, method=None):
    """(status, headers, body)."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


def chat(gateway, key, text="hello", **more):
    body = {"model": "gemini-3.6-flash", "max_tokens": 3000, "messages": [{"role": "user", "content": text}], **more}
    return call(f"{gateway.base_url}/v1/chat/completions", key, body)


def at_once(number, work):
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: work(), range(number)))


def test_a_budget_for_ten_admits_at_most_ten_of_a_hundred_at_a_time(gateway):
    slow = "@emulator silence 10000 ms; say ok"  # longer than a hundred requests take to arrive
    factor = 2 if date.today() >= date(2027, 1, 1) else 1  # Google's announced price of this model
    reserved = 3000 * 3750 * factor  # the longest answer that one request may have
    limit = reserved * 21 // 2  # ten, and not an eleventh with its prompt
    made = gateway.gwctl("keys", "create", "ten", "--budget-usd", f"{limit / NANO:.9f}", "--period", "none")
    answers = Counter(status for status, _, _ in at_once(100, lambda: chat(gateway, made["key"], slow)))
    assert answers == {200: 10, 429: 90}
    rows = gateway.row(made["kid"], answers[200], patience_s=10)
    spent = sum(row["cost_nano_usd"] for row in rows)
    assert 0 < spent <= limit
    status, _, own = call(f"{gateway.base_url}/v1/usage", made["key"])
    assert (status, own["total"]["cost_nano_usd"]) == (200, spent)


def test_a_rate_of_sixty_with_a_burst_of_ten_gives_exactly_the_burst(gateway):
    made = gateway.gwctl("keys", "create", "burst", "--rpm", "60", "--rpm-burst", "10")
    answers = at_once(20, lambda: chat(gateway, made["key"]))
    admitted = [status for status, _, _ in answers if status == 200]
    refused = [headers for status, headers, _ in answers if status == 429]
    # one more for every second that twenty requests took to be judged
    assert 10 <= len(admitted) <= 13
    time.sleep(max(int(headers["retry-after"]) for headers in refused))
    assert chat(gateway, made["key"])[0] == 200


def test_both_keys_of_a_rotation_spend_one_budget(gateway):
    made = gateway.gwctl("keys", "create", "turning", "--budget-usd", "0.02", "--period", "none")
    status, _, turned = call(
        f"{gateway.base_url}/admin/keys/{made['kid']}/rotate", gateway.admin_key, {"overlap_seconds": 600}
    )
    assert status in (200, 201), turned
    for key in (made["key"], turned["key"]):
        assert chat(gateway, key, max_tokens=100)[0] == 200
    gateway.row(turned["kid"])  # settled
    totals = [call(f"{gateway.base_url}/v1/usage", key)[2]["total"]["requests"] for key in (made["key"], turned["key"])]
    assert totals == [2, 2]
    call(f"{gateway.base_url}/admin/keys/{made['kid']}", gateway.admin_key, method="DELETE")
    assert chat(gateway, made["key"], max_tokens=100)[0] == 401
    assert chat(gateway, turned["key"], max_tokens=100)[0] == 200


def test_a_repeated_idempotency_key_is_refused_and_billed_once(gateway):
    made = gateway.gwctl("keys", "create", "once")
    body = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "hello"}]}
    headers = {
        "authorization": f"Bearer {made['key']}",
        "content-type": "application/json",
        "idempotency-key": "order-7",
    }

    def ask(text):
        changed = json.dumps({**body, "messages": [{"role": "user", "content": text}]}).encode()
        request = urllib.request.Request(f"{gateway.base_url}/v1/chat/completions", changed, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                assert error.headers["x-should-retry"] == "false"
                return error.code

    assert ask("hello") == 200
    gateway.row(made["kid"])
    assert (ask("hello"), ask("other")) == (409, 422)
    assert len(gateway.rows(made["kid"])) == 1
