"""Names, ids, stop sequences, fences and echoes: the same answer whatever the chunking."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.contract import Translation
from shared.events import BlockDelta, BlockEnd, BlockStart, Citation, End, Start, ToolCall, Usage
from shared.gateway.shaping import Shaper, StopScan

END = End("stop", "STOP", Usage())


def shaped(events, **options):
    ids = count()
    shaper = Shaper(Translation(request={}, **options), lambda: f"call_{next(ids)}")
    shaped = []
    for event in events:
        shaped += shaper.feed(event)
        if shaper.stopped:
            return shaped + shaper.stop()
    return shaped


def text_events(pieces):
    return [
        Start("r", "m"),
        BlockStart(0, "text"),
        *(BlockDelta(0, piece) for piece in pieces if piece),
        BlockEnd(0, "sig"),
        END,
    ]


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, BlockDelta))


def cut_at_random(text, positions):
    marks = sorted({min(position, len(text)) for position in positions} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(marks)]


cuts = st.lists(st.integers(0, 200), max_size=30)


@given(cuts)
def test_the_first_stop_sequence_cuts_the_text_wherever_chunks_break(positions):
    text = "one two STOP three END four"
    out = shaped(text_events(cut_at_random(text, positions)), stop=("END", "STOP", "never"))
    assert text_of(out) == "one two "
    assert (out[-1].finish, out[-1].stop_sequence) == ("stop", "STOP")


@given(cuts)
def test_a_partial_match_at_the_end_is_text(positions):
    out = shaped(text_events(cut_at_random("wait for ST", positions)), stop=("STOP",))
    assert text_of(out) == "wait for ST"
    assert out[-1].stop_sequence is None


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1), st.lists(st.text("abc", min_size=1, max_size=5)))
def test_no_more_is_held_back_than_could_begin_a_stop_sequence(stops, pieces):
    scan, given_out = StopScan(stops), ""
    for end, piece in enumerate(pieces, 1):
        given_out += scan.feed(piece)
        said = "".join(pieces[:end])
        if scan.found is not None:
            assert given_out == min((said.partition(stop)[0] for stop in stops), key=len)
            return
        assert not any(stop in said for stop in stops)
        starts = [at for at in range(len(said)) if any(stop.startswith(said[at:]) for stop in stops)]
        assert given_out == said[: min(starts, default=len(said))]


def test_a_burst_to_be_left_alone_comes_back_as_it_was():
    shaper = Shaper(Translation(request={}), lambda: "call_1")
    burst = text_events(["one", "two"])
    assert shaper.feed_all(burst) is burst
    calls = shaper.feed_all([BlockDelta(0, "x"), ToolCall(1, "f", {})])
    assert [getattr(event, "call_id", None) for event in calls] == [None, "call_1"]


def test_nothing_is_called_after_a_stop():
    out = shaped([*text_events(["a STOP b"])[:-1], ToolCall(1, "f", {}), END], stop=("STOP",))
    assert not any(isinstance(event, ToolCall) for event in out)
    assert any(isinstance(event, BlockEnd) for event in out)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('\n```\n{"a": 1}\n```\n', '{"a": 1}'),
        ('{"a": "``` not a fence"}', '{"a": "``` not a fence"}'),
        ("{}", "{}"),
        ("```json\n{}```", "{}"),
        ("This prints one:\n```python\nprint(1)\n```", "This prints one:\n```python\nprint(1)\n```"),
        ("", ""),
    ],
)
@given(positions=cuts)
def test_fences_around_json_go(text, bare, positions):
    assert text_of(shaped(text_events(cut_at_random(text, positions)), unfence_json=True)) == bare


def test_each_block_has_its_own_fence():
    block = [BlockDelta(0, "```json\n{}\n```"), BlockEnd(0)]
    events = [BlockStart(0, "text"), *block, BlockStart(0, "text"), *block, END]
    assert text_of(shaped(events, unfence_json=True)) == "{}{}"


@pytest.mark.parametrize(
    ("answer", "rest"), [("Once upon a time", " a time"), (" a time", " a time"), ("Once", "Once"), ("Once upon", "")]
)
@given(positions=cuts)
def test_an_echoed_prefill_is_not_repeated(answer, rest, positions):
    assert text_of(shaped(text_events(cut_at_random(answer, positions)), echo_prefix="Once upon")) == rest


def test_reasoning_is_never_filtered():
    events = [BlockStart(0, "reasoning"), BlockDelta(0, "think STOP"), BlockEnd(0), *text_events(["x"])[1:]]
    assert text_of(shaped(events, stop=("STOP",))).startswith("think STOP")


def test_calls_get_the_clients_name_and_an_id():
    out = shaped(
        [ToolCall(0, "_1st", {}), ToolCall(1, "default_api.look", {}), END],
        tool_names={"_1st": "1st"},
        declared_tools=frozenset({"_1st", "look"}),
    )
    assert [(call.name, call.call_id) for call in out[:2]] == [("1st", "call_0"), ("look", "call_1")]


def test_without_parallel_calls_only_the_first_signed_one_stays():
    out = shaped([ToolCall(0, "f", {}, None, "sig"), ToolCall(1, "g", {}), END], single_call=True)
    assert [event.name for event in out if isinstance(event, ToolCall)] == ["f"]


@given(cuts)
def test_citations_keep_to_their_words_where_text_before_them_goes(positions):
    def cited(text, words, **options):
        at = text.index(words)
        sources = [Citation(at, at + len(words), "u", "t"), Citation(0, len(text), "u", "t"), Citation(0, 2, "u", "t")]
        *events, end = text_events(cut_at_random(text, positions))
        out = shaped([*events, *sources, end], **options)
        return [text_of(out)[event.start : event.end] for event in out if isinstance(event, Citation)]

    fenced = '```json\n{"winner": "Spain"}\n```'
    assert cited(fenced, '"Spain"', unfence_json=True) == ['"Spain"', '{"winner": "Spain"}']
    assert cited("{} for Spain, bare", "Spain", unfence_json=True) == ["Spain", "{} for Spain, bare", "{}"]
    assert cited("Once, Spain won.", "Spain", echo_prefix="Once, ") == ["Spain", "Spain won."]
    assert cited("Well, Spain won.", "Spain", echo_prefix="Once, ") == ["Spain", "Well, Spain won.", "We"]


def test_citations_of_several_blocks_move_each_by_what_went_before_it():
    first, second = '```json\n{"a": 1}\n```', '```json\n{"b": 2}\n```'
    blocks = [
        event
        for index, text in enumerate((first, second))
        for event in (BlockStart(index, "text"), BlockDelta(index, text), BlockEnd(index))
    ]
    sources = [Citation(at, at + 8, "u", "t") for at in (8, len(first) + 8)]
    out = shaped([Start("r", "m"), *blocks, *sources, END], unfence_json=True)
    cited = [text_of(out)[event.start : event.end] for event in out if isinstance(event, Citation)]
    assert cited == ['{"a": 1}', '{"b": 2}']
