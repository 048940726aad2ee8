"""The control plane as a Lambda function: a function-URL event in, a buffered answer out."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from handlers.control_composition import client_addresses
from infra.local.upkeep import keep
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.key_terms import KeyTerms
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.dynamodb_global import DynamoGlobalTotals
from shared.stores.secrets import SecretsManagerStore
from shared.stores.sqs import SqsSettlementQueue
from shared.stores.ssm import SsmKeyStore
from tests.stores.bench import Bench
from tests.stores.test_ledger import COST

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import json, sys
from handlers.control import handler
class Context:
    def get_remaining_time_in_millis(self): return 60_000
for event in json.load(sys.stdin):
    print("answer", json.dumps(handler(event, Context())))
"""


def event(method: str, path: str, key: str, body: Any = None) -> dict[str, Any]:
    """Payload format 2.0."""
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"}
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"authorization": f"Bearer {key}", "content-type": "application/json", "host": "x.example"},
        "requestContext": {"http": http, "domainName": "x.example", "timeEpoch": 0},
        "isBase64Encoded": False,
        "body": None if body is None else json.dumps(body),
    }


async def test_it_answers_function_url_events(environment: dict[str, str], aws: Aws, table: str) -> None:
    prefix = f"/gw/{table}/keys/"
    registry = KeyRegistry(
        SsmKeyStore(aws, prefix, patient=True),
        SecretsManagerStore(aws, environment["PEPPER_SECRET_ID"]),
        DynamoLedger(aws, table),
    )
    _, operator = await registry.issue(KeyTerms("operator", endpoints=("admin",)))
    _, elsewhere = await registry.issue(KeyTerms("elsewhere", endpoints=("admin",), ip_allow=("198.51.100.0/24",)))
    events = [
        event("POST", "/admin/keys", operator, {"name": "made", "rpm": 5}),
        event("GET", "/admin/keys", "sk-nothing"),
        event("GET", "/admin/keys", elsewhere),
        event("GET", "/docs", ""),
    ]
    given = {name: value for name, value in environment.items() if value}  # a function has no profile
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=given | {"USAGE_TABLE": table, "KEY_PARAMETER_PREFIX": prefix, "LOG_LEVEL": "ERROR"},
        input=json.dumps(events),
        capture_output=True,
        text=True,
    )
    answers = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("answer ")]
    assert [answer["statusCode"] for answer in answers] == [201, 401, 403, 200], done.stderr
    assert all(answer["headers"]["x-request-id"] for answer in answers)
    made = json.loads(answers[0]["body"])
    held = await registry.held(made["kid"])
    assert (held.name, held.rpm) == ("made", 5)
    assert made["key"] not in done.stderr


def test_functions_of_their_own_tell_their_addresses() -> None:
    text = '{"chat": "https://c.example/", "gemini": "https://g.example"}'
    assert client_addresses(text) == {"chat": "https://c.example", "gemini": "https://g.example"}
    assert client_addresses("") == {}
    for wrong in ("x", "[]", '{"chat": 1}'):
        with pytest.raises(ConfigurationError, match="CLIENT_URLS"):
            client_addresses(wrong)


async def test_a_laptop_keeps_its_own_books(bench: Bench, environment: Mapping[str, str]) -> None:
    """Expired holds end and queued settlements are booked while the gateway runs, by itself."""
    keys = SsmKeyStore(bench.aws, f"/gw/{bench.table}/keys", patient=True)
    queue = SqsSettlementQueue(bench.aws, environment["SETTLE_QUEUE_URL"])
    stores: Any = SimpleNamespace(keys=keys, ledger=bench.ledger, queue=queue)
    bench.now_us = 1_700_000_000_000_000  # long ago
    key = await bench.account(budget_limit_nano=1_000, hash="h")
    await keys.put(key)
    queued, dead = bench.request(key), bench.request(key)
    for request in (queued, dead):
        await bench.admit(request)
    await queue.send(bench.settlement(queued))
    totals, today = DynamoGlobalTotals(bench.aws, bench.table), time.strftime("%Y%m%d", time.gmtime())
    await bench.admit(late := bench.request(key, day=today))
    await bench.settle(late)
    keeping = asyncio.ensure_future(keep(stores, totals, 0.01))
    async with asyncio.timeout(10):
        while bench.state(key)["holds"] or bench.state(key)["spent"] != COST + 100 + COST:
            await asyncio.sleep(0.05)
        while [line.cost_nano for line in await totals.daily(today, today)] != [COST]:
            await asyncio.sleep(0.05)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
