import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ERROR_KINDS, GatewayError
from shared.gemini.errors import from_chunk, from_response, is_retryable, redact

RECORDED = sorted((Path(__file__).parents[1] / "golden" / "gemini_errors").glob("*.json"))
KEY = "AIzaSyA-1234567890abcdefghijklmnopqrstuv"


def body(code: int, message: str, status: str = "", details: list[dict[str, Any]] | None = None) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    return json.dumps({"error": error if details is None else {**error, "details": details}}, indent=2).encode()


def judged(code: int, message: str, details: list[dict[str, Any]] | None = None) -> GatewayError:
    return from_response(code, body(code, message, details=details))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_errors(path: Path) -> None:
    recording = json.loads(path.read_text())
    assert recording["source"] and recording["license"]
    error = from_response(recording["status"], recording["body"].encode())
    found = {"kind": error.kind, "reason": error.reason, "param": error.param, "retry_after": error.retry_after}
    assert found == recording["expect"]


@pytest.mark.parametrize(
    ("code", "message", "kind", "reason"),
    [
        (400, "Request contains an invalid argument.", "invalid_request", None),
        (400, "API key not valid. Please pass a valid API key.", "upstream_auth", "api_key_invalid"),
        (400, "API key expired. Please renew the API key.", "upstream_auth", "api_key_invalid"),
        (400, "User location is not supported for the API use.", "upstream_auth", "location"),
        (400, "Multiple authentication credentials received. Please pass only one.", "upstream_auth", "credentials"),
        (
            400,
            "The input token count (2097153) exceeds the maximum number of tokens allowed (1048576).",
            "context_length_exceeded",
            None,
        ),
        (400, "Request payload size exceeds the limit: 20971520 bytes.", "request_too_large", None),
        (
            400,
            "Function call is missing a thought_signature in functionCall parts. This is required",
            "invalid_request",
            "missing_signature",
        ),
        (
            400,
            "Thinking level MINIMAL is not supported for this model. Please retry with other thinking level.",
            "invalid_request",
            "level_unsupported",
        ),
        (400, "Thinking level is not supported for this model.", "invalid_request", "level_unsupported"),
        (
            400,
            "You can only set only one of thinking budget and thinking level.",
            "invalid_request",
            "level_and_budget",
        ),
        (400, "Budget 0 is invalid. This model only works in thinking mode.", "invalid_request", "budget_unsupported"),
        (400, "Logprobs is not enabled for models/gemini-3.8-flash", "invalid_request", "logprobs"),
        (
            400,
            "Invalid JSON payload received. Unknown name \"parametersJsonSchema\" at 'tools[0]': Cannot find field.",
            "invalid_request",
            "json_schema",
        ),
        (401, "Request had invalid authentication credentials.", "upstream_auth", "credentials"),
        (403, "Your API key was reported as leaked. Please use another API key.", "upstream_auth", "leaked"),
        (
            403,
            "Method doesn't allow unregistered callers (callers without established identity).",
            "upstream_auth",
            "forbidden",
        ),
        (403, "The caller does not have permission", "upstream_auth", "denied"),
        (403, "You do not have permission to access the File abc or it may not exist.", "not_found", None),
        (403, "CachedContent not found (or permission denied)", "not_found", None),
        (
            404,
            "models/x is not found for API version v1beta, or is not supported for generateContent.",
            "model_not_found",
            None,
        ),
        (404, "This model models/gemini-2.5-pro is no longer available to new users.", "model_not_found", None),
        (404, "Requested entity was not found.", "not_found", None),
        (408, "", "upstream_timeout", None),
        (413, "Too large", "request_too_large", None),
        (429, "Resource has been exhausted (e.g. check quota).", "upstream_rate_limited", None),
        (429, "Your project has exceeded its monthly spending cap.", "upstream_quota", "spent"),
        (499, "The operation was cancelled.", "upstream_invalid_response", "status"),
        (500, "An internal error has occurred. Please retry or report", "upstream_internal", None),
        (502, "Bad Gateway", "upstream_unreachable", None),
        (503, "This model is currently experiencing high demand.", "upstream_overloaded", None),
        (504, "Deadline expired before operation could complete.", "upstream_timeout", None),
        (529, "", "upstream_overloaded", None),
        (302, "", "upstream_invalid_response", "status"),
        (418, "", "upstream_invalid_response", "status"),
    ],
)
def test_every_row_of_the_table(code: int, message: str, kind: str, reason: str | None) -> None:
    error = judged(code, message)
    assert (error.kind, error.reason) == (kind, reason)
    assert error.message
    assert is_retryable(error) == (code in (408, 500, 502, 503, 504, 529) or kind == "upstream_rate_limited")


