"""The functions' own log lines in CloudWatch, by a word they contain."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.stores.aws import Aws, AwsFailure

_MOST_LINES = 10_000


class CloudWatchUsageLog:
    """Implements `usage_protocols.UsageLog` on every log group whose name begins with `prefix`."""

    def __init__(self, aws: Aws, prefix: str) -> None:
        self._aws = aws
        self._prefix = prefix
        self._groups: list[str] | None = None

    async def lines(self, term: str, since_ms: int, until_ms: int) -> Sequence[Mapping[str, Any]]:
        if not term.replace("_", "").isalnum():
            raise ValueError("a log line is asked for by one word")
        found: list[Mapping[str, Any]] = []
        for group in await self._group_names():
            request = {
                "logGroupName": group,
                "filterPattern": f'"{term}"',
                "startTime": max(0, since_ms),
                "endTime": until_ms,
            }
            for event in await self._all("filter_log_events", "events", request):
                line = _parsed(event["message"])
                if line is not None:
                    found.append(line)
        return found

    async def _group_names(self) -> list[str]:
        if self._groups is None:
            groups = await self._all("describe_log_groups", "logGroups", {"logGroupNamePrefix": self._prefix})
            self._groups = [group["logGroupName"] for group in groups]
        return self._groups

    async def _all(self, operation: str, member: str, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            try:
                answer = await self._aws.call("logs", operation, patient=True, **request, **token)
            except AwsFailure as failure:
                raise failure.unavailable() from failure
            found += answer[member]
            following = answer.get("nextToken")
            if not following or following == token.get("nextToken") or len(found) >= _MOST_LINES:
                return found
            token = {"nextToken": following}


def _parsed(message: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(message)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
