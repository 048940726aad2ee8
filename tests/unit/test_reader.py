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

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 2, "thoughtsTokenCount": 94, "totalTokenCount": 103}


def chunk(*parts: dict[str, Any], finish: Any = None, usage: Any = USAGE, **candidate: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, **candidate}
    if finish is not None:
        inner["finishReason"] = finish
    made: dict[str, Any] = {"candidates": [inner], "modelVersion": "gemini-3.8-flash", "responseId": "r1"}
    return made if usage is None else {**made, "usageMetadata": usage}


def read(*chunks: dict[str, Any]) -> list[Event]:
    reader = ReplyReader()
    return [event for item in chunks for event in reader.feed(item)] + reader.close()


def end_of(*chunks: dict[str, Any]) -> End:
    event = read(*chunks)[-1]
    assert isinstance(event, End)
    return event


def text(value: str, **rest: Any) -> dict[str, Any]:
    return {"text": value, **rest}


def call(name: str = "f", **rest: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"x": 1}, **rest}}


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


# -- usage


def usage_of(metadata: Any) -> Usage:
    return end_of(chunk(text("x" * 40), text("y" * 20, thought=True), finish="STOP", usage=metadata)).usage


def test_the_last_usage_counts_and_never_the_sum() -> None:
    first, last = (
        {"promptTokenCount": 169, "candidatesTokenCount": 51},
        {"promptTokenCount": 79, "candidatesTokenCount": 22},
    )
    assert end_of(chunk(text("a"), usage=first), chunk(finish="STOP", usage=last)).usage == Usage(
        prompt_tokens=79, output_tokens=22
    )


def test_usage_that_counts_nothing_is_no_usage() -> None:
    empty = {"trafficType": "ON_DEMAND"}
    late = end_of(chunk(text("a"), usage=empty), chunk(finish="STOP"))
    assert (late.usage.prompt_tokens, late.usage.estimated) == (7, False)
    early = end_of(chunk(text("a")), chunk(finish="STOP", usage=empty))
    assert (early.usage.prompt_tokens, early.usage.estimated) == (7, True)


def test_usage_before_the_last_content_is_an_estimate() -> None:
    assert end_of(chunk(text("a")), chunk(text("b"), finish="STOP", usage=None)).usage.estimated
    assert not end_of(chunk(text("a"), finish="STOP", usage=None), {"usageMetadata": USAGE}).usage.estimated
    assert not end_of(chunk(text("a"), finish="STOP"), {"candidates": [{"index": 0}]}).usage.estimated


def test_a_wrong_count_of_an_answer_in_one_chunk_is_estimated_from_its_text() -> None:
    events = read(chunk(text("a" * 40), finish="STOP", usage={**USAGE, "candidatesTokenCount": -1}))
    start, end = events[0], events[-1]
    assert isinstance(start, Start) and isinstance(end, End)
    assert start.usage is not None and (start.usage.output_tokens, start.usage.estimated) == (0, True)
    assert (end.usage.output_tokens, end.usage.estimated) == (10, True)


def test_what_an_answer_in_one_chunk_counts_is_read_once() -> None:
    events = read(chunk(text("a"), finish="STOP"))
    start, end = events[0], events[-1]
    assert isinstance(start, Start) and isinstance(end, End)
    assert start.usage is not None and start.usage is end.usage


def test_no_usage_at_all_is_estimated_from_the_text() -> None:
    assert usage_of(None) == Usage(output_tokens=10, reasoning_tokens=5, estimated=True)


def test_details_and_tier() -> None:
    usage = usage_of(
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 60,
            "toolUsePromptTokenCount": 5,
            "candidatesTokenCount": "12",
            "totalTokenCount": 117.0,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": 4, "tokenCount": 70}],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 60}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 12}, {"modality": "TEXT"}],
            "serviceTier": "PRIORITY",
        }
    )
    assert usage == Usage(
        prompt_tokens=100,
        cached_tokens=60,
        tool_use_tokens=5,
        output_tokens=12,
        prompt_modalities={"TEXT": 30, "AUDIO": 70},
        cached_modalities={"TEXT": 60},
        output_modalities={"IMAGE": 12},
        service_tier="priority",
    )
    assert (usage.input_total, usage.output_total) == (105, 12)


def test_thoughts_that_the_candidates_include_are_not_counted_twice() -> None:
    counts = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 20,
        "toolUsePromptTokenCount": 5,
    }
    inclusive = usage_of({**counts, "totalTokenCount": 45})
    assert (inclusive.output_tokens, inclusive.reasoning_tokens, inclusive.output_total) == (10, 20, 30)
    exclusive = usage_of({**counts, "totalTokenCount": 65})
    assert (exclusive.output_tokens, exclusive.reasoning_tokens, exclusive.output_total) == (30, 20, 50)