def test_a_denial_that_google_explains_is_about_the_credential() -> None:
    details: list[dict[str, Any]] = [{"@type": "x/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]
    assert judged(403, "The caller does not have permission", details).reason == "forbidden"


def test_our_own_trouble_says_nothing_of_credentials() -> None:
    for code, message in ((400, "API key not valid."), (401, "no"), (403, "leaked")):
        assert "key" not in judged(code, message).message.lower()


def quota(quota_id: str, delay: str | None = None) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = [{"@type": "x/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]}]
    return details + ([{"@type": "x/google.rpc.RetryInfo", "retryDelay": delay}] if delay else [])


def test_quotas() -> None:
    message = (
        "You exceeded your current quota.\n* Quota exceeded for metric: m, limit: 250\nPlease retry in 25.465784708s."
    )
    minute = judged(429, message, quota("GenerateRequestsPerMinutePerProjectPerModel", "34.4s"))
    assert (minute.kind, minute.retry_after) == ("upstream_rate_limited", 34.4)
    assert minute.message.endswith("Please try again in 34.4s.")  # clients look for a number and its unit together
    assert judged(429, message).retry_after == 25.465784708
    assert judged(429, "Please retry in 250ms.").retry_after == 0.25
    assert judged(429, "Resource has been exhausted (e.g. check quota).").retry_after is None
    day = judged(429, message, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "34.4s"))
    assert (day.kind, day.retry_after) == ("upstream_quota", None)
    assert judged(429, "Quota exceeded for metric: x, limit: 0, model: y").kind == "upstream_quota"


@pytest.mark.parametrize(
    ("field", "param"),
    [
        (
            "tools[0].function_declarations[5].parameters.properties[8].value.any_of[2]",
            "tools[5].parameters.properties[8].value.any_of[2]",
        ),
        ("tools[0]", "tools[0]"),
        ("generation_config.temperature", "temperature"),
        ("contents[3].parts[0]", None),
    ],
)
def test_field_paths_become_parameters(field: str, param: str | None) -> None:
    violations = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": field}]}]
    assert judged(400, "Invalid JSON payload received.", violations).param == param
    assert judged(400, f"* GenerateContentRequest.{field}: should be non-empty").param == param
    assert (
        judged(400, f"Invalid JSON payload received. Unknown name \"x\" at '{field}': Cannot find field.").param
        == param
    )


@pytest.mark.parametrize(
    "wrapped",
    [b"%s", b"[%s\n]", b"data: %s\r\n\r\n", b"\xef\xbb\xbf%s", b"  %s\n", b"data: [%s]"],
)
def test_every_wrapping_of_the_envelope_is_understood(wrapped: bytes) -> None:
    assert from_response(503, wrapped % body(503, "busy")).kind == "upstream_overloaded"
    assert from_response(400, wrapped % body(400, "wrong")).message == "wrong"


@pytest.mark.parametrize(
    "data", [b"", b"<html>secret</html>", b"not json", b"[]", b'{"a": 1}', b'{"error": "x"}', b"\xff\xfe"]
)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_answer_in_another_form_is_not_the_clients_fault(status: int, data: bytes) -> None:
    error = from_response(status, data)
    assert error.kind == "upstream_invalid_response"
    assert "secret" not in error.message


def test_statuses_that_need_no_body() -> None:
    assert from_response(429, b"").kind == "upstream_rate_limited"
    assert from_response(413, b"<html>").kind == "request_too_large"
    assert from_response(503, b"<html>").kind == "upstream_overloaded"


@pytest.mark.parametrize(
    "message",
    [
        f"API key {KEY} is wrong",
        f"GET https://host/v1beta/models?key={KEY}&alt=sse failed",
        "bad token Bearer ya29.abcdef",
        "bad x-goog-api-key: AQ.Ab12345678",
        "Consumer 'api_key:AIzaSyAabcdefgh' has been suspended",
        "sk-gw1_0123456789abcdef",
        "not used in project 123456789012 before",
        "consumer project_number:123456789012",
    ],
)
def test_secrets_are_redacted(message: str) -> None:
    shown = judged(400, message).message
    for secret in (KEY, "AIzaSyAabcdefgh", "ya29.abcdef", "AQ.Ab12345678", "0123456789abcdef", "123456789012"):
        assert secret not in shown
    assert "[redacted]" in shown


def test_details_are_never_passed_on() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": f"key {KEY}"}]
    error = judged(400, "Request contains an invalid argument.", details)
    assert KEY not in repr(error)
    assert KEY not in error.message


def test_quoted_values_of_the_request_are_left_out() -> None:
    first, second = "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING)", "Invalid value at 'x' (TYPE_INT32)"
    assert redact(f'{first}, "my secret prompt"\n{second}, 5') == f"{first}. {second}."


def test_messages_are_of_bounded_length() -> None:
    assert len(judged(400, "x" * 100_000).message) < 1100


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 503, "message": "busy", "status": "UNAVAILABLE"}, "upstream_overloaded"),
        ({"code": 429, "message": "slow down"}, "upstream_rate_limited"),
        ({"code": "500", "message": "x"}, "upstream_internal"),
        ({"status": "DEADLINE_EXCEEDED"}, "upstream_timeout"),
        ({"code": 499, "status": "CANCELLED"}, "upstream_invalid_response"),
        ({"code": 400, "message": "bad"}, "invalid_request"),
        ({}, "upstream_unreachable"),
        ("text", "upstream_unreachable"),
        (None, "upstream_unreachable"),
    ],
)
def test_error_objects_in_a_stream(error: Any, kind: str) -> None:
    assert from_chunk(error).kind == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "code",
                    "message",
                    "status",
                    "details",
                    "violations",
                    "field",
                    "retryDelay",
                    "fieldViolations",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.integers(100, 999), st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_is_judged_without_a_crash(status: int, data: bytes) -> None:
    assert from_response(status, data).kind in ERROR_KINDS


@given(JSON)
def test_any_error_value_is_judged_without_a_crash(value: Any) -> None:
    assert from_chunk(value).kind in ERROR_KINDS
