"""The usage line: the last record of a request where its settlement cannot be written. Written and read here."""

from collections.abc import Mapping
from typing import Any

from shared.gateway.telemetry import usage_line
from shared.stores.protocols import Settlement

EVENT = "usage"
_SAME_NAME = (
    "kid",
    "acct",
    "day",
    "ts_ms",
    "dialect",
    "stream",
    "model_version",
    "state",
    "status",
    "finish_reason",
    "reasoning_tokens",
    "cached_tokens",
    "estimate_nano",
    "estimate_tokens",
    "price_version",
    "estimated",
    "ttft_ms",
    "upstream_response_id",
    "credential_id",
    "attempts",
)


def write(settlement: Settlement) -> None:
    usage_line(
        {"request_id": settlement.rid, **{name: getattr(settlement, name) for name in _SAME_NAME}},
        metrics={
            "Requests": 1,
            "Errors": int(settlement.status >= 400),
            "InputTokens": settlement.input_tokens,
            "OutputTokens": settlement.output_tokens,
            "CostNanoUsd": settlement.cost_nano,
            "DurationMs": settlement.duration_ms,
        },
        dimensions={"Endpoint": settlement.endpoint, "Model": settlement.model},
    )


def read(line: Mapping[str, Any]) -> Settlement | None:
    """The settlement of a usage line, without its hold; None where the line is another, or of another version."""
    if line.get("message") != EVENT:
        return None
    try:
        return Settlement(
            rid=line["request_id"],
            nonce="",
            endpoint=line["Endpoint"],
            model=line["Model"],
            input_tokens=line["InputTokens"],
            output_tokens=line["OutputTokens"],
            cost_nano=line["CostNanoUsd"],
            duration_ms=line["DurationMs"],
            had_hold=False,
            **{name: line[name] for name in _SAME_NAME},
        )
    except KeyError:
        return None
