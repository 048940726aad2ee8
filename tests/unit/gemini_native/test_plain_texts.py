"""Chunks of plain text are read the short way, and together where they came together: nothing that can be seen depends
on it."""

import json
import random
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.gemini_native.framing import ArrayWriter, EventWriter
from shared.dialects.gemini_native.reading import PlainTexts, parsed, plain_texts
from shared.errors import GatewayError
from shared.gateway import native_attempt
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_attempt import Attempt
from shared.gateway.native_call import NativeCall
from shared.gateway.native_tap import Tap
from shared.gateway.recovery import AskAgain, Progress
from shared.gateway.settings import Settings
from shared.gemini.catalog import resolve
from shared.gemini.client import RelayReply
from shared.gemini.reader import ReplyReader
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


def _bytes(elements):
    return [element if isinstance(element, bytes) else json.dumps(element).encode() for element in elements]


def _nothing_plain(raws, start):
    return PlainTexts(0, 0, 0, "", "")


def _attempt(usages=(), echo=""):
    call = NativeCall({}, stream=True, sse=True, echo_prefix=echo)
    model, exchange = resolve("gemini-3.8-flash", date(2026, 11, 22)), Exchange("r", "r", 0, 0.0, 0.0, "")
    meter = Meter(
        None, None, Settings(), None, exchange, model, Estimate(0, 0, 0), dialect="", endpoint="", stream=True
    )
    progress = Progress("gemini-3.8-flash", {}, thinking=True)
    attempt = Attempt(call, progress, Credential("c", "k"), meter, exchange, list(usages))
    attempt.begin_hop(RelayReply(200, {}, None))
    attempt._splitter = Given()
    return attempt


def _story(bursts, *, usages, echo):
    """Everything that can be seen of an attempt that gets these bursts."""
    attempt = _attempt(usages, echo)
    shown, failure = [], None
    with attempt:
        try:
            for burst in [*bursts, []]:
                for elements in attempt.feed(burst):
                    shown += _bytes(elements)
        except GatewayError as error:
            failure = (error.kind, error.reason, error.message)
        shown += _bytes(attempt.end_hop())
        told = [_told(attempt.tap), attempt._exchange.first_byte is None, attempt._progress.shown]
        try:
            shown += _bytes(attempt.close())
        except (GatewayError, AskAgain) as error:
            told.append(str(error))
    outcome = attempt._meter.outcome
    return shown, failure, told, attempt._usages, outcome.calls, outcome.finish_reason


class Given:
    """A splitter that is told what it has to find."""

    def feed(self, raws):
        return raws

    def close(self):
        return []


def _told(reader):
    told = [reader.usage, reader.finish, reader.response_id, reader.model_version]
    return [*told, reader.started, reader.continuation_token, reader.token_covers_output, reader.hop_output_seen]


def _in_bursts(raws, chance):
    at = 0
    while at < len(raws):
        size = chance.randint(1, 12)
        yield raws[at : at + size]
        at += size


@given(STREAMS, st.randoms(use_true_random=False), st.sampled_from([[], [{"promptTokenCount": 1}]]), st.booleans())
def test_what_comes_together_is_what_comes_alone(raws, chance, usages, echoes):
    echo = "ab" if echoes else ""
    together = _story(_in_bursts(raws, chance), usages=usages, echo=echo)
    assert together == _story([[raw] for raw in raws], usages=usages, echo=echo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_attempt, "plain_texts", _nothing_plain)
        assert together == _story([[raw] for raw in raws], usages=usages, echo=echo)


@given(STREAMS, st.randoms(use_true_random=False))
def test_the_tap_tells_what_the_reader_of_the_other_dialects_tells(raws, chance):
    tap, reader = Tap(), ReplyReader()
    for burst in _in_bursts(raws, chance):
        if chance.random() < 0.1:
            tap.next_hop()
            reader.next_hop()
        failures = []
        for read in (_tapped, _read):
            try:
                read(tap if read is _tapped else reader, burst)
                failures.append(None)
            except GatewayError as error:
                failures.append((error.kind, error.reason, error.message))
        assert failures[0] == failures[1]
        assert _told(tap) == _told(reader)
        if failures[0] is not None:
            break
    try:
        end = reader.close()[-1]
    except GatewayError as error:
        with pytest.raises(GatewayError) as raised:
            tap.end()
        assert raised.value.kind == error.kind
    else:
        assert tap.end() == (end.finish, end.reason)
        assert tap.usage == end.usage


