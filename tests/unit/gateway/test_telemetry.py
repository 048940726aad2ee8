"""Logs: one JSON object a line, and no secret in it whatever carried it there."""

import io
import json
import logging
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from msgspec.structs import fields, replace
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from shared.gateway import telemetry, usage_lines
from shared.gateway.keyring import make_key
from shared.stores.protocols import Settlement

KEY = make_key("K" * 16, "s" * 43)
GOOGLE_KEY = "AIza" + "B" * 35


@pytest.fixture
def lines():
    out = io.StringIO()
    handler = telemetry.JsonLines(out)
    logging.getLogger().addHandler(handler)
    level = telemetry.LOGGER.level
    telemetry.LOGGER.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)
    telemetry.LOGGER.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {KEY}",
        KEY,
        f"https://host/v1beta/models/x?alt=sse&key={GOOGLE_KEY}",
        f"x-goog-api-key: {GOOGLE_KEY}",
        f"{{'x-goog-api-key': '{GOOGLE_KEY}'}}",
        GOOGLE_KEY,
        "AQ.Ab8RN6" + "c" * 40,
        "the literal pool-secret-of-ours again",
    ],
)
def test_secrets_are_redacted_in_messages_fields_and_exceptions(lines, text):
    telemetry.hide("pool-secret-of-ours")
    try:
        raise ValueError(text)
    except ValueError as error:
        telemetry.log(text, exc=error, detail=text, nested={"deep": [text]})
    (line,) = lines()
    whole = json.dumps(line)
    for secret in (KEY, "s" * 43, GOOGLE_KEY, "c" * 40, "pool-secret-of-ours"):
        assert secret not in whole
    assert "REDACTED" in whole


def test_no_input_forges_a_line(lines):
    telemetry.log("a", detail='x\n{"message":"forged"}\r\u2028y')
    assert [line["message"] for line in lines()] == ["a"]


def test_secrets_are_found_as_json_and_urls_write_them(lines):
    secret = 'odd"secret\\with/ümlaut'
    telemetry.hide(secret)
    telemetry.log("a", detail=secret, nested=[{"deep": secret}])
    telemetry.log(f"https://host/?token={quote(secret, safe='')}")
    for line in lines():
        assert "secret" not in json.dumps(line)
        assert "REDACTED" in json.dumps(line)


def test_a_line_is_bounded_whatever_is_logged(lines):
    telemetry.log("long", detail="x" * 100_000)
    telemetry.log("many", **{f"field{number}": "y" * 1_000 for number in range(100)})
    long, many = lines()
    assert len(json.dumps(long)) < 3_000
    assert many["message"] == "many"
    assert many["dropped"] > 16_000


@pytest.fixture
def configured(monkeypatch):
    """A function's logging, as `configure` leaves it; undone afterwards."""
    root, out = logging.getLogger(), io.StringIO()
    handlers, level, own_level = root.handlers[:], root.level, telemetry.LOGGER.level
    telemetry.LOGGER.setLevel(logging.NOTSET)

    def start(log_level, **environ):
        monkeypatch.setattr("sys.stdout", out)
        telemetry.configure(log_level, environ)
        return lambda: [json.loads(line) for line in out.getvalue().splitlines()]

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    telemetry.METRICS.setLevel(logging.NOTSET)
    telemetry.LOGGER.setLevel(own_level)
    logging.captureWarnings(False)


def test_foreign_loggers_are_redacted_at_every_level(configured):
    lines = configured("DEBUG")
    for level in (logging.DEBUG, logging.INFO, logging.ERROR):
        logging.getLogger("some.library").log(level, "sent %s to %s", KEY, f"https://host/?key={GOOGLE_KEY}")
    logging.getLogger("httpx").info('HTTP Request: POST https://host/v1beta/models/x?key=secret "HTTP/1.1 200 OK"')
    found = lines()
    assert [line["level"] for line in found] == ["DEBUG", "INFO", "ERROR"]
    for line in found:
        assert KEY not in line["message"] and GOOGLE_KEY not in line["message"]


