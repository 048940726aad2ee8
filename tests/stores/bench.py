"""What the ledger's tests stand on: short words for requests, a clock, an AWS that fails on demand."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

from msgspec.structs import replace

from shared.stores.aws import Aws, AwsFailure, CancellationReason
from shared.stores.dynamodb import DynamoLedger
from shared.stores.protocols import Admission, Admitted, KeyRecord, Refused, Settlement
from tests.stores import invariants

START_US = 1_800_000_000_000_000
DAY = "20270115"  # of START_US
_numbers = count(1)  # transaction tokens are known to the whole engine, so no two tests share a request
_UNGUARDED = re.compile(r"\bADD\b|(#?\w+)\s*=\s*\1\s*[+-]")


def create_table(aws: Aws, template: str, name: str) -> str:
    """A table like another one."""
    client = aws.client("dynamodb", patient=True)
    like = client.describe_table(TableName=template)["Table"]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=like["KeySchema"],
        AttributeDefinitions=like["AttributeDefinitions"],
        GlobalSecondaryIndexes=[
            {key: index[key] for key in ("IndexName", "KeySchema", "Projection")}
            for index in like["GlobalSecondaryIndexes"]
        ],
    )
    return name


def refuse_unguarded_additions(client: Any) -> None:
    """Retries may apply `a = a + x` twice: outside a transaction it needs a condition."""

    def check(params: Mapping[str, Any], **_: Any) -> None:
        if _UNGUARDED.search(params.get("UpdateExpression", "")) and "ConditionExpression" not in params:
            raise AssertionError(f"an addition without a condition: {params['UpdateExpression']}")

    client.meta.events.register("before-parameter-build.dynamodb.UpdateItem", check)


Fault = str | Callable[[], Awaitable[None]]


class Crash(BaseException):
    """The process ends here."""


class FaultyAws(Aws):
    """Fails the n-th DynamoDB call in a given way: error, lost (done, but the answer never came), throttle, conflict,
    crash_before, crash_after; or lets something happen just before it."""

    def __init__(self, aws: Aws, faults: Mapping[int, Fault]) -> None:
        self._real = aws
        self._faults = faults
        self.calls = 0

    async def call(self, service: str, operation: str, *, patient: bool = False, **request: Any) -> Mapping[str, Any]:
        self.calls += 1
        fault = self._faults.get(self.calls)
        name = f"{service}.{operation}"
        match fault:
            case "error":
                raise AwsFailure(name, "ConnectionFailure")
            case "throttle":
                raise AwsFailure(name, "ProvisionedThroughputExceededException", status=400)
            case "conflict" if operation == "transact_write_items":
                reasons = (CancellationReason("None"), CancellationReason("TransactionConflict"))
                raise AwsFailure(name, "TransactionCanceledException", status=400, reasons=reasons)
            case "conflict":
                raise AwsFailure(name, "TransactionConflictException", status=400)
            case "crash_before":
                raise Crash
            case Callable():
                await fault()
        answer = await self._real.call(service, operation, patient=patient, **request)
        if fault == "lost":
            raise AwsFailure(name, "ConnectionFailure")
        if fault == "crash_after":
            raise Crash
        return answer


class Bench:
    """One ledger on one table, with a clock of its own."""

    def __init__(self, aws: Aws, table: str) -> None:
        self.aws = aws
        self.table = table
        self.ledger = DynamoLedger(aws, table)
        self.now_us = START_US
        self.called: set[str] = set()
        self.refused: set[str] = set()
        self.unreserved: set[str] = set()

    def faulty(self, faults: Mapping[int, Fault]) -> DynamoLedger:
        return DynamoLedger(FaultyAws(self.aws, faults), self.table)

    async def account(self, *, period: str = "all", kid: str | None = None, **terms: Any) -> KeyRecord:
        kid = kid or f"kid{next(_numbers)}"
        record = KeyRecord(**{"kid": kid, "acct": kid, "hash": "", "pepper_id": "p1", **terms})
        await self.ledger.open_account(record, period=period)
        return record

    def request(self, key: KeyRecord, estimate: int = 100, **fields: Any) -> Admission:
        number = next(_numbers)
        return replace(
            Admission(
                acct=key.acct,
                kid=key.kid,
                rid=f"{number:026d}",
                nonce=f"nonce{number}",
                now_us=self.now_us,
                expires_at=self.now_us // 1_000_000 + 120,
                day=DAY,
                period="all",
                model="gemini-2.5-flash",
                estimate_nano=estimate,
                estimate_tokens=10,
                rpm=key.rpm,
                rpm_burst=key.rpm_burst,
                tpm=key.tpm,
                tpm_burst=key.tpm_burst,
                hard_budget=key.budget_limit_nano is not None,
            ),
            **fields,
        )

    async def admit(self, admission: Admission, ledger: DynamoLedger | None = None) -> Admitted | Refused:
        verdict = await (ledger or self.ledger).admit(admission)
        if isinstance(verdict, Admitted):
            self.called.add(admission.rid)
        else:
            self.refused.add(admission.rid)
        return verdict

    async def most_at_once(self, key: KeyRecord, number: int) -> int:
        """How many of `number` simultaneous requests ran side by side at the most; those admitted run for a moment."""
        running = most = 0

        async def run() -> None:
            nonlocal running, most
            request = self.request(key)
            if isinstance(await self.admit(request), Admitted):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.01)
                running -= 1
                await self.settle(request)

        await asyncio.gather(*(run() for _ in range(number)))
        return most

    def settlement(self, admission: Admission, **fields: Any) -> Settlement:
        """The end of a request: 10 tokens in, 5 out, priced by `price_of_row`, unless said otherwise."""
        tokens = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 0, "reasoning_tokens": 0}
        tokens = {name: fields.pop(name, value) for name, value in tokens.items()}
        return replace(
            Settlement(
                acct=admission.acct,
                kid=admission.kid,
                rid=admission.rid,
                nonce=admission.nonce,
                day=admission.day,
                ts_ms=admission.now_us // 1000,
                state="done",
                dialect="openai_chat",
                endpoint="chat",
                stream=True,
                model=admission.model,
                model_version=admission.model + "-001",
                status=200,
                finish_reason="stop",
                cost_nano=_cost(tokens["input_tokens"], tokens["output_tokens"]),
                estimate_nano=admission.estimate_nano,
                estimate_tokens=admission.estimate_tokens,
                price_version="test",
                estimated=False,
                ttft_ms=12,
                duration_ms=34,
                modalities={"in_TEXT": tokens["input_tokens"]},
                upstream_response_id="up-1",
                credential_id="k1",
                body_sha=admission.body_sha,
                tpm=admission.tpm,
                **tokens,
            ),
            **fields,
        )

    async def settle(self, admission: Admission, ledger: DynamoLedger | None = None, **fields: Any) -> Settlement:
        settlement = self.settlement(admission, **fields)
        await (ledger or self.ledger).settle(settlement)
        return settlement

    def items(self) -> list[dict[str, Any]]:
        return invariants.scan(self.aws.client("dynamodb", patient=True), self.table)

    def item(self, pk: str, sk: str) -> dict[str, Any]:
        return next(item for item in self.items() if (item["pk"], item["sk"]) == (pk, sk))

    def state(self, key: KeyRecord) -> dict[str, Any]:
        return self.item(f"A#{key.acct}", "STATE")

    def violations(self) -> list[str]:
        """Holds of requests that are still running, and requests that only they know of, are no violation here."""
        return invariants.violations(
            self.items(), price=price_of_row, refused=self.refused - self.called, unreserved=self.unreserved
        )


def price_of_row(row: Mapping[str, Any]) -> int:
    return _cost(row["in_tok"], row["out_tok"])


def _cost(input_tokens: int, output_tokens: int) -> int:
    return 2 * input_tokens + 6 * output_tokens