@pytest.mark.parametrize("ending", [{"promptFeedback": {"blockReason": "OTHER"}}, None])
def test_what_a_held_call_kept_back_is_estimated_too(ending):
    tap, reader = Tap(), ReplyReader()
    call = {"functionCall": {"name": "f", "args": {}}}
    parts = [call, {"text": "some text"}, {"text": "a thought", "thought": True}]
    candidate = {"content": {"parts": parts}}
    chunks = [{"candidates": [candidate]}, ending or {"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED"}]}]
    for chunk in chunks:
        tap.feed(chunk)
        reader.feed(chunk)
    end = reader.close()[-1]
    assert (tap.end(), tap.usage) == ((end.finish, end.reason), end.usage)
    assert end.usage.output_tokens == end.usage.reasoning_tokens == 3


def _tapped(tap, burst):
    at = 0
    while at < len(burst):
        texts = plain_texts(burst, at)
        if texts.count:
            at += texts.count
            tap.feed_plain(texts, burst[at - 1])
        else:
            tap.feed(parsed(burst[at]))
            at += 1


def _read(reader, burst):
    for raw in burst:
        reader.feed(parsed(raw))


def _chunk(text, *, ending=None, **more):
    candidate = {"content": {"parts": [{"text": text, **more}], "role": "model"}, "index": 0, **(ending or {})}
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "m", "responseId": "r"}


def test_plain_texts_are_counted():
    chunks = [_chunk("a"), _chunk("ü", thought=True), _chunk("cde"), _chunk("")]
    raws = [json.dumps(chunk, ensure_ascii=False).encode() for chunk in chunks]
    assert plain_texts(raws, 0) == PlainTexts(4, 4, 1, "m", "r")
    assert plain_texts(raws, 2) == PlainTexts(2, 3, 0, "m", "r")
    assert plain_texts(raws, 4) == _nothing_plain(raws, 4)


@pytest.mark.parametrize(
    "other",
    [
        _chunk("b", thoughtSignature="c2ln"),
        _chunk("b", ending={"finishReason": "STOP"}),
        _chunk("b", ending={"index": 1}),
        {**_chunk("b"), "candidates": _chunk("b")["candidates"] * 2},
        {**_chunk("b"), "candidates": [{"content": {"parts": [{"text": "b"}] * 2}}]},
        {**_chunk("b"), "usageMetadata": {"trafficType": "ON_DEMAND"}},
        {**_chunk("b"), "error": {}},
        {**_chunk("b"), "unknown": 1},
    ],
)
def test_whatever_is_more_is_read_in_full(other):
    raws = [json.dumps(chunk).encode() for chunk in [_chunk("a"), _chunk("a"), other, _chunk("a")]]
    assert [plain_texts(raws, start).count for start in range(5)] == [2, 1, 0, 1, 0]


def test_what_stands_before_a_failure_leaves_before_it():
    good, call = json.dumps(_chunk("a")).encode(), b'{"x": 1}'
    attempt = _attempt()
    leaving = attempt.feed([good, good, call, b"no JSON", good])
    assert next(leaving) == [good]
    assert next(leaving) == [good, call]
    with pytest.raises(GatewayError) as raised:
        next(leaving)
    assert raised.value.kind == "upstream_invalid_response"


def test_what_nobody_looks_into_has_to_be_text():
    good = json.dumps({**_chunk("a"), "usageMetadata": {**USAGE, "trafficType": "x"}}).encode()
    assert plain_texts([good, good.replace(b'"x"', b'"\xff"'), good], 0).count == 1


def test_a_count_without_end_is_no_plain_text():
    endless = json.dumps({**_chunk("abcd"), "usageMetadata": {**USAGE, "totalTokenCount": "?"}}).encode()
    assert plain_texts([endless.replace(b'"?"', b"9" * 5000)], 0).count == 0


def test_nesting_without_end_is_no_plain_text():
    deep = json.dumps({**_chunk("a"), "usageMetadata": {**USAGE, "more": 0}}).encode()
    deep = deep.replace(b'"more": 0', b'"more": ' + b"[" * 100_000 + b"]" * 100_000)
    assert plain_texts([deep], 0).count == 0


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
