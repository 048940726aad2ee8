"""The scope our loop builds is the scope Mangum builds, for every event we have."""

import json
from pathlib import Path
from typing import Any

import pytest
from mangum import Mangum
from mangum.handlers import HTTPGateway

from shared.lambda_runtime.event import body_of, is_payload_v2, scope_of
from shared.lambda_runtime.invocation import Context

EVENTS = sorted((Path(__file__).parents[1] / "events").glob("*.json"))
CONTEXT = Context("r1", 1_795_262_400_000, "arn:aws:lambda:us-east-1:123456789012:function:f")


def load(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "events" / f"{name}.json").read_text())


def through_mangum(event: dict[str, Any]) -> HTTPGateway:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("never called")

    return Mangum(app).infer(event, CONTEXT)


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
async def test_scope_and_body_are_mangums(path: Path) -> None:
    event = json.loads(path.read_text())
    if not is_payload_v2(event):
        assert path.stem == "rest_proxy_v1"
        return
    theirs = through_mangum(event)
    ours, expected = scope_of(event, CONTEXT), theirs.scope
    raw_path = ours.pop("raw_path")
    assert expected.pop("raw_path") is None
    assert raw_path == (event["rawPath"].encode() if "rawPath" in event else None)
    assert ours == expected
    assert body_of(event) == theirs.body


def test_there_are_enough_events() -> None:
    assert {"chat_buffered", "chat_stream", "base64_body", "cookies", "query", "absent_fields"} <= {
        p.stem for p in EVENTS
    }


def test_path_is_unquoted_once() -> None:
    event = load("chat_stream")
    event["rawPath"] = "/v1/a%2520b"
    event["requestContext"]["http"]["path"] = "/v1/a%20b"
    assert scope_of(event, CONTEXT)["path"] == "/v1/a%20b"
    assert scope_of(event, CONTEXT)["raw_path"] == b"/v1/a%2520b"


@pytest.mark.parametrize("field", ["headers", "cookies", "rawPath", "rawQueryString", "body", "isBase64Encoded"])
def test_null_is_absent(field: str) -> None:
    absent, null = load("chat_stream"), load("chat_stream")
    absent.pop(field, None)
    null[field] = None
    one, other = scope_of(absent, CONTEXT), scope_of(null, CONTEXT)
    del one["aws.event"], other["aws.event"]
    assert one == other
    assert body_of(absent) == body_of(null)


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("[::1]:80", ("[::1]", 80)),
        ("", ("", 443)),
        ("a:b:c", ("a:b:c", 443)),
        ("x:99", ("x", 99)),
        (":", (":", 443)),
        ("x:\u0663", ("x", 3)),
    ],
)
def test_no_host_header_breaks_the_scope(host: str, server: tuple[str, int]) -> None:
    event = load("chat_stream")
    event["headers"]["host"] = host
    assert scope_of(event, CONTEXT)["server"] == server


@pytest.mark.parametrize(
    "event", [{}, [], "text", None, 7, {"version": "2.0"}, {"version": "2.0", "requestContext": None}]
)
def test_what_is_no_function_url_event(event: object) -> None:
    assert not is_payload_v2(event)


def test_context_counts_down_and_stops_at_zero() -> None:
    assert CONTEXT.get_remaining_time_in_millis() >= 0
    assert Context("r", 0, "arn").get_remaining_time_in_millis() == 0
