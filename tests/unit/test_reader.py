"""Parts, blocks and ends: what the reader makes of chunks, over all hops of a long decode."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    End,
    Event,
    Logprobs,
    LooseSignature,
    Media,
    ServerTool,
    Start,
    ToolCall,
    Usage,
)
from shared.gemini.reader import ReplyReader
from tests.unit.upstream_chunks import USAGE, call, chunk, end_of, grounded, read, spans, text


def test_a_reply_in_one_chunk() -> None:
    usage = Usage(prompt_tokens=7, output_tokens=2, reasoning_tokens=94)
    assert read(chunk(text("hi"), finish="STOP")) == [
        Start("r1", "gemini-3.8-flash", usage),
        BlockStart(0, "text"),
        BlockDelta(0, "hi"),
        BlockEnd(0),
        End("stop", "STOP", usage),
    ]


def test_text_arrives_at_once_and_runs_on_in_one_block() -> None:
    reader = ReplyReader()
    assert reader.feed(chunk(text("a")))[1:] == [BlockStart(0, "text"), BlockDelta(0, "a")]
    assert reader.feed(chunk(text("b"))) == [BlockDelta(0, "b")]


def test_thoughts_and_text_are_blocks_of_their_own() -> None:
    events = read(chunk(text("t", thought=True)), chunk(text("u", thought=True), text("a")), chunk(finish="STOP"))
    assert events[1:-1] == [
        BlockStart(0, "reasoning"),
        BlockDelta(0, "t"),
        BlockDelta(0, "u"),
        BlockEnd(0),
        BlockStart(1, "text"),
        BlockDelta(1, "a"),
        BlockEnd(1),
    ]


def test_the_signature_of_an_empty_last_part_belongs_to_the_text() -> None:
    events = read(chunk(text("a")), chunk(text("", thoughtSignature="S"), finish="STOP"))
    assert events[1:-1] == [BlockStart(0, "text"), BlockDelta(0, "a"), BlockEnd(0, "S")]


def test_a_signed_text_ends_its_block() -> None:
    events = read(chunk(text("a", thoughtSignature="S"), text("b")), chunk(finish="STOP"))
    assert events[1:-1] == [
        *(BlockStart(0, "text"), BlockDelta(0, "a"), BlockEnd(0, "S")),
        *(BlockStart(1, "text"), BlockDelta(1, "b"), BlockEnd(1)),
    ]


def test_a_signature_without_text_is_loose() -> None:
    assert read(chunk(text("", thoughtSignature="S"), finish="STOP"))[1:-1] == [LooseSignature("S")]
    assert read(chunk({"thoughtSignature": "S"}, finish="STOP"))[1:-1] == [LooseSignature("S")]
    after_call = read(chunk(call()), chunk(text("", thoughtSignature="S"), finish="STOP"))
    assert after_call[1:-1] == [ToolCall(0, "f", {"x": 1}), LooseSignature("S")]


def test_empty_parts_open_nothing() -> None:
    assert read(chunk(call(), text("")), chunk(text(""), finish="STOP"))[1:-1] == [ToolCall(0, "f", {"x": 1})]
    assert read({**chunk(), "candidates": [{"content": {}, "finishReason": "STOP"}]})[1:-1] == []


def test_calls_wait_for_a_finish_reason_and_what_follows_waits_with_them() -> None:
    reader = ReplyReader()
    assert [
        type(event) for event in reader.feed(chunk(text("a"), {**call("f", id="c1"), "thoughtSignature": "S"}))
    ] == [
        Start,
        BlockStart,
        BlockDelta,
    ]
    assert reader.feed(chunk(call("g"), text("after"))) == []
    assert reader.feed(chunk(text(""), finish="STOP")) == [
        BlockEnd(0),
        ToolCall(1, "f", {"x": 1}, native_id="c1", signature="S"),
        ToolCall(2, "g", {"x": 1}),
        BlockStart(3, "text"),
        BlockDelta(3, "after"),
    ]


@pytest.mark.parametrize("args", [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f", "args": {}}}])
def test_absent_arguments_are_empty(args: dict[str, Any]) -> None:
    assert read(chunk(args, finish="STOP"))[1] == ToolCall(0, "f", {})


def test_pieces_of_a_call_never_run() -> None:
    pieces = ({"name": "f", "willContinue": True}, {"partialArgs": [{"jsonPath": "$.x"}], "willContinue": True}, {})
    events = read(*(chunk({"functionCall": piece}) for piece in pieces), chunk(finish="STOP"))
    assert [type(event) for event in events] == [Start, End]


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"]
)
def test_a_fault_discards_the_calls_but_not_the_text(reason: str) -> None:
    events = read(chunk(text("a"), call(), text("b")), chunk(finish=reason, finishMessage="print(f())"))
    assert [event.text for event in events if isinstance(event, BlockDelta)] == ["a", "b"]
    assert not any(isinstance(event, ToolCall) for event in events)
    end = events[-1]
    assert isinstance(end, End)
    assert (end.finish, end.reason, end.message) == ("fault", reason, "print(f())")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "continuation"),
        ("SAFETY", "blocked"),
        ("IMAGE_RECITATION", "blocked"),
        ("MODEL_ARMOR", "blocked"),
        ("OTHER", "no_output"),
        ("NO_IMAGE", "no_output"),
        ("SOMETHING_NEW", "no_output"),
        ("FINISH_REASON_UNSPECIFIED", "fault"),
        ("MALFORMED_RESPONSE", "fault"),
        ("PUP_LIMITED_DISABLED", "account"),
    ],
)
def test_finish_classes(reason: str, finish: str) -> None:
    end = end_of(chunk(text("a"), finish=reason))
    assert (end.finish, end.reason) == (finish, reason)


@pytest.mark.parametrize(
    ("number", "word"),
    [(1, "STOP"), (2, "MAX_TOKENS"), (3, "SAFETY"), (10, "MALFORMED_FUNCTION_CALL"), (99, "UNKNOWN_99")],
)
def test_integer_enums(number: int, word: str) -> None:
    assert end_of(chunk(text("a"), finish=number)).reason == word


def test_an_unspecified_reason_on_the_way_settles_nothing() -> None:
    reader = ReplyReader()
    reader.feed(chunk(call(), finish=0))
    assert reader.feed(chunk(finish=1)) == [ToolCall(0, "f", {"x": 1})]


def test_the_end_of_the_bytes_ends_the_answer_not_the_first_reason() -> None:
    events = read(chunk(text("a"), finish="STOP"), chunk(text("b")), chunk(finish="STOP"))
    assert [event.text for event in events if isinstance(event, BlockDelta)] == ["a", "b"]
    assert [type(event) for event in events].count(End) == 1


def test_a_call_after_a_reason_is_not_lost() -> None:
    assert ToolCall(0, "f", {"x": 1}) in read(chunk(finish="STOP"), chunk(call()))


def test_the_end_without_a_reason_is_a_truncation() -> None:
    for chunks in ([], [chunk(text("a"))], [chunk(call())], [{"usageMetadata": USAGE}]):
        with pytest.raises(GatewayError) as caught:
            read(*chunks)
        assert caught.value.kind == "upstream_truncated"


@pytest.mark.parametrize("feedback", [{"blockReason": "PROHIBITED_CONTENT"}, {"blockReason": 4}])
def test_a_blocked_prompt(feedback: dict[str, Any]) -> None:
    usage = {"promptTokenCount": 9, "totalTokenCount": 9}
    events = read({"promptFeedback": feedback, "usageMetadata": usage, "modelVersion": "m", "responseId": "r"})
    assert events == [
        Start("r", "m", Usage(prompt_tokens=9)),
        End("blocked", "PROHIBITED_CONTENT", Usage(prompt_tokens=9), prompt_blocked=True),
    ]


def test_feedback_that_blocks_nothing_is_ignored() -> None:
    feedback = {"promptFeedback": {"safetyRatings": [{"category": "X"}]}}
    assert end_of({**chunk(text("a"), finish="STOP"), **feedback}).finish == "stop"
    with pytest.raises(GatewayError):
        read({**chunk(text("a")), **feedback})


def test_a_prompt_block_without_usage_is_an_estimate() -> None:
    assert end_of({"promptFeedback": {"blockReason": "SAFETY"}}).usage == Usage(estimated=True)


def test_model_and_id_come_from_the_first_chunk_that_has_them() -> None:
    reader = ReplyReader()
    assert reader.feed({"candidates": []}) == [Start("", "")]
    reader.feed({"modelVersion": "models/gemini-x", "responseId": "r"})
    reader.feed({"modelVersion": "other", "responseId": "s"})
    assert (reader.model_version, reader.response_id) == ("gemini-x", "r")


def test_other_candidates_are_not_read() -> None:
    made = chunk(text("a"), finish="STOP")
    made["candidates"].insert(0, {"index": 1, "content": {"parts": [text("b")]}, "finishReason": "SAFETY"})
    events = read(made)
    assert [event.text for event in events if isinstance(event, BlockDelta)] == ["a"]
    assert isinstance(events[-1], End) and events[-1].reason == "STOP"


def test_parts_that_are_no_text() -> None:
    tool = {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB"}, "thoughtSignature": "T"}
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    events = read(
        chunk(
            tool,
            {"executableCode": {"language": "PYTHON", "code": "1", "id": "e"}, "thoughtSignature": "C"},
            {"codeExecutionResult": {"outcome": 1, "output": "1\n"}},
            {**image, "thought": True},
            {**image, "thoughtSignature": "I"},
            finish="STOP",
        )
    )
    assert events[1:-1] == [
        ServerTool(0, tool),
        Code(1, "PYTHON", "1", "e", "C"),
        CodeResult(2, "OUTCOME_OK", "1\n"),
        Media(3, "image/png", "AAAA", "I"),
    ]


def test_logprobs() -> None:
    result = {"chosenCandidates": [{"token": "a"}], "topCandidates": [{"candidates": [{"token": "a"}, {"token": "b"}]}]}
    events = read(chunk(text("a"), finish="STOP", logprobsResult=result))
    assert Logprobs(({"token": "a"},), (({"token": "a"}, {"token": "b"}),)) in events


# -- failures in a stream


def test_an_error_before_anything_keeps_its_kind() -> None:
    with pytest.raises(GatewayError) as caught:
        ReplyReader().feed({"error": {"code": 503, "message": "busy"}})
    assert caught.value.kind == "upstream_overloaded"


def test_an_error_later_is_an_interruption_that_says_why() -> None:
    reader = ReplyReader()
    reader.feed(chunk(text("a"), finish="STOP"))
    with pytest.raises(GatewayError) as caught:
        reader.feed({"error": {"code": 503, "message": "busy"}})
    assert (caught.value.kind, caught.value.reason) == ("upstream_interrupted", "overloaded")


@pytest.mark.parametrize("junk", [[], "text", None, 3])
def test_a_chunk_that_is_no_object(junk: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        ReplyReader().feed(junk)
    assert caught.value.kind == "upstream_invalid_response"


# -- long decode


def test_hops_are_one_answer() -> None:
    reader = ReplyReader()
    events = reader.feed(
        chunk(text("one "), finish="CONTINUATION", continuationToken="T1", **grounded({"endIndex": 3}))
    )
    assert (reader.finish, reader.continuation_token, reader.hop_output_seen) == ("CONTINUATION", "T1", True)
    reader.next_hop()
    assert (reader.finish, reader.continuation_token, reader.hop_output_seen) == ("", None, False)
    events += reader.feed(chunk(text("two"), finish="STOP", **grounded({"endIndex": 3}, webSearchQueries=["q"])))
    events += reader.close()
    assert [type(event) for event in events] == [
        Start,
        BlockStart,
        BlockDelta,
        BlockDelta,
        BlockEnd,
        Citation,
        Citation,
        End,
    ]
    assert spans(events) == [(0, 3), (4, 7)]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.finish, end.usage) == (
        "stop",
        Usage(prompt_tokens=14, output_tokens=4, reasoning_tokens=188, search_queries=2),
    )


def test_a_hop_without_grounding_of_its_own_repeats_none() -> None:
    reader = ReplyReader()
    events = reader.feed(chunk(text("one "), finish="CONTINUATION", **grounded({"endIndex": 3})))
    reader.next_hop()
    events += reader.feed(chunk(text("two"), finish="STOP")) + reader.close()
    assert spans(events) == [(0, 3)]
    assert isinstance(events[-1], End) and "groundingMetadata" in events[-1].metadata


def test_an_unfinished_call_does_not_survive_a_broken_hop() -> None:
    reader = ReplyReader()
    reader.feed(chunk(text("a"), continuationToken="T1"))
    assert reader.token_covers_output
    reader.feed(chunk(call()))
    assert not reader.token_covers_output
    reader.next_hop()
    events = reader.feed(chunk(text("b"), finish="STOP")) + reader.close()
    assert not any(isinstance(event, ToolCall) for event in events)


@pytest.mark.parametrize("later", [False, True])
def test_what_a_token_covers_survives_a_broken_hop(later: bool) -> None:
    """The hop that resumes from the token goes on behind the call and what was said after it."""
    reader = ReplyReader()
    parts = (text("a"), call(), text("b"))
    whole = [chunk(*parts), chunk(continuationToken="T1")] if later else [chunk(*parts, continuationToken="T1")]
    events = [event for each in whole for event in reader.feed(each)]
    assert reader.token_covers_output
    events += reader.next_hop() + reader.feed(chunk(text("c"), finish="STOP")) + reader.close()
    said = [event for event in events if isinstance(event, BlockDelta | ToolCall)]
    assert [one.text if isinstance(one, BlockDelta) else one.name for one in said] == ["a", "f", "b", "c"]


def test_usage_between_hops_holds_what_was_used() -> None:
    reader = ReplyReader()
    reader.feed(chunk(text("one"), finish="CONTINUATION"))
    reader.next_hop()
    assert reader.usage == Usage(prompt_tokens=7, output_tokens=2, reasoning_tokens=94)


# -- chunking

PART = st.one_of(
    st.builds(text, st.sampled_from(["", "a", "ü", "\n", "🎉"])),
    st.builds(lambda value: text(value, thought=True), st.sampled_from(["t", "u"])),
    st.builds(lambda value: text(value, thoughtSignature="S"), st.sampled_from(["", "s"])),
    st.builds(call, st.sampled_from(["f", "g"])),
    st.just({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
    st.just({"executableCode": {"language": "PYTHON", "code": "1"}}),
    st.just({"functionCall": {"args": {}}}),
    st.just({"unknown": 1}),
)


def merged(events: list[Event]) -> list[Event]:
    """The events with neighbouring deltas of one block joined."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, BlockDelta) and isinstance(last, BlockDelta) and last.index == event.index:
            joined[-1] = BlockDelta(event.index, last.text + event.text)
        else:
            joined.append(event)
    return joined


