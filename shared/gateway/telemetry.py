"""Logs and metrics: one JSON object a line, redacted, never a prompt.

The lines `upstream_start` and `usage` are also the write-ahead log of metering: reconciliation reads them when a
settlement was lost. Metrics are CloudWatch's embedded metric format, members of the same lines. Both follow the
conventions of Powertools for AWS Lambda (`service`, `cold_start`, POWERTOOLS_SERVICE_NAME,
POWERTOOLS_METRICS_NAMESPACE, LOG_LEVEL) without importing it, which would cost a cold start about 50 ms of CPU.
"""

import importlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote

import orjson
from msgspec import Struct

LOGGER = logging.getLogger("gateway")
METRICS = logging.getLogger("gateway.metrics")
METRIC_NAMESPACE = "GeminiGateway"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # stands in every line of the request
TRACE_PARENT: ContextVar[str] = ContextVar("traceparent", default="")  # the client's W3C header, as it came
_MAX_FIELD = 2_000
_MAX_LINE = 16_000
_MIN_SECRET = 8  # shorter texts would hide ordinary words
_SECRETS = re.compile(
    r"sk-gw1_[0-9A-Za-z_]{10,}|AIza[\w-]{20,}|AQ\.[\w-]{16,}|([?&]key=)[^&\s\"]+"
    r"|(?i:(bearer\s+|x-goog-api-key[\"':=\s]+))[^\s\"',]+"
)
# one of these is in whatever _SECRETS finds
_MARKS = ("sk-gw1_", "AIza", "AQ.", "key=")
_MARKS_IN_ANY_CASE = ("bearer", "x-goog-api-key")
_hidden: set[str] = set()
_literals: set[str] = set()  # those, in every spelling
_cold = True

_SERVICE = (("service",),)
Dimensions = tuple[tuple[str, ...], ...]
Group = tuple[Dimensions, Mapping[str, float | None]]
"""Metrics that are published under the same sets of dimensions; one that is None is not there."""


class EmbeddedMetrics(Struct, frozen=True):
    """The member `_aws` of a line: `directives` is JSON, the same text in every line of a kind."""

    ts_ms: int
    directives: str


def hide(*secrets: str) -> None:
    """Redact these exact texts too, from now on: every loaded secret goes through here. Also as they stand inside JSON
    and in URLs."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET and secret not in _hidden:
            _hidden.add(secret)
            _literals.update((secret, json.dumps(secret)[1:-1], quote(secret, safe="")))


def redact(text: str) -> str:
    for secret in _literals:
        if secret in text:
            text = text.replace(secret, "REDACTED")
    if not _marked(text):
        return text
    return _SECRETS.sub(lambda match: f"{match.group(1) or match.group(2) or ''}REDACTED", text)


def _marked(text: str) -> bool:
    for mark in _MARKS:
        if mark in text:
            return True
    lowered = text.lower()
    return any(mark in lowered for mark in _MARKS_IN_ANY_CASE)


class JsonLines(logging.Formatter):
    """One line for every record of every logger, whatever its level. What is not the gateway's own is redacted too."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "timestamp": f"{_second(int(record.created))}.{int(record.msecs):03d}+00:00",
            "level": record.levelname,
            "message": _message(record),
            "logger": record.name,
        }
        if invocation := getattr(record, "aws_request_id", ""):  # set by the runtime loop
            fields["aws_request_id"] = invocation
        if request_id := REQUEST_ID.get():
            fields["request_id"] = request_id
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)[-_MAX_FIELD:]
        embedded = fields.pop("_aws") if isinstance(fields.get("_aws"), EmbeddedMetrics) else None
        line = _safe(fields)
        if embedded is not None:  # the code's own words: nothing in them to redact
            line = f'{line[:-1]},"_aws":{{"Timestamp":{embedded.ts_ms},"CloudWatchMetrics":{embedded.directives}}}}}'
        if len(line) <= _MAX_LINE:
            return line
        kept = ("timestamp", "level", "message", "logger", "aws_request_id", "request_id")
        return _safe({**{name: fields[name] for name in kept if name in fields}, "dropped": len(line)})


@lru_cache(maxsize=2)
def _second(epoch_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s))


def _safe(fields: Mapping[str, Any]) -> str:
    """Bounded, and redacted after encoding, so that no field and no exception text escapes it."""
    line = _encoded(fields)
    if len(line) > _MAX_FIELD:  # else no field can be longer
        line = _encoded({name: _bounded(value) for name, value in fields.items()})
    return redact(line)


def _encoded(fields: Mapping[str, Any]) -> str:
    """ASCII, so that no reader of lines sees a line end in a value."""
    try:
        data = orjson.dumps(fields, default=_plain)
    except orjson.JSONEncodeError:  # a large integer, half a surrogate pair, a key that is no string
        return json.dumps(fields, default=_plain)
    return data.decode() if data.isascii() else json.dumps(fields, default=_plain)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a library's format string and its arguments disagree
        return str(record.msg)


def _plain(value: object) -> str:
    return str(value)[:_MAX_FIELD]


def _bounded(value: Any) -> Any:
    return value[:_MAX_FIELD] if isinstance(value, str) else value


