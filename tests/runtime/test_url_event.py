"""An HTTP request as payload 2.0."""

import base64
import json
from typing import Any

from infra.local.url_event import UrlRequest, build_event, encode_event


def event_of(
    target: str = "/", headers: list[tuple[str, str]] | None = None, body: bytes = b"", method: str = "POST"
) -> dict[str, Any]:
    request = UrlRequest(
        method, target, [("Host", "a.lambda-url.us-east-1.on.aws"), *(headers or [])], body, "192.0.2.7"
    )
    return build_event(request, request_id="r1", now=1_795_262_400.5)


def test_path_and_query_stay_as_sent() -> None:
    event = event_of("/v1beta/models/tunedModels%2Fx:generateContent?a=1&b=%20&a=2&c")
    assert event["rawPath"] == "/v1beta/models/tunedModels%2Fx:generateContent"
    assert event["rawQueryString"] == "a=1&b=%20&a=2&c"
    assert event["queryStringParameters"] == {"a": "1,2", "b": " ", "c": ""}
    assert event["requestContext"]["http"]["path"] == "/v1beta/models/tunedModels/x:generateContent"
    assert "queryStringParameters" not in event_of("/")


def test_headers_are_lower_case_and_joined() -> None:
    headers = event_of(
        headers=[("X-A", "1"), ("x-a", "2"), ("Connection", "keep-alive"), ("X-Forwarded-For", "198.51.100.1")]
    )["headers"]
    assert headers == {
        "host": "a.lambda-url.us-east-1.on.aws",
        "x-a": "1,2",
        "x-forwarded-for": "198.51.100.1, 192.0.2.7",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
    }


def test_a_client_cannot_claim_to_use_plain_http() -> None:
    assert event_of(headers=[("X-Forwarded-Proto", "http")])["headers"]["x-forwarded-proto"] == "https"


def test_cookies_are_a_list_of_their_own() -> None:
    event = event_of(headers=[("Cookie", "a=1; b=2"), ("cookie", "c=3")])
    assert event["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookie" not in event["headers"]
    assert "cookies" not in event_of()


def test_body_is_text_only_if_type_and_bytes_say_so() -> None:
    text, binary = "\u00fc".encode(), b"\xff\x00"
    for content_type, body, encoded in [
        ("application/json; charset=utf-8", text, False),
        ("text/plain", text, False),
        ("application/json", binary, True),
        ("image/png", text, True),
        ("", text, True),
    ]:
        event = event_of(headers=[("Content-Type", content_type)] if content_type else [], body=body)
        assert event["isBase64Encoded"] is encoded
        assert event["body"] == (base64.b64encode(body).decode() if encoded else body.decode())
    assert "body" not in event_of()


def test_context() -> None:
    context = event_of("/x")["requestContext"]
    assert context["http"]["sourceIp"] == "192.0.2.7"
    assert context["domainName"] == "a.lambda-url.us-east-1.on.aws"
    assert context["domainPrefix"] == context["apiId"] == "a"
    assert (context["timeEpoch"], context["time"]) == (1_795_262_400_500, "21/Nov/2026:12:00:00 +0000")
    assert context["requestId"] == "r1"


def test_event_is_json() -> None:
    event = event_of(body=b"{}", headers=[("Content-Type", "application/json")])
    assert json.loads(encode_event(event)) == event
