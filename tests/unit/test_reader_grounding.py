"""Grounding metadata as citations with character offsets, and how many searches it stands for."""

from typing import Any

import pytest

from shared.events import Citation, End
from tests.unit.upstream_chunks import chunk, end_of, grounded, read, spans, text


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
        ({"webSearchQueries": ["a", "b"]}, (2, 0)),
        ({"webSearchQueries": ["a", ""], "groundingChunks": [{"web": {"uri": "u"}}]}, (1, 0)),
        ({"webSearchQueries": ["a"], "imageSearchQueries": ["b"]}, (2, 0)),
        ({"groundingChunks": [{"web": {"uri": "u"}}]}, (1, 0)),
        ({"groundingChunks": [{"image": {"sourceUri": "u"}}]}, (1, 0)),
        ({"groundingChunks": [{"retrievedContext": {"title": "x"}}]}, (0, 0)),
        ({"groundingChunks": [{"maps": {"uri": "u"}}, {"maps": {"uri": "v"}}]}, (0, 1)),
        ({"groundingChunks": [{"maps": {"uri": "u"}}], "webSearchQueries": ["a", "b"]}, (0, 2)),
        ({}, (0, 0)),
    ],
)
def test_searches_are_counted(metadata: dict[str, Any], queries: tuple[int, int]) -> None:
    usage = end_of(chunk(text("a"), finish="STOP", groundingMetadata=metadata)).usage
    assert (usage.search_queries, usage.map_queries) == queries


@pytest.mark.parametrize(("queries", "searches"), [([], 0), (["a"], 1)])
def test_pages_that_the_request_names_are_no_search(queries: list[str], searches: int) -> None:
    """Google tells the links read at the begin of a stream, and as sources at its end."""
    read_them = {"urlMetadata": [{"retrievedUrl": "u", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}]}
    metadata = {"groundingChunks": [{"web": {"uri": "u"}}], "webSearchQueries": queries}
    end = end_of(
        chunk(text("a"), urlContextMetadata=read_them, groundingMetadata={}),
        chunk(text("b"), finish="STOP", groundingMetadata=metadata),
    )
    assert end.usage.search_queries == searches
