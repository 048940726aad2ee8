"""The usage line: a request's log line, and its last record where its settlement cannot be written. Written and read
here. Its `gen_ai.*` members are OpenTelemetry's names (semantic conventions for generative AI)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

from msgspec import UNSET, Raw, Struct, defstruct, json

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
# names only: `_metrics` and `_gen_ai` give their values in the same order, as naming each value in its place would make
# a line cost 1.6 of what it does
_OF_SERVICE = ("Retries", "BrokenStreams", "EstimatedUsage")
_BY_ENDPOINT = ("Requests", "Errors", "ServerErrors", "DurationMs", "TtftMs")
_BY_MODEL = ("InputTokens", "CachedTokens", "OutputTokens", "ReasoningTokens", "CostNanoUsd")
_METRICS = ("service", "Endpoint", "Model", *_OF_SERVICE, *_BY_ENDPOINT, *_BY_MODEL)
_GEN_AI = (
    "gen_ai.provider.name",
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.time_to_first_chunk",
)
_MEMBERS = ("_aws", *_METRICS, "request_id", "cold_start", *_SAME_NAME, "projects", *_GEN_AI)
# a structure, as its names are encoded once and for all, not for every line
_Line = defstruct(
    "_Line",
    [f"member_{number}" for number in range(len(_MEMBERS))],
    rename={f"member_{number}": name for number, name in enumerate(_MEMBERS)},
)

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
    if telemetry.METRICS.isEnabledFor(logging.INFO):
        telemetry.record(EVENT, _line(settlement), outside=_outside(settlement))


def _line(one: Settlement) -> Struct:
    aws = {"Timestamp": one.ts_ms, "CloudWatchMetrics": _directives(timed=one.ttft_ms is not None)}
    return _Line(aws, *_metrics(one), one.rid, telemetry.cold_start(), *_same(one), one.projects, *_gen_ai(one))


def _metrics(one: Settlement) -> tuple[Any, ...]:
    return (
        telemetry.service(),
        one.endpoint or "unknown",  # CloudWatch refuses an empty dimension
        one.model or "unknown",
        max(0, one.attempts - 1),
        int(one.status < 400 and one.state == "partial"),
        int(one.estimated),
        1,
        int(one.status >= 400),
        int(one.status >= 500),
        one.duration_ms,
        UNSET if one.ttft_ms is None else one.ttft_ms,
        one.input_tokens,
        one.cached_tokens,
        one.output_tokens,
        one.reasoning_tokens,
        one.cost_nano,
    )


@cache
def _directives(*, timed: bool) -> Raw:
    """A request that no byte was sent to has no time to its first."""
    by_endpoint = tuple(name for name in _BY_ENDPOINT if timed or name != "TtftMs")
    sets = (("service",),)
    kinds = (
        (sets, _OF_SERVICE),
        ((*sets, ("service", "Endpoint")), by_endpoint),
        ((*sets, ("service", "Model")), _BY_MODEL),
    )
    return Raw(json.encode(telemetry.directives(kinds)))


def _gen_ai(one: Settlement) -> tuple[Any, ...]:
    return (
        "gcp.gemini",
        _OPERATIONS.get(one.endpoint, "generate_content"),
        one.model,
        one.stream,
        one.input_tokens,
        one.output_tokens,
        one.cached_tokens,
        one.reasoning_tokens,
        one.model_version or UNSET,
        one.upstream_response_id or UNSET,
        [one.finish_reason] if one.finish_reason else UNSET,
        UNSET if one.ttft_ms is None else one.ttft_ms / 1000,  # seconds
    )


_OPERATIONS = {"chat": "chat", "responses": "chat", "messages": "chat", "embeddings": "embeddings"}


def gen_ai(settlement: Settlement) -> dict[str, Any]:
    """The request in OpenTelemetry's words: attributes of its log line and of its span."""
    told = zip(_GEN_AI, _gen_ai(settlement), strict=True)
    return {name: value for name, value in told if value is not UNSET}


def _outside(one: Settlement) -> str:
    """All text of a line that is not the code's own: clients, the upstream and operators wrote it."""
    words = f"{one.rid} {one.kid} {one.acct} {one.credential_id} {telemetry.service()}"
    words += f" {one.model} {one.model_version} {one.finish_reason} {one.upstream_response_id}"
    return f"{words} {' '.join(one.projects)}" if one.projects else words


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
