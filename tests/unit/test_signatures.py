import base64
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gemini.catalog import Capabilities, resolve
from shared.gemini.signatures import (
    SENTINEL,
    FoundSignature,
    call_key,
    complete,
    content_key,
    is_dummy,
    text_key,
    usable,
)

TODAY = date(2026, 11, 21)


def caps(model: str) -> Capabilities:
    return resolve(model, TODAY).capabilities


NEW, OLD, GEMMA = caps("gemini-3.8-flash"), caps("gemini-2.5-flash"), caps("gemma-4-31b-it")


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def call(name: str = "f", signature: str | None = None) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": name, "args": {}}}
    return part if signature is None else {**part, "thoughtSignature": signature}


def result(name: str = "f") -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {}}}


def signatures(contents: Any) -> list[list[str | None]]:
    return [[part.get("thoughtSignature") for part in content["parts"]] for content in contents]


HELLO = {"text": "hello"}


def test_the_first_unsigned_call_of_each_step_of_the_current_turn_gets_the_dummy() -> None:
    contents = [
        user(HELLO),
        model(call("a"), call("b")),
        user(result("a"), result("b")),
        model(call("c")),
        user(result("c")),
    ]
    assert signatures(complete(contents, NEW)) == [[None], [SENTINEL, None], [None, None], [SENTINEL], [None]]


def test_real_signatures_stay_where_they_are() -> None:
    contents = [user(HELLO), model(call("a", "AAAA"), call("b")), user(result("a"), result("b"))]
    assert complete(contents, NEW) == contents


def test_a_signature_on_a_later_call_does_not_move_to_the_first() -> None:
    contents = [user(HELLO), model(call("a"), call("b", "BBBB")), user(result("a"), result("b"))]
    assert signatures(complete(contents, NEW))[1] == [SENTINEL, "BBBB"]


def test_earlier_turns_are_left_as_they_are() -> None:
    contents = [user(HELLO), model(call()), user(result()), model({"text": "done"}), user(HELLO)]
    assert complete(contents, NEW) == contents


def test_text_beside_results_belongs_to_the_running_turn() -> None:
    contents = [user(HELLO), model(call()), user(result(), HELLO)]
    assert signatures(complete(contents, NEW))[1] == [SENTINEL]


def test_text_before_the_first_call_gets_nothing() -> None:
    contents = [user(HELLO), model(HELLO, call()), user(result())]
    assert signatures(complete(contents, NEW))[1] == [None, SENTINEL]


def test_one_signature_is_used_once() -> None:
    contents = [
        user(HELLO),
        model(call("a", "AAAA"), call("b", "AAAA")),
        user(result("a"), result("b")),
        model(call("a", "AAAA")),
    ]
    assert signatures(complete(contents, NEW)) == [[None], ["AAAA", None], [None, None], [SENTINEL]]


@pytest.mark.parametrize("dummy", [SENTINEL, base64.b64encode(SENTINEL.encode()).decode()])
def test_dummies_of_clients_are_put_in_order(dummy: str) -> None:
    contents = [user(HELLO), model(call("a", dummy), call("b", dummy)), user(result("a"), result("b"))]
    assert is_dummy(dummy)
    assert signatures(complete(contents, NEW))[1] == [SENTINEL, None]
    assert signatures(complete(contents, OLD))[1] == [None, None]


def test_older_models_keep_real_signatures_and_get_no_dummy() -> None:
    contents = [user(HELLO), model(call("a", "AAAA"), call("b")), user(result("a"), result("b")), model(call("c"))]
    assert complete(contents, OLD) == contents


def test_gemma_gets_no_signature_at_all() -> None:
    contents = [user(HELLO), model({"text": "x", "thoughtSignature": "TTTT"}, call("a", "AAAA")), user(result("a"))]
    assert signatures(complete(contents, GEMMA)) == [[None], [None, None], [None]]


def test_the_given_contents_are_not_changed() -> None:
    contents = [user(HELLO), model(call("a", "AAAA"), call("b", "AAAA")), user(result("a"))]
    before = str(contents)
    complete(contents, NEW)
    assert str(contents) == before


def test_a_signature_of_another_family_is_not_usable() -> None:
    assert usable(FoundSignature("AAAA", family=NEW.family), NEW) == "AAAA"
    assert usable(FoundSignature("AAAA"), NEW) == "AAAA"
    assert usable(FoundSignature("AAAA", family="2.5"), NEW) is None
    assert usable(None, NEW) is None


def test_content_keys_do_not_depend_on_key_order_or_number_spelling() -> None:
    assert content_key("3", "f", {"a": 1, "b": [1.0]}) == content_key("3", "f", {"b": [1], "a": 1.0})
    assert content_key("3", "f", {"a": 1}) != content_key("3", "f", {"a": "1"})
    assert content_key("3", "f", {}) != content_key("4", "f", {})


def test_text_keys_forgive_trimming() -> None:
    assert text_key("3", "hi\n") == text_key("3", "hi")
    assert text_key("3", "hi") != text_key("3", "ho")


@given(st.text(), st.text())
def test_keys_are_bounded_opaque_and_distinct(first: str, second: str) -> None:
    assert len(call_key(first)) <= 48
    assert call_key(first).isascii()
    assert (call_key(first) == call_key(second)) == (first == second)
    assert call_key(first) != text_key("", first)


def test_joined_words_do_not_collide() -> None:
    assert content_key("a", "bc", {}) != content_key("ab", "c", {})
