"""Spans of requests for an OpenTelemetry collector; imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set.

OTLP over HTTP in its JSON encoding (opentelemetry-proto: lower camel case, ids in hexadecimal, 64-bit integers as
strings). The SDK with its exporter would add about 1.9 MB to every function's zip and 190 ms of CPU to every cold start
for what are two spans a request; its environment variables keep their meaning here.

A request is exported after its last byte and its settlement, within the invocation. A collector that fails or is slow
costs a log line, at most the timeout once, and then nothing until it had its rest.
"""

import asyncio
import json
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from shared.gateway import usage_lines
from shared.gateway.settings import ConfigurationError
from shared.gateway.telemetry import TRACE_PARENT, hide, log, service
from shared.stores.protocols import Settlement

_SERVER, _CLIENT = 2, 3  # SpanKind
_ERROR = 2  # StatusCode
_TIMEOUT_S = 1.0
_REST_S = 30.0  # after a failure: a collector that is down must not be paid for by every request
_SCOPE = {"name": "gemini-gateway"}
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Target(Struct, frozen=True):
    """Where spans go. `headers` may hold a secret."""

    url: str
    headers: Mapping[str, str]
    timeout_s: float
    resource: Mapping[str, str]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Target | None":
        """None where nothing is configured. Raises ConfigurationError, whose message holds no value."""
        base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
        own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
        if not (base or own) or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return None
        url = own or f"{base.rstrip('/')}/v1/traces"
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigurationError("OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL")
        headers = _pairs(_first(environ, "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"))
        hide(*headers.values())
        timeout_ms = _first(environ, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
        try:
            timeout_s = float(timeout_ms) / 1000 if timeout_ms else _TIMEOUT_S
        except ValueError:
            raise ConfigurationError("OTEL_EXPORTER_OTLP_TIMEOUT must be milliseconds") from None
        attributes = _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        name = environ.get("OTEL_SERVICE_NAME", "").strip() or attributes.get("service.name") or service()
        resource = {**attributes, "service.name": name}
        if function := environ.get("AWS_LAMBDA_FUNCTION_NAME"):
            resource |= {"cloud.provider": "aws", "cloud.platform": "aws_lambda", "faas.name": function}
        return cls(url, headers, min(timeout_s, 10.0), resource)


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((found for name in names if (found := environ.get(name, "").strip())), "")


def _pairs(text: str) -> dict[str, str]:
    """`a=b,c=d` with percent encoding, as OpenTelemetry's variables are written."""
    parts = (part.partition("=") for part in text.split(","))
    return {name.strip(): unquote(value.strip()) for name, equals, value in parts if equals and name.strip()}


def start(environ: Mapping[str, str]) -> None:
    """From now on every settled request is exported, if the environment names a collector."""
    target = Target.from_env(environ)
    usage_lines.export_by(None if target is None else Exporter(target).export)


class Exporter:
    """Sends the spans of settled requests. `clock` is monotonic seconds."""

    def __init__(self, target: Target, clock: Callable[[], float] = time.monotonic) -> None:
        self._target = target
        self._clock = clock
        self._rest_until = 0.0

    async def export(self, settlement: Settlement) -> None:
        """Never raises, and never takes much longer than the timeout."""
        if self._clock() < self._rest_until:
            return
        body = document(settlement, self._target.resource, TRACE_PARENT.get())
        if body is None:
            return
        try:
            async with asyncio.timeout(self._target.timeout_s + 0.5):
                await asyncio.to_thread(self._post, json.dumps(body).encode())
        except (OSError, TimeoutError, ValueError) as error:
            self._rest_until = self._clock() + _REST_S
            log("trace_not_exported", level=30, error=type(error).__name__, request_id=settlement.rid)

    def _post(self, body: bytes) -> None:
        headers = {"content-type": "application/json", **self._target.headers}
        request = urllib.request.Request(self._target.url, body, headers)  # noqa: S310 - http or https, see from_env
        with urllib.request.urlopen(request, timeout=self._target.timeout_s) as answer:  # noqa: S310
            answer.read(1024)


def document(settlement: Settlement, resource: Mapping[str, str], traceparent: str = "") -> dict[str, Any] | None:
    """An ExportTraceServiceRequest with two spans: the request, and the model's work in it. None where the client says
    that its trace is not sampled."""
    given = _TRACEPARENT.fullmatch(traceparent)
    if given and not int(given[3], 16) & 1:
        return None
    trace = given[1] if given else secrets.token_hex(16)
    request_span = secrets.token_hex(8)
    start, end = settlement.ts_ms, settlement.ts_ms + settlement.duration_ms
    failed = settlement.status >= 400 or settlement.state == "partial"
    common: dict[str, Any] = {"traceId": trace, "startTimeUnixNano": _nanos(start), "endTimeUnixNano": _nanos(end)}
    if failed:
        common["status"] = {"code": _ERROR}
    words = usage_lines.gen_ai(settlement)
    outer = {
        "http.response.status_code": settlement.status,
        "gateway.request_id": settlement.rid,
        "gateway.endpoint": settlement.endpoint,
        "gateway.dialect": settlement.dialect,
        "gateway.key_id": settlement.kid,
        "gateway.cost_nano_usd": settlement.cost_nano,
    }
    inner = {**words, "gateway.attempts": settlement.attempts}
    if failed:
        inner["error.type"] = settlement.finish_reason or str(settlement.status)
    request = {
        **common,
        "spanId": request_span,
        "name": settlement.endpoint,
        "kind": _SERVER,
        "attributes": _attributes(outer),
    }
    if given:
        request["parentSpanId"] = given[2]
    work = {
        **common,
        "spanId": secrets.token_hex(8),
        "parentSpanId": request_span,
        "name": f"{words['gen_ai.operation.name']} {settlement.model}",
        "kind": _CLIENT,
        "attributes": _attributes(inner),
    }
    if settlement.ttft_ms is not None:
        work["events"] = [{"timeUnixNano": _nanos(start + settlement.ttft_ms), "name": "first_token"}]
    scope_spans = {"scope": _SCOPE, "spans": [request, work]}
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope_spans]}]}


def _nanos(milliseconds: int) -> str:
    return str(milliseconds * 1_000_000)


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
