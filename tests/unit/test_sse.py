import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.sse import SseEvent, SseSplitter, frame


def split(*pieces: bytes) -> list[SseEvent]:
    splitter = SseSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_understood(end: bytes) -> None:
    assert split(b"data: a" + end + end + b"data: b" + end + end) == [SseEvent(b"a"), SseEvent(b"b")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_comes_out_with_its_blank_line_and_not_later(end: bytes) -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a" + end) == []
    assert splitter.feed(end) == [SseEvent(b"a")]


def test_line_separators_of_unicode_are_data() -> None:
    data = '{"text": "a\u2028b\u2029c\u0085d\x0be"}'.encode()
    assert split(b"data: " + data + b"\r\n\r\n") == [SseEvent(data)]


def test_several_data_lines_are_joined() -> None:
    assert split(b"data: a\ndata:b\ndata\n\n") == [SseEvent(b"a\nb\n")]


def test_names_comments_and_unknown_fields() -> None:
    assert split(b": hello\nevent: ping\nid: 4\nretry: 9\nfoo: bar\nfoo\ndata: a\n\ndata: b\n\n") == [
        SseEvent(b"a", "ping"),
        SseEvent(b"b"),
    ]


def test_an_event_without_data_is_none() -> None:
    assert split(b"event: ping\n\n: only a comment\n\n") == []


def test_a_byte_order_mark_is_skipped_even_in_pieces() -> None:
    assert split(b"\xef", b"\xbb", b"\xbfdata: a\n\n") == [SseEvent(b"a")]


@pytest.mark.parametrize("tail", [b"data: b", b"data: b\n", b"data: b\r\n", b"data: b\r"])
def test_a_missing_final_blank_line_is_forgiven(tail: bytes) -> None:
    assert split(b"data: a\n\n" + tail) == [SseEvent(b"a"), SseEvent(b"b")]


PRETTY = b'{\r\n  "error": {\r\n    "message": "a { brace and a \\" quote",\r\n\r\n    "code": 503\r\n  }\r\n}'


def test_an_object_outside_of_any_field_comes_out_whole() -> None:
    found = split(b"data: a\r\n\r\n" + PRETTY + b"\r\n\r\ndata: b\r\n\r\n")
    assert found == [SseEvent(b"a"), SseEvent(PRETTY.replace(b"\r\n", b"\n"), kind="bare"), SseEvent(b"b")]


def test_an_array_outside_of_any_field_comes_out_whole_at_the_end_of_the_bytes() -> None:
    assert split(b'[{"error": {"code": 400}}\n]') == [SseEvent(b'[{"error": {"code": 400}}\n]', kind="bare")]


def test_a_cut_object_is_handed_over_as_it_is() -> None:
    assert split(b'data: a\n\n{"error": {\n  "code": 5') == [
        SseEvent(b"a"),
        SseEvent(b'{"error": {\n  "code": 5', kind="bare"),
    ]


PIECES = [
    b"data: ",
    b"event: x",
    b"a",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b": c",
    b"{",
    b"}",
    b'"',
    b"[",
    b"]",
    b"\xef\xbb\xbf",
    "ü\u2028".encode(),
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.data())
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", None)
def test_chunking_never_matters(data: bytes, draw: st.DataObject | None) -> None:
    whole = split(data)
    assert split(*[data[i : i + 1] for i in range(len(data))]) == whole
    if draw is not None:
        cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
        bounds = [0, *cuts, len(data)]
        assert split(*[data[a:b] for a, b in itertools.pairwise(bounds)]) == whole


PLAIN = [b"data: a\r\n\r\n", b"data: \r\n\r\n", b'data: {"text": "data: b"}\r\n\r\n', b"data:  c \r\n\r\n"]


@given(st.lists(st.sampled_from(PLAIN * 3 + PIECES), min_size=1, max_size=12), st.integers(0, 60))
def test_events_taken_together_are_those_read_line_by_line(pieces: list[bytes], cut: int) -> None:
    """A byte at a time no event is ever there as a whole, so that every line goes the general way."""
    data = b"".join(pieces)
    slowly = split(*[data[i : i + 1] for i in range(len(data))])
    assert split(data) == slowly
    assert split(data[:cut], data[cut:]) == slowly


@pytest.mark.parametrize(
    "data",
    [
        b"data: " + b"x" * 60,
        b"data: " + b"x" * 60 + b"\n\n",
        b"data: " + b"x" * 60 + b"\r\n\r\n",
        b"data: x\n" * 30,
        b"{\n" + b'"x",\n' * 30,
    ],
)
def test_an_event_over_the_cap_is_refused_however_it_is_cut(data: bytes) -> None:
    for size in (1, len(data)):
        splitter = SseSplitter(max_event_bytes=50)
        with pytest.raises(GatewayError) as caught:
            for at in range(0, len(data), size):
                splitter.feed(data[at : at + size])
            splitter.close()
        assert caught.value.kind == "upstream_invalid_response"


def test_the_total_is_capped() -> None:
    splitter = SseSplitter(max_total_bytes=100)
    with pytest.raises(GatewayError):
        for _ in range(20):
            splitter.feed(b"data: x\n\n")


def test_one_large_event_in_small_pieces_takes_linear_time() -> None:
    splitter, piece = SseSplitter(), b"x" * 1024
    splitter.feed(b"data: ")
    for _ in range(20_000):
        assert splitter.feed(piece) == []
    assert len(splitter.feed(b"\n\n")[0].data) == 20_000 * 1024


@given(st.text(), st.sampled_from([None, "ping"]))
def test_frames_are_read_back(text: str, name: str | None) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    data = text.encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    expected = [SseEvent(data, name or "")]
    assert split(frame(text, name)) == expected
    assert split(frame(data, name)) == expected


def test_a_frame_is_lf_framed() -> None:
    assert frame('{"a": 1}') == b'data: {"a": 1}\n\n'
    assert frame(b"x", "ping") == b"event: ping\ndata: x\n\n"
