"""Spans: what a collector gets, when, and what its troubles cost."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from shared.gateway import telemetry, tracing, usage_lines
from shared.gateway.settings import ConfigurationError
from shared.stores.protocols import Settlement

STARTED = 1_800_000_000_000


def settlement(**known: Any) -> Settlement:
    given: dict[str, Any] = {
        "acct": "a", "kid": "k", "rid": "01REQUEST", "nonce": "", "day": "20270115", "ts_ms": STARTED,
        "state": "done", "dialect": "openai_chat", "endpoint": "chat", "stream": True, "model": "gemini-3.8-flash",
        "model_version": "gemini-3.8-flash-001", "status": 200, "finish_reason": "STOP", "input_tokens": 9,
        "cached_tokens": 4, "output_tokens": 5, "reasoning_tokens": 2, "cost_nano": 77, "estimate_nano": 100,
        "estimate_tokens": 50, "price_version": "1", "estimated": False, "ttft_ms": 120, "duration_ms": 900,
    }  # fmt: skip
    return Settlement(**{**given, **known})


@dataclass
class Collector:
    """An OTLP collector on the loopback address; `status` is its answer, `hold` what it waits for before."""

    url: str = ""
    status: int = 200
    hold: threading.Event | None = None
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def requests(self) -> list[ExportTraceServiceRequest]:
        return [read(body) for _, _, body in self.got]


def read(body: bytes) -> ExportTraceServiceRequest:
    """As the proto definition reads it; ids are hexadecimal in OTLP's JSON, base64 in protobuf's."""
    value = json.loads(body)
    for resource in value["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(value, ExportTraceServiceRequest())  # unknown members raise


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if found.hold is not None:
                found.hold.wait(5)
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    if found.hold is not None:
        found.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    yield
    usage_lines.export_by(None)
    telemetry.begin("")


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


async def exported(collector: Collector, one: Settlement, **environ: str) -> tuple[Any, Any, Any]:
    """(resource, the request's span, the model's span) after one settlement."""
    tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **environ})
    await usage_lines.export(one)
    (whole,) = collector.requests()[-1].resource_spans
    outer, inner = whole.scope_spans[0].spans
    return whole.resource, outer, inner


async def test_a_request_is_two_spans_of_one_trace(collector: Collector) -> None:
    resource, outer, inner = await exported(collector, settlement(), OTEL_SERVICE_NAME="mine")
    assert collector.got[0][0] == "/v1/traces"
    assert attributes(resource)["service.name"] == "mine"
    assert (outer.kind, inner.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert outer.trace_id == inner.trace_id
    assert len(outer.trace_id) == 16
    assert inner.parent_span_id == outer.span_id
    assert not outer.parent_span_id
    assert inner.name == "chat gemini-3.8-flash"
    assert inner.start_time_unix_nano == STARTED * 1_000_000
    assert inner.end_time_unix_nano - inner.start_time_unix_nano == 900 * 1_000_000
    (first,) = inner.events
    assert first.time_unix_nano - inner.start_time_unix_nano == 120 * 1_000_000
    told = attributes(inner)
    assert told["gen_ai.usage.input_tokens"] == 9
    assert told["gen_ai.response.model"] == "gemini-3.8-flash-001"
    assert [item.string_value for item in told["gen_ai.response.finish_reasons"].values] == ["STOP"]
    assert attributes(outer)["gateway.request_id"] == "01REQUEST"
    assert inner.status.code == Status.STATUS_CODE_UNSET


async def test_a_failure_is_an_error_with_its_type(collector: Collector) -> None:
    failed = settlement(status=504, state="void", finish_reason="upstream_timeout", ttft_ms=None)
    _, outer, inner = await exported(collector, failed)
    assert outer.status.code == inner.status.code == Status.STATUS_CODE_ERROR
    assert attributes(inner)["error.type"] == "upstream_timeout"
    broken = settlement(state="partial", finish_reason="upstream_truncated")
    assert (await exported(collector, broken))[1].status.code == Status.STATUS_CODE_ERROR


async def test_the_clients_trace_goes_on(collector: Collector) -> None:
    telemetry.begin("01REQUEST", f"00-{'ab' * 16}-{'cd' * 8}-01")
    _, outer, inner = await exported(collector, settlement())
    assert outer.trace_id == inner.trace_id == b"\xab" * 16
    assert outer.parent_span_id == b"\xcd" * 8


async def test_a_trace_that_the_client_does_not_sample_is_not_sent(collector: Collector) -> None:
    tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    telemetry.begin("01REQUEST", f"00-{'ab' * 16}-{'cd' * 8}-00")
    await usage_lines.export(settlement())
    assert collector.got == []


async def test_headers_are_sent_and_never_logged(collector: Collector, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "collector secret"
    await exported(collector, settlement(), OTEL_EXPORTER_OTLP_HEADERS="x-token=collector%20secret, other=1")
    assert collector.got[0][1]["x-token"] == secret
    assert collector.got[0][1]["other"] == "1"
    assert secret not in telemetry.redact(f"a {secret} b")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_collector_that_refuses_costs_nothing_for_a_while(collector: Collector, status: int) -> None:
    now = 0.0
    target = tracing.Target.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert target is not None
    exporter = tracing.Exporter(target, clock=lambda: now)
    collector.status = status
    for _ in range(3):
        await exporter.export(settlement())
    assert len(collector.got) == 1
    now, collector.status = 31.0, 200
    await exporter.export(settlement())
    await exporter.export(settlement())
    assert len(collector.got) == 3


async def test_a_collector_that_is_not_there_is_no_error() -> None:
    tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    await usage_lines.export(settlement())


async def test_a_slow_collector_is_left_alone_after_the_timeout(collector: Collector) -> None:
    collector.hold = threading.Event()
    tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "100"})
    began = time.monotonic()
    ticks = 0

    async def others() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    beside = asyncio.ensure_future(others())
    await usage_lines.export(settlement())
    beside.cancel()
    assert time.monotonic() - began < 2
    assert ticks > 3  # other requests went on meanwhile


def test_nothing_configured_is_no_exporter() -> None:
    assert tracing.Target.from_env({}) is None
    assert tracing.Target.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "file:///etc/passwd"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        tracing.Target.from_env(environ)


def test_a_traces_endpoint_of_its_own_is_taken_as_it_is() -> None:
    target = tracing.Target.from_env({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/custom"})
    assert target is not None
    assert target.url == "http://x/custom"
