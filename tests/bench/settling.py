"""Goal 12: CPU of a usage write, the whole settlement as the ledger does it, beside boto3's `put_item` of the row.

`python -m tests.bench.settling` with a function's variables in the environment prints {"settle_us", "boto3_us"}.
"""

import asyncio
import json
import os
import time
from typing import Any

from msgspec.structs import replace

from shared.stores.attributes import encode_item
from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.dynamodb_rows import settle_transaction
from shared.stores.protocols import Settlement

_TIMES = 200
_ROW = Settlement(
    acct="a" * 16,
    kid="a" * 16,
    rid="r",
    nonce="n" * 16,
    day="20260101",
    ts_ms=1,
    state="done",
    dialect="openai_chat",
    endpoint="chat",
    stream=True,
    model="gemini-3.6-flash",
    model_version="gemini-3.6-flash",
    status=200,
    finish_reason="STOP",
    input_tokens=12,
    cached_tokens=0,
    output_tokens=200,
    reasoning_tokens=0,
    cost_nano=1000,
    estimate_nano=100_000,
    estimate_tokens=9000,
    price_version="1",
    estimated=False,
    ttft_ms=1,
    duration_ms=2,
    modalities={},
    upstream_response_id="x",
    credential_id="k1",
    projects={},
    attempts=1,
    body_sha=None,
    tpm=None,
    had_hold=True,
)


async def _settle_us() -> float:
    aws = Aws(os.environ, direct=True)
    ledger = DynamoLedger(aws, "usage")
    await ledger.settle(replace(_ROW, rid="first"))
    began = time.process_time_ns()
    for number in range(_TIMES):
        await ledger.settle(replace(_ROW, rid=f"r{number}"))
    used = time.process_time_ns() - began
    aws.close()
    return used / _TIMES / 1e3


def _boto3_us() -> float:
    import boto3

    client = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    items: list[dict[str, Any]] = [
        write["Put"]["Item"]
        for write in settle_transaction("usage", _ROW, hold=True)["TransactItems"]
        if "Put" in write
    ]
    item = items[0] if items else encode_item({"pk": "r", "sk": "r"})
    client.put_item(TableName="usage", Item=item)
    began = time.process_time_ns()
    for _ in range(_TIMES):
        client.put_item(TableName="usage", Item=item)
    return (time.process_time_ns() - began) / _TIMES / 1e3


if __name__ == "__main__":
    print(json.dumps({"settle_us": asyncio.run(_settle_us()), "boto3_us": _boto3_us()}))
