"""Prelude and error trailers as bytes."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from shared.lambda_runtime.reply import Fault, prelude_of


def parse(prelude: bytes) -> dict[str, object]:
    assert prelude.endswith(b"\0" * 8)
    assert prelude.count(b"\0") == 8
    return json.loads(prelude[:-8])


def test_prelude_joins_duplicates_and_keeps_cookies_apart() -> None:
    headers = [
        (b"Vary", b"accept"),
        (b"vary", b"origin"),
        (b"Set-Cookie", b"a=1, x"),
        (b"set-cookie", b"b=2"),
        (b"X", b"\xe9"),
    ]
    assert parse(prelude_of(201, headers)) == {
        "statusCode": 201,
        "headers": {"vary": "accept,origin", "x": "\u00e9"},
        "cookies": ["a=1, x", "b=2"],
    }


def test_prelude_drops_what_belongs_to_one_connection() -> None:
    headers = [(b"Content-Length", b"5"), (b"transfer-encoding", b"chunked"), (b"Connection", b"close")]
    assert parse(prelude_of(200, headers))["headers"] == {}


def test_statuses_without_a_body_become_200() -> None:
    assert [parse(prelude_of(status, []))["statusCode"] for status in (204, 205, 304, 404)] == [200, 200, 200, 404]


@given(message=st.text(alphabet=st.sampled_from('"\\\n\x00\x7f\u00fc\u4e16\U0001f600\ud800a'), max_size=3_000))
def test_trailers_stay_small_whatever_the_message(message: str) -> None:
    trailers = Fault("Runtime.X", message).trailers()
    assert sum(len(name) + len(value) + 4 for name, value in trailers) < 4_000
    document = json.loads(base64.b64decode(dict(trailers)["lambda-runtime-function-error-body"]))
    assert document["errorType"] == "Runtime.X"
    assert len(document["errorMessage"]) <= 1_000


def test_fault_of_an_exception() -> None:
    fields = Fault.of(ValueError("two\nlines")).fields()
    assert fields == {"errorType": "Runtime.ValueError", "errorMessage": "ValueError: two lines"}


def test_fault_of_a_class_named_in_another_script() -> None:
    header = Fault.of(type("F\u00e4hler", (Exception,), {})("x")).header()
    assert header == ("lambda-runtime-function-error-type", "Runtime.F?hler")


def test_credentials_do_not_reach_the_trailers() -> None:
    fault = Fault.of(RuntimeError("https://x/?key=AIzaSyNotARealKeyAtAll Bearer sk-gw1_abc_def"))
    assert "NotAReal" not in fault.fields()["errorMessage"]
    assert "sk-gw1" not in fault.fields()["errorMessage"]