def test_a_library_that_logs_nonsense_loses_no_line(configured):
    lines = configured("INFO")
    logging.getLogger("some.library").warning("%d pieces", "three")
    assert lines()[0]["message"] == "%d pieces"


def test_metrics_of_a_function_survive_a_quiet_log_level(configured):
    lines = configured("ERROR", AWS_LAMBDA_FUNCTION_NAME="f")
    telemetry.log("words")
    telemetry.refused("authentication", 401)
    assert [line["message"] for line in lines()] == ["refused"]


def test_every_line_of_a_request_names_it(configured):
    lines = configured("INFO")

    def request():
        telemetry.begin("01REQUEST")
        logging.getLogger("some.library").warning("words")
        telemetry.log("own")

    copy_context().run(request)
    telemetry.log("after")
    assert [line.get("request_id") for line in lines()] == ["01REQUEST", "01REQUEST", None]


def assert_embedded_metrics(line):
    """The rules of CloudWatch's embedded metric format, and the names that the line publishes."""
    published = {}
    assert isinstance(line["_aws"]["Timestamp"], int)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert 0 < len(directive["Namespace"]) <= 256
        assert 0 < len(directive["Metrics"]) <= 100
        for names in directive["Dimensions"]:
            assert len(names) <= 30
            assert all(isinstance(line[name], str) and line[name] for name in names)
        for metric in directive["Metrics"]:
            assert metric["Unit"] in ("Count", "Milliseconds")
            assert type(line[metric["Name"]]) in (int, float)
            assert metric["Name"] not in published
            published[metric["Name"]] = directive["Dimensions"]
    return published


def settlement(**known):
    given = {
        "acct": "a", "kid": "k", "rid": "01REQUEST", "nonce": "", "day": "20270115", "ts_ms": 1_800_000_000_000,
        "state": "done", "dialect": "openai_chat", "endpoint": "chat", "stream": True, "model": "gemini-3.8-flash",
        "model_version": "gemini-3.8-flash-001", "status": 200, "finish_reason": "STOP", "input_tokens": 9,
        "cached_tokens": 4, "output_tokens": 5, "reasoning_tokens": 2, "cost_nano": 77, "estimate_nano": 100,
        "estimate_tokens": 50, "price_version": "1", "estimated": False, "ttft_ms": 120, "duration_ms": 900,
        "upstream_response_id": "r1", "attempts": 2,
    }  # fmt: skip
    return Settlement(**{**given, **known})


def test_the_usage_line_is_an_embedded_metric(lines):
    usage_lines.write(settlement())
    usage_lines.write(settlement(ttft_ms=None, endpoint="", model="", status=502, state="void"))
    good, bad = lines()
    service, endpoint, model = ["service"], ["service", "Endpoint"], ["service", "Model"]
    expected = [
        (("Retries", "BrokenStreams", "EstimatedUsage"), [service]),
        (("Requests", "Errors", "ServerErrors", "DurationMs", "TtftMs"), [service, endpoint]),
        (("InputTokens", "CachedTokens", "OutputTokens", "ReasoningTokens", "CostNanoUsd"), [service, model]),
    ]
    assert assert_embedded_metrics(good) == {name: sets for names, sets in expected for name in names}
    assert (good["Requests"], good["Errors"], good["Retries"], good["TtftMs"], good["CostNanoUsd"]) == (
        1,
        0,
        1,
        120,
        77,
    )
    assert good["_aws"]["Timestamp"] == 1_800_000_000_000
    assert "TtftMs" not in assert_embedded_metrics(bad)
    assert (bad["Errors"], bad["ServerErrors"], bad["Endpoint"], bad["Model"]) == (1, 1, "unknown", "unknown")
    assert usage_lines.read(good) == replace(settlement(), had_hold=False)