@pytest.mark.parametrize("bad", [-5, 1.5, "x", True, [], {}, 10**12, "99999999999999999999999"])
def test_bad_counters_are_estimated(bad: Any) -> None:
    usage = usage_of({"promptTokenCount": 7, "candidatesTokenCount": bad, "thoughtsTokenCount": bad})
    assert usage == Usage(prompt_tokens=7, output_tokens=10, reasoning_tokens=5, estimated=True)
    prompt = usage_of({"promptTokenCount": bad, "candidatesTokenCount": 3, "totalTokenCount": 20})
    assert (prompt.prompt_tokens, prompt.estimated) == (17, True)
    cached = usage_of({"promptTokenCount": 7, "cachedContentTokenCount": bad})
    assert (cached.cached_tokens, cached.estimated) == (0, True)


def test_more_cached_than_sent_is_cut() -> None:
    usage = usage_of({"promptTokenCount": 7, "cachedContentTokenCount": 9})
    assert (usage.cached_tokens, usage.estimated) == (7, True)


def test_usage_is_known_on_the_way() -> None:
    reader = ReplyReader()
    assert reader.usage == Usage()
    reader.feed(chunk(text("a")))
    assert reader.usage.prompt_tokens == 7


# -- grounding


def grounded(*segments: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    supports = [{"segment": segment, "groundingChunkIndices": [0]} for segment in segments]
    web = {"web": {"uri": "https://a.example", "title": "A"}}
    return {"groundingMetadata": {"groundingChunks": [web], "groundingSupports": supports, **metadata}}


def spans(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.start, event.end) for event in events if isinstance(event, Citation)]


def test_byte_offsets_become_character_offsets() -> None:
    answer = "Grüße 🎉 an alle"
    segment = {"startIndex": len("Grüße ".encode()), "endIndex": len("Grüße 🎉".encode()), "text": "🎉"}
    events = read(chunk(text(answer[:4])), chunk(text(answer[4:]), finish="STOP", **grounded(segment, {"endIndex": 5})))
    assert [event for event in events if isinstance(event, Citation)] == [
        Citation(6, 7, "https://a.example", "A"),
        Citation(0, 3, "https://a.example", "A"),
    ]
    assert isinstance(events[-1], End) and "groundingMetadata" in events[-1].metadata


def test_offsets_count_the_visible_text_past_thoughts() -> None:
    events = read(
        chunk(text("hmm", thought=True), text("abc"), finish="STOP", **grounded({"startIndex": 1, "endIndex": 2}))
    )
    assert spans(events) == [(1, 2)]


def test_a_part_index_counts_from_that_part() -> None:
    parts = (text("ab", thoughtSignature="S"), text("cdef"))
    segment = {"partIndex": 1, "startIndex": 1, "endIndex": 3}
    assert spans(read(chunk(*parts, finish="STOP", **grounded(segment)))) == [(3, 5)]
    assert spans(read(chunk(*parts, finish="STOP", **grounded({**segment, "text": "de"})))) == [(3, 5)]


def test_the_quoted_text_wins_over_wrong_offsets() -> None:
    assert spans(
        read(chunk(text("abcdef"), finish="STOP", **grounded({"startIndex": 0, "endIndex": 2, "text": "de"})))
    ) == [(3, 5)]


def test_every_source_of_a_support_is_a_citation() -> None:
    chunks = [{"web": {"uri": "u0", "title": "t0"}}, {}, {"retrievedContext": {"title": "file.pdf"}}]
    supports = [{"segment": {"endIndex": 1}, "groundingChunkIndices": [0, 1, 2, 9, "x"]}]
    metadata = {"groundingMetadata": {"groundingChunks": chunks, "groundingSupports": supports}}
    events = read(chunk(text("abc"), finish="STOP", **metadata))
    assert [event for event in events if isinstance(event, Citation)] == [
        Citation(0, 1, "u0", "t0"),
        Citation(0, 1, "", "file.pdf"),
    ]


def test_the_last_grounding_that_is_not_empty_counts() -> None:
    first, second = grounded({"endIndex": 1}), grounded({"endIndex": 2})
    events = read(chunk(text("abc"), **first), chunk(text("d"), **second), chunk(finish="STOP", groundingMetadata={}))
    assert spans(events) == [(0, 2)]


@pytest.mark.parametrize(
    ("metadata", "queries"),
    [
        ({"webSearchQueries": ["a", "b"]}, 2),
        ({"webSearchQueries": ["a"], "imageSearchQueries": ["b"]}, 2),
        ({"groundingChunks": [{"web": {"uri": "u"}}]}, 1),
        ({"groundingChunks": [{"retrievedContext": {"title": "x"}}]}, 0),
        ({}, 0),
    ],
)
def test_searches_are_counted(metadata: dict[str, Any], queries: int) -> None:
    assert end_of(chunk(text("a"), finish="STOP", groundingMetadata=metadata)).usage.search_queries == queries


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
