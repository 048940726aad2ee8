"""The scheduled sweep, reconciliation and comparison with billing, and the consumers of the settle queue and of the
table's stream, as one plain Lambda function."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from handlers.composition import open_stores
from shared.gateway import telemetry
from shared.gateway.billing_check import compare, days_to_compare
from shared.gateway.maintenance import DAYS_BACK, Reconciler, account_names, book, recount, sweep
from shared.gateway.settings import Settings
from shared.stores import sqs
from shared.stores.billed_costs import ExportedCosts
from shared.stores.cloudwatch_logs import CloudWatchUsageLog
from shared.stores.dynamodb_global import DynamoGlobalTotals, aggregates_of
from shared.stores.dynamodb_usage import DynamoUsageReader

_RESERVE_MS = 15_000  # for what is under way when no more is begun

_settings = Settings.from_env(os.environ)
telemetry.configure(_settings.log_level)
_stores = open_stores(os.environ, patient=True)
_totals = DynamoGlobalTotals(_stores.aws, os.environ["USAGE_TABLE"])
_reconciler = Reconciler(
    DynamoUsageReader(_stores.aws, os.environ["USAGE_TABLE"]),
    CloudWatchUsageLog(_stores.aws, os.environ.get("LOG_GROUP_PREFIX", "")),
    _stores.ledger.settle,
    whole_log=_settings.log_level in ("DEBUG", "INFO"),
)


def handler(event: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
    """SQS: `{"batchItemFailures": [...]}`. The table's stream: `{"counted": n}`. Schedule: `{"task": "sweep" |
    "reconcile" | "recount" | "compare_billing"}` -> what was done, in numbers; a recount looks `days` back, if given.

    What raises comes again: of a stream the whole batch, of which nothing counts twice.
    """
    return asyncio.run(_work(event, lambda: context.get_remaining_time_in_millis() < _RESERVE_MS))


async def _work(event: Mapping[str, Any], enough: Any) -> Mapping[str, Any]:
    records = event.get("Records", ())
    if any(record.get("eventSource") == "aws:dynamodb" for record in records):
        return {"counted": await _totals.count(aggregates_of(records))}
    if "Records" in event:
        failed = await book(records, sqs.loads, _stores.ledger.settle)
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    now = int(time.time())
    if event.get("task") == "compare_billing":
        return await _compared(now)
    accounts = await account_names(_stores.keys)
    match event.get("task"):
        case "sweep":
            done = await sweep(accounts, _stores.ledger, now, enough)
            return {"accounts": done.accounts, "holds": done.holds, "failed": done.failed}
        case "reconcile":
            return await _reconciler.run(accounts, now, enough)
        case "recount":
            return await recount(accounts, _totals, now, enough, int(event.get("days", DAYS_BACK)))
    raise ValueError("an event of the settle queue, of the table's stream or of the schedule is expected")


async def _compared(now: int) -> Mapping[str, Any]:
    """Without BILLED_COSTS_URI there is nothing to compare with."""
    uri = os.environ.get("BILLED_COSTS_URI", "").strip()
    if not uri:
        return {}
    return await compare(days_to_compare(now), _totals, ExportedCosts(_stores.aws, uri), now)
