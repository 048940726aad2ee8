"""The scheduled sweep and reconciliation, and the consumer of the settle queue, as one plain Lambda function."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from handlers.composition import open_stores
from shared.gateway import telemetry
from shared.gateway.maintenance import Reconciler, account_names, book, sweep
from shared.gateway.settings import Settings
from shared.stores import sqs
from shared.stores.cloudwatch_logs import CloudWatchUsageLog
from shared.stores.dynamodb_usage import DynamoUsageReader

_RESERVE_MS = 15_000  # for what is under way when no more is begun

_settings = Settings.from_env(os.environ)
telemetry.configure(_settings.log_level)
_stores = open_stores(os.environ, patient=True)
_reconciler = Reconciler(
    DynamoUsageReader(_stores.aws, os.environ["USAGE_TABLE"]),
    CloudWatchUsageLog(_stores.aws, os.environ.get("LOG_GROUP_PREFIX", "")),
    _stores.ledger.settle,
    whole_log=_settings.log_level in ("DEBUG", "INFO"),
)


def handler(event: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
    """SQS: `{"batchItemFailures": [...]}`. Schedule: `{"task": "sweep" | "reconcile"}` -> what was done, in numbers."""
    return asyncio.run(_work(event, lambda: context.get_remaining_time_in_millis() < _RESERVE_MS))


async def _work(event: Mapping[str, Any], enough: Any) -> Mapping[str, Any]:
    if "Records" in event:
        failed = await book(event["Records"], sqs.loads, _stores.ledger.settle)
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    now, accounts = int(time.time()), await account_names(_stores.keys)
    match event.get("task"):
        case "sweep":
            done = await sweep(accounts, _stores.ledger, now, enough)
            return {"accounts": done.accounts, "holds": done.holds, "failed": done.failed}
        case "reconcile":
            return await _reconciler.run(accounts, now, enough)
    raise ValueError("an event of the settle queue or of the schedule is expected")
