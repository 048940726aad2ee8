"""The JSON guard: everything `json.loads` would let pass and must not, and what must pass unharmed."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.json_codec import (
    MAX_DEPTH,
    MAX_NODES,
    _bound,
    _bound_closely,
    _deeper,
    decode_object,
    decode_reply,
    encode,
    encode_string,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e6, 1e6).map(lambda number: int(number) if number.is_integer() else number)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


text_with_halves = st.text(st.sampled_from("aé\U0001f600\ud800\udbff\udc00\udfff\ud7ff\ue000\\\x1b"), max_size=5)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values))
def test_what_is_encoded_decodes_to_the_same(value):
    assert decode_object(encode(value)) == value


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"[1]", "object"),
        (b'"x"', "object"),
        (b'{"a":1', "line 1 column"),
        (b'{"a":1} {"b":2}', "line 1 column"),
        (b'{"a":1,}', "line 1 column"),
        (b'{/* c */"a":1}', "line 1 column"),
        (b'{"a":"\n"}', "line 1 column"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16"), "UTF-8"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":18446744073709551616}', "64 bits"),
        (b'{"a":' + b"9" * 5000 + b"}", "64 bits"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"x":[{"a":1,"a":1}]}', "twice"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "deeper"),
        (b'{"a":[' + b"[]," * MAX_NODES + b"1]}", "more than"),
    ],
)
def test_refused(raw, word):
    with pytest.raises(GatewayError, match=word) as caught:
        decode_object(raw)
    assert caught.value.kind == "invalid_json"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":1.0}', {"a": 1}),
        (b'{"a":-0}', {"a": 0}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"[[[{{{,,,\\"]]]"}', {"a": '[[[{{{,,,"]]]'}),
        (b'{"a":"\\u0000"}', {"a": "\0"}),
        (b'\n {"a":[1, 2]} \n', {"a": [1, 2]}),
    ],
)
def test_accepted(raw, value):
    assert decode_object(raw) == value


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.integers()
        | st.integers(-(2**66), 2**66)
        | st.floats(allow_nan=False)
        | st.text()
        | st.text("0123456789", min_size=17, max_size=20)
        | st.lists(st.integers()),
    )
)
def test_the_arguments_of_a_call_are_what_the_upstream_wrote(args):
    """Integers of any length, infinities, halves of surrogate pairs: as the standard library reads them."""
    data = json.dumps({"functionCall": {"name": "f", "args": args}}).encode()
    read = decode_reply(data)
    assert read == json.loads(data)
    assert json.dumps(read) == json.dumps(json.loads(data))


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**19, 10**18, 10**40, "9" * 25, 0.1, 1e300])
@pytest.mark.parametrize("sign", ["", "-"])
def test_numbers_of_any_length_in_a_call_are_exact(number, sign):
    data = b'{"functionCall":{"name":"f","args":{"a":[%s%s]}}}' % (sign.encode(), str(number).encode())
    read = decode_reply(data)
    assert read == json.loads(data)
    assert json.dumps(read) == json.dumps(json.loads(data))


@given(st.text("[]{},", max_size=200))
def test_depth_is_that_of_the_open_brackets(text):
    """Against a count of one bracket after another, for what is balanced."""
    depth, deepest, least = 0, 0, 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest, least = max(deepest, depth), min(least, depth)
    brackets = text.replace(",", "").translate(str.maketrans("[{]}", "(())")).encode()
    if depth == least == 0:
        assert [_deeper(brackets, levels) for levels in range(1, 12)] == [deepest > levels for levels in range(1, 12)]
    else:
        assert not _deeper(brackets, deepest - least + 1)


def test_what_nobody_closes_is_refused_in_no_time():
    """Quotes, brackets: each of these took, or could take, the square of its length."""
    for body in (b'{"a":"' + b'\\"' * 500_000, b'{"a":' + b"[" * 1_000_000, b"]" * 1_000_000, b'{"a":"\\' * 100_000):
        began = time.process_time()
        with pytest.raises(GatewayError):
            decode_object(body)
        assert time.process_time() - began < 2


def test_brackets_inside_strings_do_not_count():
    text = "[" * (MAX_DEPTH * 4) + "," * (MAX_NODES + 10)
    assert decode_object(encode({"a": text})) == {"a": text}


def test_frames_hold_no_character_that_clients_take_for_a_line_end():
    raw = encode({"a": "x\u2028y\u2029z\x85é"})
    assert not {"\u2028", "\u2029", "\x85", "\n"} & set(raw.decode())
    assert "é" in raw.decode()
    assert json.loads(raw) == {"a": "x\u2028y\u2029z\x85é"}


def test_a_lone_surrogate_from_the_upstream_is_written_as_its_escape():
    assert encode({"a": "\ud800"}) == b'{"a":"\\ud800"}'


def test_arrays_and_objects_are_bounded_where_numbers_may_be_many() -> None:
    numbers = b'{"input": [' + b"1," * 200_000 + b"1]}"
    assert len(decode_object(numbers, max_nodes=1_000_000)["input"]) == 200_001
    for piece in (b"[],", b"{},"):
        with pytest.raises(GatewayError):
            decode_object(b'{"input": [' + piece * 100_001 + b"1]}", max_nodes=1_000_000)


@given(st.text(st.characters(categories=["L", "Cs", "Zl", "Zp", "Cc", "P"])))
def test_a_string_is_encoded_like_any_value(text: str) -> None:
    assert encode_string(text) == encode(text)


@given(
    st.text('[]{},:"\\a1 ', max_size=60),
    st.integers(0, 70),
    st.sampled_from(["[", "{", ",", "]", "()"]),
    st.integers(0, 90),
)
def test_counting_first_refuses_what_looking_closely_refuses(text: str, times: int, more: str, max_nodes: int) -> None:
    def said(check: Callable[[bytes, int], None]) -> str:
        try:
            check((more * times + text).encode(), max_nodes)
        except GatewayError as error:
            return error.message
        return ""

    assert said(_bound) == said(_bound_closely)


@given(
    st.dictionaries(text_with_halves, text_with_halves | st.lists(text_with_halves) | st.integers(-(2**63), 2**64 - 1))
)
def test_half_a_character_is_refused_wherever_it_stands(value: dict[str, object]) -> None:
    raw = json.dumps(value).encode()
    read = json.loads(raw)  # two halves that fit are one character
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(read, ensure_ascii=False)):
        with pytest.raises(GatewayError, match="surrogate"):
            decode_object(raw)
    else:
        assert decode_object(raw) == read
