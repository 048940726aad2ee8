"""The counts of an answer: the last ones, sound or estimated."""

from typing import Any

import pytest

from shared.events import End, Start, Usage
from shared.gateway.native_tap import Tap
from shared.gemini.reader import ReplyReader
from tests.unit.upstream_chunks import USAGE, call, chunk, end_of, read, text


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


@pytest.mark.parametrize("reader", [ReplyReader, Tap])
@pytest.mark.parametrize(
    ("part", "counts", "expected"),
    [
        (text("a" * 40, thought=True), {}, (0, 10, True)),  # Gemini 3 counts thoughts once they are over
        (text("a" * 40), {}, (10, 0, True)),
        (text("a" * 40), {"thoughtsTokenCount": 94}, (10, 94, True)),
        (text("a" * 40), {"candidatesTokenCount": 3}, (3, 0, False)),
        (call(), {}, (0, 0, False)),
    ],
)
def test_what_an_answer_that_is_cut_off_has_not_counted_is_estimated(
    reader: type[ReplyReader] | type[Tap], part: dict[str, Any], counts: dict[str, int], expected: tuple[int, int, bool]
) -> None:
    """The client left, or the upstream broke off; what had been said was booked at nothing."""
    cut = reader()
    cut.feed(chunk(part, usage={"promptTokenCount": 7, **counts}))
    usage = cut.usage
    assert (usage.output_tokens, usage.reasoning_tokens, usage.estimated) == expected
    cut.feed(chunk(finish="STOP", usage={"promptTokenCount": 7}))  # whole, an answer is what its last counts say
    assert (cut.usage.prompt_tokens, cut.usage.output_total, cut.usage.estimated) == (7, 0, False)


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