def test_every_member_of_a_usage_line_says_what_it_is_called(lines):
    """Each figure has a value of its own, so that none can stand under another's name."""
    one = settlement(
        status=503, input_tokens=31, cached_tokens=32, output_tokens=33, reasoning_tokens=34, cost_nano=35,
        estimate_nano=36, estimate_tokens=37, ttft_ms=38, duration_ms=39, attempts=6, stream=False, estimated=True,
        kid="K", acct="A", credential_id="c1", projects={"p": 35}, state="partial",
    )  # fmt: skip
    telemetry.REQUEST_ID.set("another")
    usage_lines.write(one)
    telemetry.REQUEST_ID.set("")
    (line,) = lines()
    assert line.pop("timestamp") and line.pop("_aws") and type(line.pop("cold_start")) is bool
    assert line == {
        "level": "INFO", "message": "usage", "logger": "gateway.metrics", "request_id": "01REQUEST",
        "service": "gemini-gateway", "Endpoint": "chat", "Model": "gemini-3.8-flash",
        "Retries": 5, "BrokenStreams": 0, "EstimatedUsage": 1, "Requests": 1, "Errors": 1, "ServerErrors": 1,
        "DurationMs": 39, "TtftMs": 38,
        "InputTokens": 31, "CachedTokens": 32, "OutputTokens": 33, "ReasoningTokens": 34, "CostNanoUsd": 35,
        "kid": "K", "acct": "A", "day": "20270115", "ts_ms": 1_800_000_000_000, "dialect": "openai_chat",
        "stream": False, "model_version": "gemini-3.8-flash-001", "state": "partial", "status": 503,
        "finish_reason": "STOP", "reasoning_tokens": 34, "cached_tokens": 32, "estimate_nano": 36,
        "estimate_tokens": 37, "price_version": "1", "estimated": True, "ttft_ms": 38, "upstream_response_id": "r1",
        "credential_id": "c1", "attempts": 6, "projects": {"p": 35},
        "gen_ai.provider.name": "gcp.gemini", "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gemini-3.8-flash", "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": 31, "gen_ai.usage.output_tokens": 33,
        "gen_ai.usage.cache_read.input_tokens": 32, "gen_ai.usage.reasoning.output_tokens": 34,
        "gen_ai.response.model": "gemini-3.8-flash-001", "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ["STOP"], "gen_ai.response.time_to_first_chunk": 0.038,
    }  # fmt: skip


@pytest.mark.parametrize("word", ["ümlaut \u2028", "\ud800", "x" * 3_000, 'a "word"\n'])
def test_a_usage_line_takes_any_word(lines, word):
    usage_lines.write(settlement(finish_reason=word, cost_nano=2**70))
    usage_lines.write(settlement(finish_reason=word, ttft_ms=None))
    for line in lines():
        assert_embedded_metrics(line)
        assert line["finish_reason"] == word[:2_000]


def test_refusals_and_upstream_errors_are_counted_by_what_they_are(lines):
    telemetry.refused("authentication", 401, endpoint="chat")
    telemetry.refused("budget_exhausted", 429)
    telemetry.upstream_error("upstream_timeout", request_id="r")
    telemetry.log("settle_queued", level=40, metrics={"SettlementQueued": 1}, request_id="r")
    keyless, poor, broken, queued = lines()
    assert (keyless["AuthFailures"], keyless["AdmissionDenied"], keyless["Reason"]) == (1, 0, "authentication")
    assert (poor["AuthFailures"], poor["AdmissionDenied"], poor["Refusals"]) == (0, 1, 1)
    assert assert_embedded_metrics(keyless)["RefusalsByReason"] == [["service", "Reason"]]
    assert assert_embedded_metrics(broken) == {"UpstreamErrors": [["service"], ["service", "Class"]]}
    assert assert_embedded_metrics(queued) == {"SettlementQueued": [["service"]]}


@pytest.mark.parametrize("detail", ["plain", "ümlaut \u2028", "\ud800", "x" * 3_000, 2**70, f"Bearer {KEY}"])
def test_metrics_stand_in_a_line_whatever_else_does(lines, detail):
    telemetry.log("queued", metrics={"SettlementQueued": 1}, detail=detail)
    (line,) = lines()
    assert assert_embedded_metrics(line) == {"SettlementQueued": [["service"]]}
    assert line["detail"] == (detail[:2_000].replace(KEY, "REDACTED") if isinstance(detail, str) else detail)


