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
import traceback
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, TextIO
from urllib.parse import quote

import msgspec
import orjson
from msgspec import UNSET, Raw, Struct, structs

LOGGER = logging.getLogger("gateway")
METRICS = logging.getLogger("gateway.metrics")
METRIC_NAMESPACE = "GeminiGateway"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # stands in every line of the request
TRACE_PARENT: ContextVar[str] = ContextVar("traceparent", default="")  # the client's W3C header, as it came
_INVOCATION: ContextVar[str] = ContextVar("invocation", default="")
_MAX_FIELD = 2_000
_MAX_LINE = 16_000
_MIN_SECRET = 8  # shorter texts would hide ordinary words
_SECRETS = (
    r"sk-gw1_[0-9A-Za-z_]{10,}|AIza[\w-]{20,}|AQ\.[\w-]{16,}|([?&]key=)[^&\s\"]+"
    r"|(?i:(bearer\s+|x-goog-api-key[\"':=\s]+))[^\s\"',]+"
)
# one of these is in whatever _SECRETS finds
_MARKS = ("sk-gw1_", "AIza", "AQ.", "key=")
_BEARER, _KEY_HEADER = "bearer", "x-goog-api-key"  # in any case
_hidden: set[str] = set()
_literals: set[str] = set()  # those, in every spelling
_cold = True

_SERVICE = (("service",),)
Dimensions = tuple[tuple[str, ...], ...]
Group = tuple[Dimensions, Mapping[str, float]]
"""Metrics that are published under the same sets of dimensions."""
Kind = tuple[Dimensions, tuple[str, ...]]
"""Those of a group by their names alone: the same for every line of a kind."""


def hide(*secrets: str) -> None:
    """Redact these exact texts too, from now on: every loaded secret goes through here. Also as they stand inside JSON
    and in URLs."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET and secret not in _hidden:
            _hidden.add(secret)
            _literals.update((secret, json.dumps(secret)[1:-1], quote(secret, safe="")))


def redact(text: str) -> str:
    if not _suspect(text):
        return text
    for secret in _literals:
        text = text.replace(secret, "REDACTED")
    return re.sub(_SECRETS, lambda match: f"{match.group(1) or match.group(2) or ''}REDACTED", text)


def _suspect(text: str) -> bool:
    """Whether there may be anything to redact, in the text itself or in its JSON."""
    for known in (_literals, _MARKS):
        for piece in known:
            if piece in text:
                return True
    lowered = text.lower()
    return _BEARER in lowered or _KEY_HEADER in lowered


Members = dict[str, Any] | Struct
"""What a line says beside the members of every line. A structure has metrics and names its request."""


class Line(Struct, frozen=True):
    """One line: `moment` in epoch seconds, `kind` from `kind_of`, `invocation` as in `begin`, `outside` as in
    `record`."""

    moment: float
    kind: str
    invocation: str
    members: Members
    exc: BaseException | None = None
    outside: str | None = None

    def text(self) -> str:
        """Bounded, and redacted after encoding, so that no member and no exception text escapes it."""
        members, outside = self.members, self.outside
        if self.exc is not None:
            members, outside = {**_mapping(members), "exception": _traceback(self.exc)}, None
        body = _encoded(members)
        if len(body if outside is None else outside) > _MAX_FIELD:  # else no member can be longer
            body = _encoded({name: _bounded(value) for name, value in _mapping(members).items()})
        head = self._head(members)
        line = f"{head},{body[1:]}" if len(body) > 2 else head + "}"
        if len(line) > _MAX_LINE:
            kept = {name: value for name, value in _mapping(members).items() if name == "request_id"}
            line = f"{head},{_encoded({**kept, 'dropped': len(line)})[1:]}"
        return redact(line) if outside is None or _suspect(outside) else line

    def _head(self, members: Members) -> str:
        second = int(self.moment)
        millisecond = str(int((self.moment - second) * 1000)).zfill(3)
        head = f'{{"timestamp":"{_second(second)}.{millisecond}+00:00",{self.kind}'
        if self.invocation:
            head += f',"aws_request_id":{_quoted(self.invocation)}'
        if isinstance(members, dict) and "request_id" not in members and (request_id := REQUEST_ID.get()):
            head += f',"request_id":{_quoted(request_id)}'
        return head


def kind_of(level: str, message: str, logger: str) -> str:
    """The members that lines of one kind have in common."""
    return f'"level":{_quoted(level)},"message":{_quoted(message[:_MAX_FIELD])},"logger":{_quoted(logger)}'


_own_kind = lru_cache(maxsize=128)(kind_of)  # the gateway's events are few, libraries' messages are not


class JsonLines(logging.StreamHandler[TextIO]):
    """Writes the gateway's own lines, and one for every record of every other logger, whatever its level: what
    libraries say is redacted too."""

    def emit(self, record: logging.LogRecord) -> None:
        """A line that cannot be made or written fails nobody's work."""
        try:
            line = Line(
                record.created,
                kind_of(record.levelname, _message(record), record.name),
                getattr(record, "aws_request_id", ""),  # set by the runtime loop
                dict(getattr(record, "fields", ())),
                record.exc_info[1] if record.exc_info else None,
            )
            self.write(line.text())
        except Exception:
            self.handleError(record)

    def tell(self, line: Line) -> None:
        """The same for a line of the gateway's own."""
        try:
            self.write(line.text())
        except Exception:
            self.handleError(logging.makeLogRecord({"msg": line.kind}))

    def write(self, text: str) -> None:
        """At once: what comes next may be the end of the process."""
        assert self.lock is not None
        with self.lock:
            self.stream.write(text + "\n")
            self.stream.flush()


