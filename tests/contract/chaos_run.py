"""Runs every fault against every form at once, and gathers what the client saw, what was booked and what was asked."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from infra.local.emulator import EmulatorServer
from shared.stores.attributes import decode_item
from shared.stores.aws import Aws
from tests.contract.chaos_faults import FAULTS, STATUS, Fault
from tests.contract.chaos_forms import FORMS, Clients, Form, Verdict, judged
from tests.running import Gateway, running_gateway

# Many credentials: those that a fault makes rest must not be missed by the requests beside it.
CREDENTIALS = [f"AIzaSyChaosCanary{number:04d}".ljust(39, "0") for number in range(600)]
ENVIRONMENT = {
    "GEMINI_API_KEY": ",".join(CREDENTIALS),
    "UPSTREAM_FIRST_BYTE_SECONDS": "2",
    "UPSTREAM_FIRST_BYTE_THINKING_SECONDS": "2",
    "UPSTREAM_IDLE_SECONDS": "2",
    "UPSTREAM_IDLE_THINKING_SECONDS": "2",
    "UPSTREAM_WHOLE_SECONDS": "2",
    # these would hide one fault behind another
    "BREAKER_FAILURES": "0",
    "RETRY_BUDGET": "10000",
}
_AT_ONCE = 24


@dataclass
class Case:
    fault: Fault | None  # None: the control, which must succeed
    form: Form
    number: int
    kid: str = ""
    verdict: Verdict = field(default_factory=lambda: Verdict(-1, "", "", {}))
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    calls: int = 0

    @property
    def name(self) -> str:
        return f"{self.fault.name if self.fault else 'no fault'} - {self.form.name} - {self.form.mode}"

    @property
    def marker(self) -> str:
        return f"chaos{self.number:04d}x"

    @property
    def status(self) -> int:
        """What the client must get: 0 for an answer that fails after it began, any 5xx where -1."""
        if self.fault is None:
            return 200
        if self.fault.outcome == "broken":
            return -1 if self.form.late or self.form.mode == "buffered" else 0
        if self.fault.outcome == "model's fault" and self.form.name == "gemini_native":
            return 0  # passed on in Google's own words
        return STATUS[self.fault.outcome][self.form.family]


def cases() -> list[Case]:
    chosen: list[tuple[Fault | None, Form]] = [(None, form) for form in FORMS]
    for fault in FAULTS:
        for form in FORMS:
            fits = not (fault.whole if form.upstream_streams else fault.streamed)
            wanted = form.name in fault.only if fault.only else form.thorough or fault.everywhere
            if fits and wanted:
                chosen.append((fault, form))
    return [Case(fault, form, number) for number, (fault, form) in enumerate(chosen)]


@contextmanager
def chaos_gateway(state: Path) -> Iterator[tuple[Gateway, EmulatorServer]]:
    with EmulatorServer() as emulator:
        environment = ENVIRONMENT | {"GEMINI_BASE_URL": emulator.base_url}
        with running_gateway(state, environment) as gateway:
            yield gateway, emulator


def run(gateway: Gateway, emulator: EmulatorServer, chosen: Sequence[Case]) -> None:
    """Fills in every case."""
    with Clients(gateway.base_url) as clients, httpx.Client(base_url=gateway.base_url, timeout=30) as admin:

        def one(case: Case) -> None:
            bearer = {"authorization": f"Bearer {gateway.admin_key}"}
            made = admin.post("/admin/keys", json={"name": case.marker}, headers=bearer).raise_for_status().json()
            case.kid = made["kid"]
            if case.fault is not None:
                method = {"method": "batchEmbedContents"} if case.form.name == "embeddings" else {}
                step = case.fault.step(case.form.upstream_streams)
                emulator.script({**step, "times": 9, "match": {"text": case.marker, **method}})
            case.verdict = judged(case.form, clients, made["key"], f"Say {case.marker} please.")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(one, chosen))
    _note_rows(gateway, chosen)
    asked = [record["raw"] for record in emulator.requests]
    for case in chosen:
        case.calls = sum(case.marker in text for text in asked)


def _note_rows(gateway: Gateway, chosen: Sequence[Case], patience_s: float = 10.0) -> None:
    end = time.monotonic() + patience_s
    while True:
        rows = _rows(gateway)
        if len({row["kid"] for row in rows}) >= len(chosen) or time.monotonic() > end:
            break
        time.sleep(0.2)
    for case in chosen:
        case.rows = [row for row in rows if row["kid"] == case.kid]


def _rows(gateway: Gateway) -> list[dict[str, Any]]:
    """The rows themselves, whose state the control plane does not show."""
    environment = json.loads((gateway.state / "aws" / "environment.json").read_text())
    client = Aws(environment).client("dynamodb", patient=True)
    found: list[dict[str, Any]] = []
    for page in client.get_paginator("scan").paginate(TableName=environment["USAGE_TABLE"]):
        found += [decode_item(item) for item in page["Items"] if item["pk"]["S"].startswith("R#")]
    return found


def faults_of(case: Case) -> list[str]:
    """What is wrong with how a case ended; nothing for a case that passed."""
    wrong: list[str] = []
    verdict, fault = case.verdict, case.fault
    if case.status == -1:
        if verdict.status < 500:
            wrong.append(f"status {verdict.status}, wanted a 5xx")
    elif verdict.status != case.status:
        wrong.append(f"status {verdict.status} {verdict.exception} {verdict.text[:200]}, wanted {case.status}")
    for secret in ("AIzaSy", "secret-upstream-host", "<html"):
        if secret in verdict.text:
            wrong.append(f"shows {secret}")
    if len(case.rows) != 1:
        return [*wrong, f"{len(case.rows)} rows"]
    (row,) = case.rows
    booked = {"http": row["http"], "st": row["st"]}
    if verdict.status >= 400 and row["http"] != verdict.status:
        wrong.append(f"booked {booked}, answered {verdict.status}")
    passed_on = fault is not None and fault.outcome == "model's fault"
    if verdict.status == 0 and (row["http"] != 200 or (row["st"] != "partial" and not passed_on)):
        wrong.append(f"booked {booked} for an answer that broke")
    if verdict.status == 200 and row["st"] not in ("done", "estimated"):
        wrong.append(f"booked {booked} for a whole answer")
    if fault is not None and case.calls != fault.calls:
        wrong.append(f"{case.calls} upstream calls, wanted {fault.calls}")
    if (
        fault is not None
        and fault.retried
        and case.form.family != 2
        and verdict.headers.get("x-should-retry") != "false"
    ):
        wrong.append("retried, and the SDK is not told so")
    return wrong
