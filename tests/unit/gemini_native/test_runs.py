"""Chunks of plain text that came together are read as one: nothing that can be seen depends on it."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.gemini_native.elements import Element, Run
from shared.dialects.gemini_native.framing import ArrayWriter, EventWriter
from shared.dialects.gemini_native.reading import apart, read
from shared.errors import GatewayError
from shared.gateway.native_attempt import Attempt, Join
from shared.gateway.native_echo import EchoCut
from shared.stores.protocols import Credential
from tests.unit.gemini_native.conftest import KEY, serve

USAGE = {"promptTokenCount": 3, "totalTokenCount": 5}
NUMBERED = st.integers(0, 9).map(lambda count: {**USAGE, "candidatesTokenCount": count})
USAGES = NUMBERED | st.sampled_from(
    [
        {"trafficType": "ON_DEMAND"},
        {},
        None,
        {"promptTokenCount": None, "totalTokenCount": 4},
        {**USAGE, "promptTokenCount": "7"},
        {**USAGE, "promptTokenCount": -1},
        {**USAGE, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}]},
    ]
)
TEXTS = st.text('ab ü\n"\\€\U0001f600', max_size=5)
OTHER_PARTS = st.sampled_from(
    [
        {"functionCall": {"name": "f", "args": {"number": 10**30}}},
        {"text": "signed", "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"text": None},
        {"text": "x", "thought": "yes"},
    ]
)
ENDS = st.sampled_from(
    [
        {"finishReason": "STOP"},
        {"finishReason": "CONTINUATION", "continuationToken": "t"},
        {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "no"},
        {"groundingMetadata": {"webSearchQueries": ["q"]}},
        {"safetyRatings": []},
    ]
)
ODD_CHUNKS = st.sampled_from(
    [
        {},
        {"candidates": [], "usageMetadata": USAGE},
        {"candidates": [{"content": {"parts": []}, "index": 0}], "usageMetadata": USAGE},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 1}], "usageMetadata": USAGE},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}}] * 2, "usageMetadata": USAGE},
        {"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}], "usageMetadata": USAGE},
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE},
        {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}},
    ]
)
BROKEN = st.sampled_from([b"{", b"[]", b"\xff", b"[{}]", b"null", b'{"candidates": NaN}', b'\xef\xbb\xbf{"a": 1}'])


@st.composite
def _text_chunks(draw, *, plain: bool):
    part = {"text": draw(TEXTS), **draw(st.sampled_from([{}, {}, {"thought": True}, {"thought": False}]))}
    candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
    usage = draw(NUMBERED if plain else USAGES)
    chunk = {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": draw(st.sampled_from(["gemini-x", "gemini-x", "gemini-x", "models/gemini-y", ""])),
        "responseId": draw(st.sampled_from(["one", "one", "one", "two", ""])),
    }
    if not plain:
        if draw(st.booleans()):
            part.update(draw(OTHER_PARTS))
        if draw(st.booleans()):
            candidate.update(draw(ENDS))
        for name in draw(st.sets(st.sampled_from(["usageMetadata", "modelVersion", "responseId"]))):
            del chunk[name]
    return chunk


def _written(chunk, style):
    return json.dumps(chunk, ensure_ascii=style == "escaped", indent=1 if style == "indented" else None).encode()


WRITTEN = st.builds(
    _written,
    _text_chunks(plain=True) | _text_chunks(plain=True) | _text_chunks(plain=False) | ODD_CHUNKS,
    st.sampled_from(["compact", "escaped", "indented"]),
)
# a byte that is no UTF-8, in a text or in what nobody looks into
SPOILED = st.builds(
    lambda raw, word: raw.replace(word, word[:-1] + b"\xff"), WRITTEN, st.sampled_from([b"a", b"TEXT", b"Count"])
)
STREAMS = st.lists(WRITTEN | WRITTEN | WRITTEN | WRITTEN | SPOILED | BROKEN, max_size=30)


def _bytes(elements: list[Element]) -> list[bytes]:
    shown = []
    for element in elements:
        if isinstance(element, Run):
            shown += element.raws
        else:
            shown.append(element.raw or json.dumps(element.chunk).encode())
    return shown


def _story(bursts, *, usages, echo):
    """Everything that can be seen of an attempt that gets these bursts."""
    attempt = Attempt(Credential("c", "k"), Join(list(usages)), 1, EchoCut(echo), stream=True, joins=True)
    shown, failure = [], None
    for burst in bursts:
        for step in (read, attempt.feed):
            burst, found = step(burst)
            failure = found or failure
        shown += _bytes(burst)
        if failure is not None:
            break
    shown += _bytes(attempt.end_hop())
    reader, join = attempt.reader, attempt.join
    told = [reader.usage, reader.finish, reader.response_id, reader.model_version]
    told += [reader.started, reader.continuation_token, reader.token_covers_output, reader.hop_output_seen]
    try:
        told += [attempt.end(), attempt.visible, _bytes(attempt.rest(void=True))]
    except GatewayError as error:
        told.append(error.kind)
    failed = failure and (failure.kind, failure.reason, failure.message)
    return shown, failed, told, join.response_id, join.last_usage, join.spent


@given(STREAMS, st.randoms(use_true_random=False), st.sampled_from([[], [{"promptTokenCount": 1}]]), st.booleans())
def test_what_comes_together_is_what_comes_alone(raws, chance, usages, echoes):
    at, bursts = 0, []
    while at < len(raws):
        size = chance.randint(1, 12)
        bursts.append(raws[at : at + size])
        at += size
    echo = "ab" if echoes else ""
    together = _story(bursts, usages=usages, echo=echo)
    assert together == _story([[raw] for raw in raws], usages=usages, echo=echo)


def _chunk(text, *, ending=None, **more):
    candidate = {"content": {"parts": [{"text": text, **more}], "role": "model"}, "index": 0, **(ending or {})}
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "m", "responseId": "r"}


def test_a_run_is_one_element_with_all_its_text_and_the_last_counters():
    chunks = [_chunk("a"), _chunk("ü"), {**_chunk("c"), "usageMetadata": {**USAGE, "candidatesTokenCount": 9}}]
    raws = [json.dumps(chunk).encode() for chunk in chunks]
    elements, failure = read(raws)
    (run,) = elements
    assert failure is None and run.raws == tuple(raws)
    assert run.chunk == {**chunks[-1], "candidates": _chunk("aüc")["candidates"]}
    assert [(one.chunk, one.raw) for one in apart([run])] == list(zip(chunks, raws, strict=True))


@pytest.mark.parametrize(
    "other",
    [
        _chunk("b", thought=True),
        _chunk("b", thoughtSignature="c2ln"),
        {**_chunk("b"), "responseId": "s"},
        {**_chunk("b"), "modelVersion": "n"},
        _chunk("b", ending={"finishReason": "STOP"}),
        _chunk("b", ending={"index": 1}),
        {**_chunk("b"), "candidates": _chunk("b")["candidates"] * 2},
        {**_chunk("b"), "candidates": [{"content": {"parts": [{"text": "b"}] * 2}}]},
        {**_chunk("b"), "usageMetadata": {"trafficType": "ON_DEMAND"}},
        {**_chunk("b"), "error": {}},
        {**_chunk("b"), "unknown": 1},
    ],
)
def test_whatever_is_more_than_the_same_again_stands_alone(other):
    chunks = [_chunk("a"), _chunk("a"), other, _chunk("a"), _chunk("a")]
    elements, failure = read([json.dumps(chunk).encode() for chunk in chunks])
    assert [isinstance(element, Run) for element in elements] == [True, False, True] and failure is None
    assert elements[1].chunk == other


def test_what_stands_before_a_failure_counts():
    good = json.dumps(_chunk("a")).encode()
    (run, call), failure = read([good, good, b'{"x": 1}', b"no JSON", good])
    assert run.raws == (good, good) and call.chunk == {"x": 1}
    assert failure is not None and failure.kind == "upstream_invalid_response"


def test_what_nobody_looks_into_has_to_be_text():
    good = json.dumps({**_chunk("a"), "usageMetadata": {**USAGE, "note": "x"}}).encode()
    (run,), failure = read([good, good, good.replace(b'"x"', b'"\xff"'), good])
    assert run.raws == (good, good)
    assert failure is not None and failure.kind == "upstream_invalid_response"


@pytest.mark.parametrize("seed", range(3))
def test_frames_of_many_are_the_frames_of_each(seed):
    chance = random.Random(seed)
    raws = [chance.choice([b'{"a": 1}', b'{"a":\n 1}', b'{"a":\r\n1}', b"{}"][: seed + 2]) for _ in range(20)]
    for make in (EventWriter, ArrayWriter):
        writer, other = make(), make()
        assert writer.elements(raws) == b"".join(map(other.element, raws))
        assert writer.elements([]) == b"" and writer.close() == other.close()


@pytest.mark.parametrize("seen", ["sse", "array"])
async def test_the_first_of_those_that_came_together_leaves_alone(world, monkeypatch, seen):
    raws = [json.dumps(_chunk(text)).encode() for text in "abcd"]
    raws.append(json.dumps(_chunk("e", ending={"finishReason": "STOP"})).encode())
    make, form = (EventWriter, b"alt=sse") if seen == "sse" else (ArrayWriter, b"")
    wire = make().elements(raws) + (b"]" if seen == "array" else b"")
    serve(monkeypatch, wire, make.content_type)
    written = await _written_by(world.http._transport.app, form)
    assert written[0] == make().elements(raws[:1])
    assert b"".join(written) == wire and len(written) < len(raws)


async def _written_by(app, query):
    """What the app writes, write by write."""
    body = json.dumps({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1beta/models/gemini-3.8-flash:streamGenerateContent",
        "query_string": query,
        "headers": [(b"x-goog-api-key", KEY.encode()), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
    }
    written = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        if message["type"] == "http.response.body" and message["body"]:
            written.append(message["body"])

    await app(scope, receive, send)
    return written