def begin(request_id: str, traceparent: str = "") -> None:
    """A request of ours: every line that its task writes from now on names it."""
    REQUEST_ID.set(request_id)
    TRACE_PARENT.set(traceparent)


def configure(level: str, environ: Mapping[str, str] = os.environ) -> None:
    """JSON lines on standard output for everything, Python's warnings included. The HTTP client's own lines would print
    whole URLs. In a function metrics are written at every LOG_LEVEL: alarms live on them. Spans are made only where the
    environment names a collector."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    METRICS.setLevel(logging.INFO if environ.get("AWS_LAMBDA_FUNCTION_NAME") else logging.NOTSET)
    logging.captureWarnings(True)
    for unsaid in ("logThreads", "logMultiprocessing", "logProcesses", "logAsyncioTasks"):  # found out for every record
        setattr(logging, unsaid, False)
    for noisy in ("httpx", "httpcore", "botocore", "boto3", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if any(environ.get(name) for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")):
        importlib.import_module("shared.gateway.tracing").start(environ)


def log(
    event: str,
    *,
    level: int = logging.INFO,
    exc: BaseException | None = None,
    metrics: Mapping[str, float] | None = None,
    **fields: Any,
) -> None:
    """One line; `metrics` are published for the whole service."""
    record(event, fields if metrics is None else {**emf([(_SERVICE, metrics)], {}), **fields}, level=level, exc=exc)


def record(
    event: str, fields: Mapping[str, Any], *, level: int = logging.INFO, exc: BaseException | None = None
) -> None:
    logger = METRICS if "_aws" in fields else LOGGER
    if not logger.isEnabledFor(level):
        return
    # what `Logger.log` does, but for its search of the stack for the caller, whom no line names
    error = None if exc is None else (type(exc), exc, exc.__traceback__)
    made = logging.getLogRecordFactory()(logger.name, level, "", 0, event, (), error)
    made.__dict__["fields"] = fields
    logger.handle(made)


def emf(groups: Iterable[Group], dimensions: Mapping[str, str], ts_ms: int | None = None) -> dict[str, Any]:
    """The members of a line that make CloudWatch publish metrics from it. `service` is always a dimension that a group
    may name. `ts_ms` is the metrics' time, now where None."""
    values: dict[str, float] = {}
    kinds: list[tuple[Dimensions, tuple[str, ...]]] = []
    for sets, metrics in groups:
        told = {name: value for name, value in metrics.items() if value is not None}
        values |= told
        kinds.append((sets, tuple(told)))
    moment = time.time_ns() // 1_000_000 if ts_ms is None else ts_ms
    named = {name: value or "unknown" for name, value in dimensions.items()}  # CloudWatch refuses an empty one
    return {"_aws": EmbeddedMetrics(moment, _directives(tuple(kinds))), "service": service(), **named, **values}


@lru_cache(maxsize=64)
def _directives(kinds: tuple[tuple[Dimensions, tuple[str, ...]], ...]) -> str:
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or METRIC_NAMESPACE
    return json.dumps(
        [
            {
                "Namespace": namespace,
                "Dimensions": sets,
                "Metrics": [{"Name": name, "Unit": _unit(name)} for name in names],
            }
            for sets, names in kinds
        ],
        separators=(",", ":"),
    )


def _unit(name: str) -> str:
    return "Milliseconds" if name.endswith("Ms") else "Count"


@cache
def service() -> str:
    return os.environ.get("POWERTOOLS_SERVICE_NAME") or "gemini-gateway"


def cold_start() -> bool:
    """Whether this is the first request of the process; asked once per request."""
    global _cold
    was, _cold = _cold, False
    return was


def refused(kind: str, status: int, **fields: Any) -> None:
    """The line of a request that was turned away before anything was reserved for it: it has no usage line."""
    counts = {
        "Refusals": 1,
        "AuthFailures": int(kind == "authentication"),
        "AdmissionDenied": int(kind in _DENIED),
        "ServerErrors": int(status >= 500),
    }
    groups: list[Group] = [(_SERVICE, counts), ((("service", "Reason"),), {"RefusalsByReason": 1})]
    record("refused", {**emf(groups, {"Reason": kind}), "status": status, **fields})


_DENIED = frozenset({"rate_limited", "concurrency_limited", "budget_exhausted"})


def upstream_error(kind: str, **fields: Any) -> None:
    """A request that trouble of the upstream ended, and whose retries, if any, were in vain."""
    group: Group = ((*_SERVICE, ("service", "Class")), {"UpstreamErrors": 1})
    record("upstream_error", {**emf([group], {"Class": kind}), **fields}, level=logging.WARNING)


def usage_line(
    fields: Mapping[str, Any],
    *,
    metrics: Mapping[str, float | None],
    by_endpoint: Mapping[str, float | None],
    by_model: Mapping[str, float | None],
    dimensions: Mapping[str, str],
) -> None:
    """A request's last line: its row's figures, and the metrics made from them. `metrics` are published for the whole
    service; `by_endpoint` and `by_model` also under the dimension `Endpoint` or `Model`."""
    groups: list[Group] = [
        (_SERVICE, metrics),
        ((*_SERVICE, ("service", "Endpoint")), by_endpoint),
        ((*_SERVICE, ("service", "Model")), by_model),
    ]
    record("usage", {**emf(groups, dimensions, fields["ts_ms"]), **fields})