@lru_cache(maxsize=2)
def _second(epoch_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s))


def _encoded(members: Members) -> str:
    """ASCII, so that no reader of lines sees a line end in a value."""
    try:
        if isinstance(members, dict):
            return orjson.dumps(members, default=_plain).decode("ascii")
        return msgspec.json.encode(members).decode("ascii")
    except (orjson.JSONEncodeError, OverflowError, UnicodeError):
        # a large integer, half a surrogate pair, a key that is no string; or only words in another alphabet
        return json.dumps(_mapping(members), default=_plain)


def _mapping(members: Members) -> dict[str, Any]:
    if isinstance(members, dict):
        return members
    values = zip(members.__struct_encode_fields__, structs.astuple(members), strict=True)
    return {name: value for name, value in values if value is not UNSET}


def _traceback(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc)).removesuffix("\n")[-_MAX_FIELD:]


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a library's format string and its arguments disagree
        return str(record.msg)


def _plain(value: object) -> Any:
    return json.loads(bytes(value)) if isinstance(value, Raw) else str(value)[:_MAX_FIELD]


def _bounded(value: Any) -> Any:
    return value[:_MAX_FIELD] if isinstance(value, str) else value


def begin(request_id: str, traceparent: str = "", invocation: str = "") -> None:
    """A request of ours: every line that its task writes from now on names it, and Lambda's id of the invocation."""
    REQUEST_ID.set(request_id)
    TRACE_PARENT.set(traceparent)
    _INVOCATION.set(invocation)


def configure(level: str, environ: Mapping[str, str] = os.environ) -> None:
    """JSON lines on standard output for everything, Python's warnings included. The HTTP client's own lines would print
    whole URLs. In a function metrics are written at every LOG_LEVEL: alarms live on them. Spans are made only where the
    environment names a collector."""
    root = logging.getLogger()
    root.handlers[:] = [JsonLines(sys.stdout)]
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
    event: str,
    members: Members,
    *,
    level: int = logging.INFO,
    exc: BaseException | None = None,
    outside: str | None = None,
) -> None:
    """One line, made without a LogRecord, whose price would be that of the line itself. `outside` is all text among the
    members that is not the gateway's own: where it is given, the rest is not searched for secrets, but for an error's
    words."""
    logger = LOGGER if isinstance(members, dict) and "_aws" not in members else METRICS
    if not logger.isEnabledFor(level):
        return
    name = logging.getLevelName(level)
    for handler in logging.root.handlers:
        if isinstance(handler, JsonLines):
            kind = _own_kind(name, event, logger.name)
            handler.tell(Line(time.time(), kind, _INVOCATION.get(), members, exc, outside))
        elif level >= handler.level:  # not ours, as in tests
            error = None if exc is None else (type(exc), exc, exc.__traceback__)
            made = {"name": logger.name, "levelno": level, "levelname": name, "msg": event, "exc_info": error}
            handler.handle(logging.makeLogRecord({**made, "fields": _mapping(members)}))


def emf(groups: Iterable[Group], dimensions: Mapping[str, str]) -> dict[str, Any]:
    """The members of a line that make CloudWatch publish metrics from it, now. `service` is always a dimension that a
    group may name."""
    values: dict[str, float] = {}
    kinds: list[Kind] = []
    for sets, metrics in groups:
        values |= metrics
        kinds.append((sets, tuple(metrics)))
    named = {name: value or "unknown" for name, value in dimensions.items()}  # CloudWatch refuses an empty one
    told = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": directives(tuple(kinds))}
    return {"_aws": told, "service": service(), **named, **values}


@lru_cache(maxsize=64)
def directives(kinds: tuple[Kind, ...]) -> list[dict[str, Any]]:
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or METRIC_NAMESPACE
    return [
        {"Namespace": namespace, "Dimensions": sets, "Metrics": [{"Name": name, "Unit": _unit(name)} for name in names]}
        for sets, names in kinds
    ]


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
