"""Failures in Anthropic's words, as the official SDK raises them."""

import anthropic
import pytest

from shared.dialects.anthropic_messages.errors import WIRE, overflow, render_error
from shared.dialects.anthropic_messages.headers import limit_headers, reply_headers
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.reply import renderer
from shared.dialects.contract import ReplyContext, Translation
from shared.errors import ERROR_KINDS, GatewayError
from shared.events import BlockDelta, BlockStart, Start
from shared.gemini.catalog import not_found
from shared.json_codec import encode
from shared.limit_state import LimitState
from tests.unit.anthropic_messages.sdk_reading import ASK, client, pairs_of, streaming

TABLE = {
    "invalid_request": (400, "invalid_request_error", anthropic.BadRequestError),
    "invalid_json": (400, "invalid_request_error", anthropic.BadRequestError),
    "unsupported_parameter": (400, "invalid_request_error", anthropic.BadRequestError),
    "context_length_exceeded": (400, "invalid_request_error", anthropic.BadRequestError),
    "content_blocked": (400, "invalid_request_error", anthropic.BadRequestError),
    "url_not_allowed": (400, "invalid_request_error", anthropic.BadRequestError),
    "request_too_large": (413, "request_too_large", anthropic.APIStatusError),
    "unsupported_media_type": (415, "invalid_request_error", anthropic.APIStatusError),
    "method_not_allowed": (405, "invalid_request_error", anthropic.APIStatusError),
    "not_found": (404, "not_found_error", anthropic.NotFoundError),
    "model_not_found": (404, "not_found_error", anthropic.NotFoundError),
    "idempotency_running": (409, "conflict_error", anthropic.ConflictError),
    "idempotency_done": (409, "conflict_error", anthropic.ConflictError),
    "idempotency_mismatch": (422, "invalid_request_error", anthropic.UnprocessableEntityError),
    "authentication": (401, "authentication_error", anthropic.AuthenticationError),
    "ip_not_allowed": (403, "permission_error", anthropic.PermissionDeniedError),
    "endpoint_not_allowed": (403, "permission_error", anthropic.PermissionDeniedError),
    "feature_not_allowed": (403, "permission_error", anthropic.PermissionDeniedError),
    "rate_limited": (429, "rate_limit_error", anthropic.RateLimitError),
    "concurrency_limited": (429, "rate_limit_error", anthropic.RateLimitError),
    "budget_exhausted": (402, "billing_error", anthropic.APIStatusError),
    "upstream_auth": (502, "api_error", anthropic.InternalServerError),
    "upstream_quota": (429, "rate_limit_error", anthropic.RateLimitError),
    "upstream_rate_limited": (429, "rate_limit_error", anthropic.RateLimitError),
    "upstream_overloaded": (529, "overloaded_error", anthropic.InternalServerError),
    "upstream_internal": (500, "api_error", anthropic.InternalServerError),
    "upstream_timeout": (504, "timeout_error", anthropic.InternalServerError),
    "upstream_unreachable": (502, "api_error", anthropic.InternalServerError),
    "upstream_invalid_response": (502, "api_error", anthropic.InternalServerError),
    "upstream_truncated": (502, "api_error", anthropic.InternalServerError),
    "upstream_interrupted": (502, "api_error", anthropic.InternalServerError),
    "upstream_fault": (500, "api_error", anthropic.InternalServerError),
    "unavailable": (503, "api_error", anthropic.InternalServerError),
    "internal": (500, "api_error", anthropic.InternalServerError),
}
RETRIED = {
    "rate_limited",
    "concurrency_limited",
    "upstream_rate_limited",
    "upstream_overloaded",
    "upstream_internal",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_invalid_response",
    "upstream_truncated",
    "upstream_interrupted",
    "upstream_fault",
    "unavailable",
    "internal",
}


def raised_by_sdk(error, retries=0):
    """(what the SDK raises, how often it asked)."""
    status, body, headers = render_error(error, "01TEST")
    seen = []
    answer = {"content-type": "application/json", **headers, **reply_headers("01TEST", 12)}
    with (
        client(status, encode(body), answer, seen, retries) as sdk,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        sdk.messages.create(**ASK)
    return caught.value, len(seen)


def message_of(error):
    return render_error(error, "x")[1]["error"]["message"]


def test_every_kind_has_a_wire():
    assert set(TABLE) == set(WIRE) == set(ERROR_KINDS)


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_the_sdk_raises_what_each_kind_means(kind):
    status, wire_type, sdk_type = TABLE[kind]
    error, _ = raised_by_sdk(GatewayError(kind, "Something (1234 tokens) went wrong."))
    assert isinstance(error, sdk_type)
    assert (error.status_code, error.type) == (status, wire_type)
    assert error.request_id == error.body["request_id"] == "req_01TEST"
    assert error.body["type"] == "error"
    assert set(error.body["error"]) == {"type", "message"}


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_the_sdk_asks_again_only_where_that_can_help(kind, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    _, asked = raised_by_sdk(GatewayError(kind, "No."), retries=1)
    assert asked == (2 if kind in RETRIED else 1)


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "1"), (1, "1"), (34.4, "35"), (0, "1"), (60.0, "60")])
def test_retry_after_is_whole_seconds_and_never_too_short(seconds, shown):
    assert render_error(GatewayError("rate_limited", "Slow.", retry_after=seconds), "x")[2]["retry-after"] == shown


def test_without_a_wait_there_is_no_retry_after():
    assert "retry-after" not in render_error(GatewayError("upstream_rate_limited", "Slow."), "x")[2]