@given(
    st.lists(PART, max_size=10),
    st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL"]),
    st.lists(st.integers(0, 10), max_size=5),
    st.booleans(),
)
def test_any_chunking_of_the_same_parts_reads_alike(
    parts: list[dict[str, Any]], finish: str, cuts: list[int], separate: bool
) -> None:
    whole = merged(read(chunk(*parts, finish=finish)))
    bounds = [0, *sorted(min(cut, len(parts)) for cut in cuts), len(parts)]
    pieces = [parts[start:stop] for start, stop in pairwise(bounds)]
    chunks = [chunk(*piece) for piece in pieces[:-1]]
    chunks += [chunk(*pieces[-1]), chunk(finish=finish)] if separate else [chunk(*pieces[-1], finish=finish)]
    assert merged(read(*chunks)) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.sampled_from(["", "STOP", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name"),
                    *("args", "finishReason", "groundingMetadata", "groundingSupports", "segment", "endIndex", "web"),
                    *("groundingChunks", "groundingChunkIndices", "usageMetadata", "promptTokenCount", "inlineData"),
                    *("promptFeedback", "blockReason", "logprobsResult", "topCandidates", "promptTokensDetails"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=40,
)


@given(JSON, JSON, JSON)
def test_odd_replies_raise_nothing_but_gateway_errors(candidate: Any, grounding: Any, usage: Any) -> None:
    reader = ReplyReader()
    try:
        reader.feed({"candidates": candidate, "usageMetadata": usage})
        reader.feed({"candidates": [candidate]})
        reader.feed(
            {
                "candidates": [
                    {"content": {"parts": candidate}, "groundingMetadata": grounding, "logprobsResult": grounding}
                ]
            }
        )
        reader.feed(
            {"candidates": [{"content": {"parts": [candidate]}, "finishReason": "STOP"}], "promptFeedback": usage}
        )
        reader.close()
    except GatewayError:
        pass
