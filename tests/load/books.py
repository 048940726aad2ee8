"""The books after the load: every admitted request has its row, nothing is held any more, nothing was given away."""

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from shared.stores.attributes import decode_item
from shared.stores.aws import Aws
from tests.stores.invariants import violations

_LEDGER = ("A", "R", "S")  # items of other kinds share the table


def read_table(state: Path) -> list[dict[str, Any]]:
    """The ledger's items of the gateway that runs on this state directory."""
    environment = json.loads((state / "aws" / "environment.json").read_text("utf-8"))
    aws = Aws(environment)
    try:
        scan = aws.client("dynamodb", patient=True).get_paginator("scan")
        pages = scan.paginate(TableName=environment["USAGE_TABLE"], ConsistentRead=True)
        found = [item for page in pages for item in page["Items"]]
    finally:
        aws.close()
    return [decode_item(item) for item in found if item["pk"]["S"].split("#")[0] in _LEDGER]


def at_rest(state: Path, patience_s: float = 30.0) -> list[dict[str, Any]]:
    """The items once no reservation is open any more, or as they are when patience ends."""
    end = time.monotonic() + patience_s
    while True:
        items = read_table(state)
        if not any(item.get("holds") for item in items) or time.monotonic() > end:
            return items
        time.sleep(0.5)


def log_lines(path: Path) -> Iterator[dict[str, Any]]:
    """What of the gateway's output is a log line; the banner is not."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("{"):
                yield json.loads(line)


def audit(
    state: Path, log: Path, answered: Collection[str], refused: Collection[str]
) -> tuple[list[str], Counter[str]]:
    """(what is wrong, figures). `answered`: ids of requests that got an answer of a model; `refused`: of those that
    were turned away."""
    items = at_rest(state)  # first: what is still under way then has its lines too
    called: set[str] = set()
    written: list[str] = []
    events: Counter[str] = Counter()
    for line in log_lines(log):
        if line["level"] in ("ERROR", "CRITICAL"):
            events[f"log: {line['message']}"] += 1
        if line["message"] == "upstream_start":
            called.add(line["request_id"])
        elif line["message"] == "usage":
            written.append(line["request_id"])
    rows = {item["pk"][2:]: item for item in items if item["sk"] == "R"}
    wrong = violations(items, called=called, refused=refused)
    wrong += [f"a hold is left: {item['pk']}" for item in items if item.get("holds")]
    wrong += [f"answered, no row: {rid}" for rid in set(answered) - rows.keys()]
    wrong += [f"called and admitted, no usage line: {rid}" for rid in called - set(written)]
    wrong += [f"two usage lines: {rid}" for rid, times in Counter(written).items() if times > 1]
    wrong += [f"a bug of ours: {name} x {times}" for name, times in events.items() if "request_failed" in name]
    events |= Counter({"rows": len(rows), "upstream called": len(called), "usage lines": len(written)})
    events |= Counter(f"row state {row['st']}" for row in rows.values())
    return wrong, events


def leaks(log: Path, secrets: Iterable[str]) -> list[str]:
    """Which of these texts stand in the gateway's output."""
    text = log.read_text("utf-8")
    return [f"{secret[:12]}... stands in the log" for secret in secrets if secret in text]
