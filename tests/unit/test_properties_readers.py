"""Anything at all from the upstream or a client: a reader reads it, or refuses it in the one way it has."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dialects.gemini_native.framing import ArrayObjects
from shared.dialects.gemini_native.masks import apply_mask, parse_mask
from shared.dialects.gemini_native.query import read_options
from shared.dialects.openai_media import embeddings
from shared.dialects.openai_media.transcript import read_timed
from shared.errors import GatewayError
from shared.events import BlockDelta, BlockEnd, BlockStart, End, Event, Start
from shared.gateway.multipart import FormReader
from shared.gemini import errors, grounding
from shared.gemini.gif import first_frame_png
from shared.gemini.plain_text import NOT_PLAIN_TEXT, PlainText, decode_plain_text
from shared.gemini.reader import ReplyReader
from shared.gemini.upstream_stream import parse_object, read_chunk
from shared.sse import SseEvent

WORDS = (
    "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args", "id",
    "finishReason", "STOP", "MAX_TOKENS", "SAFETY", "CONTINUATION", "MALFORMED_FUNCTION_CALL", "index", "role", "model",
    "usageMetadata", "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
    "promptTokensDetails", "modality", "tokenCount", "promptFeedback", "blockReason", "inlineData", "mimeType", "data",
    "image/png", "aGk=", "executableCode", "code", "codeExecutionResult", "outcome", "output", "groundingMetadata",
    "groundingChunks", "groundingSupports", "segment", "startIndex", "endIndex", "web", "uri", "title",
    "logprobsResult", "topCandidates", "chosenCandidates", "error", "status", "message", "details", "@type",
    "type.googleapis.com/google.rpc.RetryInfo", "retryDelay", "3s", "responseId", "modelVersion", "continuationToken",
    "serviceTier", "citationMetadata", "citationSources", "webSearchQueries", "safetyRatings", "toolCall", "violations",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-5, 10**19) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
JSON = st.recursive(
    SCALARS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=20,
)
CHUNKS = st.dictionaries(st.sampled_from(WORDS), JSON, max_size=5)
PARTS = st.lists(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=3), max_size=3)
CANDIDATES = st.builds(
    lambda parts, extra: {"candidates": [{"content": {"parts": parts}, **extra}]},
    PARTS,
    st.dictionaries(st.sampled_from(WORDS[8:16]) | st.just("groundingMetadata"), JSON, max_size=3),
)


@settings(max_examples=150)
@given(st.lists(CHUNKS | CANDIDATES, max_size=4), st.booleans())
def test_any_chunks_are_events_or_an_error_of_the_upstream(chunks: list[Any], drafts: bool) -> None:
    reader = ReplyReader(drafts=drafts)
    events: list[Event] = []
    try:
        for chunk in chunks:
            events += reader.feed(chunk)
        events += reader.close()
    except GatewayError as error:
        assert error.kind.startswith("upstream_") or error.kind in _ERRORS_IN_MID_STREAM, error
        return
    assert_in_order(events)
    assert isinstance(events[-1], End)
    assert min(reader.usage.prompt_tokens, reader.usage.output_tokens, reader.usage.reasoning_tokens) >= 0


TEXT_PARTS = st.fixed_dictionaries(
    {"text": st.sampled_from(["a", "bc", "d e"]) | JSON},
    optional={"thought": st.booleans() | JSON, "thoughtSignature": st.just("c2ln"), "functionCall": st.just({})},
)
TEXT_CANDIDATES = st.fixed_dictionaries(
    {"content": st.fixed_dictionaries({"parts": st.lists(TEXT_PARTS, min_size=1, max_size=2) | JSON})},
    optional={"index": st.sampled_from([0, 1, None, False, "0", 0.0]), "finishReason": st.just("STOP"), "x": JSON},
)
TEXT_CHUNKS = st.fixed_dictionaries(
    {"candidates": st.lists(TEXT_CANDIDATES, min_size=1, max_size=2) | JSON},
    optional={
        "usageMetadata": st.just({"promptTokenCount": 3}) | JSON,
        "promptFeedback": JSON,
        "modelVersion": st.just("m"),
        "responseId": st.just("r"),
    },
)


def _chunk_of(part: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [part], "role": "model"}, **candidate}], "modelVersion": "m"}


COUNT = {"promptTokenCount": 3}
PLAIN = [
    *[_chunk_of({"text": "a"}, index=0)] * 3,
    _chunk_of({"text": "b", "thought": True}),
    _chunk_of({"text": "c"}, index=1),
    _chunk_of({"text": "d"}, index=0, continuationToken="t"),
    _chunk_of({"text": "", "thoughtSignature": "c2ln"}),
    {**_chunk_of({"text": "e"}), "usageMetadata": COUNT, "promptFeedback": {"blockReason": "OTHER"}},
    {**_chunk_of({"text": "f"}), "usageMetadata": {"promptTokenCount": None}},
    _chunk_of({"functionCall": {"name": "f"}}),
    _chunk_of({"text": "g"}, finishReason="STOP"),
]
PLAIN_CHUNKS = st.sampled_from(PLAIN)
COUNTED = st.sampled_from(
    [
        *({"responseId": "r", "usageMetadata": COUNT} | chunk for chunk in PLAIN),
        {**_chunk_of({"text": "h"}), "usageMetadata": COUNT, "error": {"code": 503}},
    ]
)


def briefly(chunk: Any) -> Any:
    """As it is read from its bytes, where they are no more than plain text."""
    read = read_chunk(SseEvent(json.dumps(chunk).encode()))
    return read if type(read) is PlainText else chunk


def said(reader: ReplyReader, chunks: list[Any]) -> list[Any]:
    """All that a reader tells after each chunk, another hop before every fourth, and at the end."""
    told: list[Any] = []
    try:
        for number, chunk in enumerate(chunks):
            if number % 4 == 3:
                told += reader.next_hop()
            told += [reader.feed(chunk), reader.usage, reader.finish, reader.token_covers_output]
            told += [reader.hop_output_seen, reader.response_id, reader.model_version]
        told += [reader.close(), reader.usage]
    except GatewayError as error:
        told.append((error.kind, error.message))
    return told


@settings(max_examples=300)
@given(
    st.lists(COUNTED, max_size=12)
    | st.lists(PLAIN_CHUNKS | COUNTED, max_size=8)
    | st.lists(COUNTED | TEXT_CHUNKS | CANDIDATES, max_size=7)
)
def test_plain_text_is_read_as_any_other_chunk(chunks: list[Any]) -> None:
    assert said(ReplyReader(), [briefly(chunk) for chunk in chunks]) == said(ReplyReader(), chunks)


@given(st.lists(PLAIN_CHUNKS | COUNTED, max_size=12), st.integers(0, 12))
def test_chunks_that_came_together_are_read_as_if_alone(chunks: list[Any], cut: int) -> None:
    together, alone = ReplyReader(), ReplyReader()
    heard: list[list[Event]] = [[], []]
    failures = []
    for reader, bursts, events in (
        (together, [chunks[:cut], chunks[cut:]], heard[0]),
        (alone, [[chunk] for chunk in chunks], heard[1]),
    ):
        try:
            for burst in bursts:
                reader.feed_all(burst, events)
            events += reader.close()
            failures.append("")
        except GatewayError as error:
            failures.append(error.message)
    assert heard[0] == heard[1]
    assert failures[0] == failures[1]
    assert together.usage == alone.usage


def _together(raws: list[bytes], cut: int) -> list[Any]:
    """All that is told of chunks that came in bursts."""
    reader, events = ReplyReader(), list[Event]()
    told: list[Any] = [events]
    try:
        for burst in (raws[:1], raws[1:cut], raws[cut:]):  # the first comes alone
            reader.feed_all((read_chunk(SseEvent(raw)) for raw in burst), events)
            told += [reader.usage, reader.finish, reader.token_covers_output, reader.hop_output_seen]
            told += [reader.started, reader.response_id, reader.model_version]
        told += [reader.close(), reader.usage]
    except GatewayError as error:
        told += [error.kind, error.message, reader.usage]
    return told


def _alone(raws: list[bytes], cut: int) -> list[Any]:
    reader, events = ReplyReader(), list[Event]()
    told: list[Any] = [events]
    try:
        for burst in (raws[:1], raws[1:cut], raws[cut:]):  # the first comes alone
            for raw in burst:
                events += reader.feed(parse_object(raw))
            told += [reader.usage, reader.finish, reader.token_covers_output, reader.hop_output_seen]
            told += [reader.started, reader.response_id, reader.model_version]
        told += [reader.close(), reader.usage]
    except GatewayError as error:
        told += [error.kind, error.message, reader.usage]
    return told


FIRST = {**_chunk_of({"text": "first"}), "responseId": "r", "usageMetadata": COUNT}
COUNTED_IN_FULL = {
    "promptTokenCount": 40,
    "cachedContentTokenCount": 30,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 0,
    "toolUsePromptTokenCount": 5,
    "totalTokenCount": 52,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 22}, {"modality": "IMAGE", "tokenCount": 18}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO"}],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
    "toolUsePromptTokensDetails": None,
    "serviceTier": "FLEX",
    "trafficType": "ON_DEMAND",
}
ODD = st.sampled_from(
    [
        {**_chunk_of({"text": "i"}), "usageMetadata": {"candidatesTokenCount": 5}},
        {**_chunk_of({"text": "j"}), "usageMetadata": {"promptTokenCount": "7"}, "responseId": "other"},
        {**_chunk_of({"text": "k\ud800"}), "usageMetadata": COUNT},
        {**_chunk_of({"text": "l"}), "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": -3}},
        {**_chunk_of({"text": "m", "thought": False}), "usageMetadata": {"promptTokenCount": 2**70}},
        {**_chunk_of({"text": ""}), "usageMetadata": COUNT, "modelVersion": None},
        {**_chunk_of({"text": "p"}), "usageMetadata": COUNTED_IN_FULL},
        {**_chunk_of({"text": "o"}), "usageMetadata": {"promptTokenCount": 1, "promptTokensDetails": []}},
        {**_chunk_of({"text": "q", "thought": True}), "usageMetadata": COUNTED_IN_FULL, "modelVersion": "models/m"},
    ]
)


# no JSON, or only for a forgiving parser: whole, and where nobody looks
ODD_VALUES = [
    b'"\xff"',
    b"01",
    b"1e400",
    b"NaN",
    b"1.",
    b'"\n"',
    b'"\\ud800"',
    b'"\\x"',
    b"{,}",
    b"[1 2]",
    b"0x1",
    b"-",
]
ODDLY = [
    json.dumps({**_chunk_of({"text": "n"}), "usageMetadata": {"promptTokenCount": 3, name: "?"}}).encode()
    for name in ("trafficType", "totalTokenCount", "x")
]
SPOILED = [b"{", b"[]", b"NaN", ODDLY[0] + b" x"]
SPOILED += [raw.replace(b'"?"', value) for raw in ODDLY for value in ODD_VALUES]


@pytest.mark.parametrize("raw", SPOILED)
def test_what_is_no_json_is_no_plain_text(raw: bytes) -> None:
    try:
        parse_object(raw)
    except GatewayError:
        with pytest.raises(NOT_PLAIN_TEXT):
            decode_plain_text(raw)


def test_what_is_more_than_plain_text_is_read_in_full() -> None:
    whole, odd = ({**FIRST, "usageMetadata": {**COUNTED_IN_FULL, **more}} for more in ({}, {"newTokenCount": 1}))
    read = [read_chunk(SseEvent(json.dumps(chunk).encode())) for chunk in (FIRST, whole, odd)]
    assert [type(chunk) for chunk in read] == [PlainText, PlainText, dict]
    bare = SseEvent(json.dumps([FIRST]).encode(), kind="bare")
    assert read_chunk(bare) == FIRST


@settings(max_examples=300)
@given(
    st.booleans(),
    st.lists(COUNTED | COUNTED | COUNTED | ODD | TEXT_CHUNKS, max_size=14),
    st.integers(1, 15),
    st.booleans(),
    st.none() | st.tuples(st.integers(1, 15), st.sampled_from(SPOILED)),
)
def test_plain_text_of_a_burst_is_read_as_chunks_alone_are(
    begun: bool, chunks: list[Any], cut: int, ascii_only: bool, spoiled: tuple[int, bytes] | None
) -> None:
    """Whatever the chunks are, and wherever bursts end. What is no JSON ends both alike."""
    raws = [json.dumps(chunk, ensure_ascii=ascii_only).encode("utf-8", "replace") for chunk in chunks]
    if begun:
        raws = [json.dumps(FIRST).encode(), *raws]
    if spoiled is not None:
        raws.insert(*spoiled)
    assert _together(raws, cut) == _alone(raws, cut)


COUNTED_CHUNKS = st.sampled_from(
    [
        {**_chunk_of({"text": "abcdefgh"}), "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": -1}},
        {"usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 9}},
        _chunk_of({"text": "ijkl" * 9}, groundingMetadata={"webSearchQueries": ["a", "b"]}),
        _chunk_of({"functionCall": {"name": "f"}}),
        _chunk_of({"text": "m" * 9, "thought": True}, finishReason="STOP"),
    ]
)


@given(st.lists(PLAIN_CHUNKS | COUNTED_CHUNKS, min_size=1, max_size=6), st.integers(0, 6), st.booleans())
def test_the_usage_is_that_of_the_latest_chunk_whenever_it_was_asked_for(
    chunks: list[Any], hop_at: int, last: bool
) -> None:
    asked, silent = ReplyReader(), ReplyReader()
    for reader in (asked, silent):
        for number, chunk in enumerate(chunks):
            if number == hop_at:
                reader.next_hop()
            reader.feed(chunk)
            assert reader is silent or reader.usage
        if last and reader.finish:
            reader.close()
    assert asked.usage == silent.usage


_ERRORS_IN_MID_STREAM = ("invalid_request", "context_length_exceeded", "model_not_found", "not_found", "unavailable")


def assert_in_order(events: list[Event]) -> None:
    """Blocks open, grow and close; nothing comes after the end."""
    open_block: int | None = None
    assert isinstance(events[0], Start)
    assert sum(isinstance(event, End) for event in events) == 1
    for event in events:
        if isinstance(event, BlockStart):
            assert open_block is None
            open_block = event.index
        elif isinstance(event, BlockDelta):
            assert event.index == open_block
            assert event.text
        elif isinstance(event, BlockEnd):
            assert event.index == open_block
            open_block = None
    assert open_block is None


@given(st.integers(100, 599), st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_error_reply_is_an_error_of_ours(status: int, body: bytes) -> None:
    found = errors.from_response(status, body)
    assert found.message
    errors.is_retryable(found)


@given(JSON)
def test_any_error_in_a_stream_is_an_error_of_ours(error: Any) -> None:
    assert errors.from_chunk(error).message


@given(CHUNKS)
def test_any_grounding_is_read_or_passed_over(metadata: dict[str, Any]) -> None:
    assert min(grounding.search_queries(metadata, pages_read=False)) >= 0


@given(JSON)
def test_any_embedding_reply_is_vectors_or_refused(reply: Any) -> None:
    body = reply if isinstance(reply, dict) else {"embeddings": reply}
    try:
        embeddings.vectors(body, 1)
    except GatewayError as error:
        assert error.kind.startswith("upstream_")
    embeddings.told_usage(body)


@given(st.text(max_size=40) | JSON.map(json.dumps))
def test_any_transcript_is_read_or_refused(text: str) -> None:
    try:
        read_timed(text)
    except GatewayError as error:
        assert error.kind.startswith("upstream_")


@given(st.text(st.sampled_from("ab/*(),. \n$é"), max_size=15), JSON)
def test_any_field_mask_is_applied_or_refused(mask: str, value: Any) -> None:
    try:
        parsed = parse_mask(mask)
    except GatewayError as error:
        assert error.kind == "invalid_request"
    else:
        apply_mask(parsed, value)


@given(
    st.dictionaries(
        st.sampled_from(["alt", "$alt", "fields", "$fields", "prettyPrint", "key", "pageSize"]) | st.text(max_size=4),
        st.sampled_from(["sse", "json", "json;enum-encoding=int", "false", "1", "", "media", "*"])
        | st.text(max_size=5),
    )
)
def test_any_query_is_read_or_refused(query: dict[str, str]) -> None:
    try:
        read_options(query)
    except GatewayError as error:
        assert error.kind in ("invalid_request", "unsupported_parameter")


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda rest: b"GIF89a\1\0\1\0\0\0\0," + rest))
def test_any_bytes_are_a_picture_or_refused(data: bytes) -> None:
    try:
        first_frame_png(data)
    except ValueError:
        pass
    else:
        assert data.startswith(b"GIF")


PIECES = st.sampled_from(
    [b"--b\r\n", b"--b--\r\n", b"\r\n", b"Content-Disposition: form-data; name=\"a\"\r\n", b"--b", b"-", b"\r", b"\n",
     b"Content-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n", b"Content-Type: audio/wav\r\n", b"x", b": ",
     b"Content-Transfer-Encoding: base64\r\n"]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=6), max_size=12), st.integers(0, 60))
def test_any_form_is_read_the_same_however_it_is_cut(pieces: list[bytes], cut: int) -> None:
    data = b"".join(pieces)

    def read(*parts: bytes) -> Any:
        reader = FormReader(b"b")
        try:
            for part in parts:
                reader.feed(part)
            return reader.close()
        except GatewayError as error:
            return error.kind

    assert read(data) == read(data[:cut], data[cut:])


@pytest.mark.parametrize("space", [b"", b"\r\n"])
@given(st.binary(max_size=60))
def test_any_bytes_are_objects_of_an_array_or_refused(space: bytes, data: bytes) -> None:
    splitter = ArrayObjects()
    try:
        splitter.feed(space + b"[" + data)
        splitter.close()
    except GatewayError as error:
        assert error.kind.startswith("upstream_")
