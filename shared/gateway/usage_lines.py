"""The usage line: a request's log line, and its last record where its settlement cannot be written. Written and read
here. Its `gen_ai.*` members are OpenTelemetry's names (semantic conventions for generative AI)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

from shared.gateway import telemetry
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
_same = attrgetter(*_SAME_NAME)


_export: Callable[[Settlement], Awaitable[None]] | None = None


def export_by(exporter: Callable[[Settlement], Awaitable[None]] | None) -> None:
    """Who is told of every settlement besides the log, from now on; it must not raise."""
    global _export
    _export = exporter


async def export(settlement: Settlement) -> None:
    """After the last byte and the row: whatever this takes, no client waits for it."""
    if _export is not None:
        await _export(settlement)


def write(settlement: Settlement) -> None:
    """A request's last line: its row's figures, and the metrics made from them."""
    if not telemetry.METRICS.isEnabledFor(logging.INFO):
        return
    one = settlement
    fields: dict[str, Any] = {
        "_aws": telemetry.EmbeddedMetrics(one.ts_ms, _directives(timed=one.ttft_ms is not None)),
        "service": telemetry.service(),
        "Endpoint": one.endpoint or "unknown",  # CloudWatch refuses an empty dimension
        "Model": one.model or "unknown",
        "Retries": max(0, one.attempts - 1),
        "BrokenStreams": int(one.status < 400 and one.state == "partial"),
        "EstimatedUsage": int(one.estimated),
        "Requests": 1,
        "Errors": int(one.status >= 400),
        "ServerErrors": int(one.status >= 500),
        "DurationMs": one.duration_ms,
        "InputTokens": one.input_tokens,
        "CachedTokens": one.cached_tokens,
        "OutputTokens": one.output_tokens,
        "ReasoningTokens": one.reasoning_tokens,
        "CostNanoUsd": one.cost_nano,
        "request_id": one.rid,
        "cold_start": telemetry.cold_start(),
        "projects": one.projects,
    }
    if one.ttft_ms is not None:
        fields["TtftMs"] = one.ttft_ms
    fields.update(zip(_SAME_NAME, _same(one), strict=True))
    fields |= gen_ai(one)
    telemetry.record(EVENT, fields, outside=_outside(one))


@cache
def _directives(*, timed: bool) -> str:
    """A request that no byte was sent to has no time to its first."""
    by_endpoint = (*_BY_ENDPOINT, "TtftMs") if timed else _BY_ENDPOINT
    return telemetry.directives(
        (
            ((("service",),), _BY_SERVICE),
            ((("service",), ("service", "Endpoint")), by_endpoint),
            ((("service",), ("service", "Model")), _BY_MODEL),
        )
    )


_BY_SERVICE = ("Retries", "BrokenStreams", "EstimatedUsage")
_BY_ENDPOINT = ("Requests", "Errors", "ServerErrors", "DurationMs")
_BY_MODEL = ("InputTokens", "CachedTokens", "OutputTokens", "ReasoningTokens", "CostNanoUsd")


def _outside(one: Settlement) -> str:
    """All text of a line that is not the code's own: clients, the upstream and operators wrote it."""
    words = f"{one.rid} {one.kid} {one.acct} {one.credential_id} {telemetry.service()}"
    words += f" {one.model} {one.model_version} {one.finish_reason} {one.upstream_response_id}"
    return f"{words} {' '.join(one.projects)}" if one.projects else words


def gen_ai(settlement: Settlement) -> dict[str, Any]:
    """The request in OpenTelemetry's words: attributes of its log line and of its span."""
    one = settlement
    told: dict[str, Any] = {
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.operation.name": _OPERATIONS.get(one.endpoint, "generate_content"),
        "gen_ai.request.model": one.model,
        "gen_ai.request.stream": one.stream,
        "gen_ai.usage.input_tokens": one.input_tokens,
        "gen_ai.usage.output_tokens": one.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": one.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": one.reasoning_tokens,
    }
    if one.model_version:
        told["gen_ai.response.model"] = one.model_version
    if one.upstream_response_id:
        told["gen_ai.response.id"] = one.upstream_response_id
    if one.finish_reason:
        told["gen_ai.response.finish_reasons"] = [one.finish_reason]
    if one.ttft_ms is not None:
        told["gen_ai.response.time_to_first_chunk"] = one.ttft_ms / 1000  # seconds
    return told


_OPERATIONS = {"chat": "chat", "responses": "chat", "messages": "chat", "embeddings": "embeddings"}


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
            projects=line.get("projects", {}),
            **{name: line[name] for name in _SAME_NAME},
        )
    except KeyError:
        return None