def test_a_wrong_method_names_the_right_ones():
    error = GatewayError("method_not_allowed", "GET is not allowed here.", allow=("POST", "HEAD"))
    assert render_error(error, "x")[2]["allow"] == "POST, HEAD"


def test_a_refused_key_is_told_how_keys_are_sent():
    assert render_error(GatewayError("authentication", "No."), "x")[2]["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("param", "message", "shown"),
    [
        ("max_tokens", "Field required", "max_tokens: Field required"),
        ("messages[0].content[11].type", "Unknown.", "messages.0.content.11.type: Unknown."),
        ("tools[2]", "tools.2: Said already.", "tools.2: Said already."),
        ("tools[2]", "tools[2]: Said already.", "tools.2: Said already."),
        (None, "Plain.", "Plain."),
    ],
)
def test_the_path_stands_in_front(param, message, shown):
    assert message_of(GatewayError("invalid_request", message, param=param)) == shown


def test_an_unknown_model_is_named_the_way_clients_read_it():
    assert message_of(not_found("claude-2-nonsense")) == "model: claude-2-nonsense"
    google = GatewayError("model_not_found", "models/x is not found for API version v1beta", param="model")
    assert message_of(google) == "model: models/x is not found for API version v1beta"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "The input token count (1048578) exceeds the maximum number of tokens allowed (1048576).",
            "prompt is too long: 1048578 tokens > 1048576 maximum",
        ),
        (
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            "prompt is too long: more than 1048576 tokens > 1048576 maximum",
        ),
        (
            "Prompt token count of 1,200,000 exceeds the context of gemini-2.5-flash-001 (1,048,576).",
            "prompt is too long: 1200000 tokens > 1048576 maximum",
        ),
        ("The prompt exceeds the model's context.", "prompt is too long"),
    ],
)
def test_an_overflow_has_the_wording_that_makes_agents_compact(said, shown):
    assert overflow(said) == shown
    assert message_of(GatewayError("context_length_exceeded", said, param="messages")) == shown


def test_the_codes_that_sdks_branch_on():
    error, _ = raised_by_sdk(GatewayError("invalid_request", "No.", reason="thread_unsupported_request"))
    assert error.error_code == "thread_unsupported_request"
    code = "request_body_encoding_unsupported"
    error, _ = raised_by_sdk(GatewayError("unsupported_media_type", "No.", reason=code))
    assert (error.status_code, error.error_code) == (400, code)
    error, _ = raised_by_sdk(GatewayError("invalid_request", "No.", reason="level_unsupported"))
    assert error.error_code is None


@pytest.mark.parametrize(
    ("error", "wire_type"),
    [
        (GatewayError("upstream_interrupted", "Broke.", reason="overloaded"), "overloaded_error"),
        (GatewayError("upstream_interrupted", "Broke.", reason="rate_limited"), "rate_limit_error"),
        (GatewayError("upstream_interrupted", "Broke.", reason="timeout"), "timeout_error"),
        (GatewayError("upstream_interrupted", "Broke.", reason="internal"), "api_error"),
        (GatewayError("upstream_interrupted", "Broke.", reason="per_day"), "rate_limit_error"),
        (GatewayError("upstream_interrupted", "Broke."), "api_error"),
        (GatewayError("upstream_overloaded", "Full."), "overloaded_error"),
        (GatewayError("upstream_truncated", "Cut."), "api_error"),
        (GatewayError("upstream_timeout", "Late."), "timeout_error"),
    ],
)
def test_a_stream_that_breaks_ends_in_an_error_event(error, wire_type):
    out = renderer(Translation(request={}, options=MessagesOptions()), ReplyContext("01TEST", 0, "m"))
    raw = b"".join(out.feed(event) for event in (Start("", ""), BlockStart(0, "text"), BlockDelta(0, "Well")))
    raw += out.fail(error)
    assert pairs_of(raw)[-1] == (
        "error",
        {"type": "error", "error": {"type": wire_type, "message": error.message}, "request_id": "req_01TEST"},
    )
    with (
        streaming(raw) as sdk,
        pytest.raises(anthropic.APIStatusError) as caught,
        sdk.messages.stream(**ASK) as stream,
    ):
        stream.until_done()
    assert (caught.value.type, caught.value.api_message) == (wire_type, error.message)


@pytest.mark.parametrize(
    ("reason", "status", "wire_type", "retry"),
    [
        ("overloaded", 529, "overloaded_error", None),
        ("rate_limited", 429, "rate_limit_error", None),
        ("timeout", 504, "timeout_error", None),
        ("internal", 500, "api_error", None),
        ("per_day", 429, "rate_limit_error", "false"),
        ("spent", 429, "rate_limit_error", "false"),
        (None, 502, "api_error", None),
    ],
)
def test_a_buffered_answer_that_breaks_has_the_status_of_its_type(reason, status, wire_type, retry):
    answered, body, headers = render_error(GatewayError("upstream_interrupted", "Broke.", reason=reason), "01TEST")
    assert (answered, body["error"]["type"], headers.get("x-should-retry")) == (status, wire_type, retry)


def test_limit_headers_tell_what_is_limited():
    limits = LimitState(
        requests_limit=60, requests_remaining=59, requests_reset=0.4, tokens_limit=10, tokens_remaining=-3
    )
    assert limit_headers(limits, 1_795_000_000) == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-requests-reset": "2026-11-18T11:06:41Z",
        "anthropic-ratelimit-tokens-limit": "10",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2026-11-18T11:06:40Z",
    }
    assert limit_headers(LimitState(), 0) == {}


def test_a_client_that_brings_its_own_request_id_gets_it_back():
    assert reply_headers("req_mine", 1)["request-id"] == "req_mine"
