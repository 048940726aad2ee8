"""What Google Cloud billed, from a file that an operator's scheduled query leaves: CSV with the columns `project`,
`day` and `cost_usd`, or one JSON object of these members a line.

Google's billing export is a BigQuery table; this query of it makes the file, a line for each project and day in UTC:

    SELECT project.id AS project, FORMAT_DATE('%F', DATE(usage_start_time)) AS day, SUM(cost) AS cost_usd
    FROM `BILLING_EXPORT_TABLE`
    WHERE service.description IN ('Generative Language API', 'Gemini API')
      AND usage_start_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 10 DAY)
    GROUP BY project, day

Costs are before credits, in US dollars: what the prices say.
"""

import asyncio
import csv
import json
import math
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import StoreUnavailable

_COLUMNS = ("project", "day", "cost_usd")
_LARGEST = 10_000_000  # bytes; a thousand projects for a year take half of it
_NANO = 1_000_000_000


class ExportedCosts:
    """Implements `usage_protocols.BilledCosts` on `s3://bucket/key` or `file:///path`; the file is read once.

    ValueError from `billed` names the line that cannot be understood: to guess it would raise a false alarm, to leave
    it out would miss a true one.
    """

    def __init__(self, aws: Aws, uri: str) -> None:
        self._aws = aws
        self._where = urlsplit(uri)
        if self._where.scheme not in ("s3", "file") or not self._where.path.strip("/"):
            raise ValueError("billed costs are at s3://bucket/key or file:///path")
        self._costs: Mapping[tuple[str, str], int] | None = None

    async def billed(self, day: str) -> Mapping[str, int]:
        if self._costs is None:
            content = await (self._object() if self._where.scheme == "s3" else asyncio.to_thread(self._file))
            if len(content) > _LARGEST:
                raise ValueError(f"the billed costs have more than {_LARGEST} bytes")
            self._costs = read_costs(content)
        return {project: cost for (on, project), cost in self._costs.items() if on == day}

    def _file(self) -> bytes:
        try:
            return Path(unquote(self._where.path)).read_bytes()
        except OSError as error:
            raise StoreUnavailable(f"the billed costs cannot be read: {error.strerror}") from error

    async def _object(self) -> bytes:
        key = unquote(self._where.path.removeprefix("/"))
        try:
            answer = await self._aws.call("s3", "get_object", patient=True, Bucket=self._where.netloc, Key=key)
            content: bytes = await asyncio.to_thread(answer["Body"].read, _LARGEST + 1)
        except AwsFailure as failure:
            raise failure.unavailable() from failure
        return content


def read_costs(content: bytes) -> Mapping[tuple[str, str], int]:
    """(yyyymmdd, project) -> nano-dollars; lines of one project and day are summed."""
    text = content.decode("utf-8-sig")
    costs: dict[tuple[str, str], int] = {}
    for number, line in _json_lines(text) if text.lstrip().startswith("{") else _csv_lines(text):
        try:
            place = date.fromisoformat(str(line["day"])[:10]).strftime("%Y%m%d"), str(line["project"] or "")
            amount = Decimal(str(line["cost_usd"]))
            if not amount.is_finite():
                raise ValueError("not a finite amount")
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise ValueError(f"line {number} of the billed costs has no project, day and cost_usd") from error
        costs[place] = costs.get(place, 0) + math.floor(amount * _NANO + Decimal("0.5"))
    return costs


def _csv_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines())
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise ValueError(f"the billed costs need the columns {', '.join(_COLUMNS)}")
    for line in reader:
        yield reader.line_num, line


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line, parse_float=Decimal)
            except ValueError as error:
                raise ValueError(f"line {number} of the billed costs is no JSON") from error