def test_a_line_is_what_logging_itself_makes_of_it(lines):
    error = ValueError("words")
    telemetry.record("event", {"detail": 1}, level=logging.WARNING, exc=error)
    telemetry.LOGGER.log(logging.WARNING, "event", extra={"fields": {"detail": 1}}, exc_info=error)
    telemetry.record("too quiet", {}, level=logging.DEBUG)
    ours, theirs = lines()
    assert ours | {"timestamp": ""} == theirs | {"timestamp": ""}
    assert ours["exception"].endswith("ValueError: words")


def test_other_handlers_of_the_root_get_records(lines, caplog):
    error = ValueError("words")
    telemetry.record("event", {"detail": 1}, level=logging.WARNING, exc=error)
    (record,) = caplog.records
    assert (record.getMessage(), record.name, record.levelname) == ("event", "gateway", "WARNING")
    assert (record.fields, record.exc_info[1]) == ({"detail": 1}, error)
    assert len(lines()) == 1


def test_a_line_names_its_invocation(lines):
    def request():
        telemetry.begin("01REQUEST", "", "8476a536-e9f4")
        telemetry.log("own")

    copy_context().run(request)
    telemetry.log("after")
    assert [line.get("aws_request_id") for line in lines()] == ["8476a536-e9f4", None]


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no words")


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_no_request_fails_for_its_log(configured, monkeypatch):
    configured("INFO")
    errors = io.StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    telemetry.log("unspeakable", detail=Unspeakable())
    logging.getLogger("some.library").warning("%(unheard)s", {"of": 1})
    logging.getLogger().handlers[0].stream = FullDisk()
    telemetry.log("unwritten")
    assert "no words" in errors.getvalue()
    assert "unheard" in errors.getvalue()
    assert "No space left" in errors.getvalue()


def test_an_error_is_searched_for_secrets_whatever_else_is(lines):
    telemetry.record("failed", {"detail": 1}, exc=ValueError(KEY), outside="")
    assert KEY not in json.dumps(lines())


OWN_WORDS = {"day", "state", "dialect", "endpoint", "price_version"}  # which no request, operator or upstream chooses


@pytest.mark.parametrize("secret", [KEY, GOOGLE_KEY, 'pool "secret" of ours'])
@pytest.mark.parametrize(
    "field", [one.name for one in fields(Settlement) if one.type is str and one.name not in OWN_WORDS]
)
def test_no_text_of_a_usage_line_shows_a_secret(lines, field, secret):
    telemetry.hide('pool "secret" of ours')
    usage_lines.write(settlement(**{field: f"a {secret} b", "projects": {"p": 1}}))
    usage_lines.write(settlement(projects={f"a {secret} b": 1}))
    for line in lines():
        assert secret not in json.dumps(line).replace('\\"', '"')
    assert "REDACTED" in json.dumps(lines()[1])


def test_a_timestamp_is_the_records_moment(lines):
    before = datetime.now(UTC)
    telemetry.log("now")
    stated = datetime.fromisoformat(lines()[0]["timestamp"])
    assert before - timedelta(milliseconds=1) <= stated <= datetime.now(UTC)


def test_the_names_of_generative_ai_are_opentelemetrys():
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    told = usage_lines.gen_ai(settlement())
    assert told.keys() <= known
    assert told["gen_ai.provider.name"] == gen_ai_attributes.GenAiProviderNameValues.GCP_GEMINI.value
    operations = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    for endpoint in ("chat", "responses", "messages", "native", "embeddings", "images", "audio"):
        assert usage_lines.gen_ai(settlement(endpoint=endpoint))["gen_ai.operation.name"] in operations
    assert not any(name.startswith("gen_ai.response") for name in usage_lines.gen_ai(
        settlement(model_version="", upstream_response_id="", finish_reason="", ttft_ms=None)
    ))  # fmt: skip
