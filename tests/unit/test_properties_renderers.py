"""Any answer, whether it ends well or breaks: every renderer writes whole frames, and every fold a body."""

import importlib
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dialects.contract import ReplyContext, RequestContext
from shared.dialects.running_text import MARK, RunningText, around
from shared.errors import ERROR_KINDS, ErrorKind, GatewayError
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
from shared.gemini.catalog import resolve
from shared.json_codec import encode
from shared.sse import SseSplitter, frame

SAID: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": SAID, "stream": True, "stream_options": {"include_usage": True}},
    "openai_responses": {"input": "hi", "stream": True, "include": ["reasoning.encrypted_content"]},
    "anthropic_messages": {"messages": SAID, "max_tokens": 4096, "stream": True},
    "vendor.apigpt": {"messages": SAID, "stream": True},
    "vendor.google_compat": {"messages": SAID, "stream": True},
}
THOUGHTS: dict[str, dict[str, Any]] = {
    "openai_chat": {"include_reasoning": True},
    "openai_responses": {"reasoning": {"summary": "auto"}},
    "anthropic_messages": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SIGNATURES = st.none() | st.just("c2lnbmF0dXJl")
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=2))
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=3)
METADATA = st.dictionaries(
    st.sampled_from(["groundingMetadata", "citationMetadata", "urlContextMetadata", "safetyRatings"]), OBJECTS | VALUES
)
FINISHES = st.sampled_from(["stop", "length", "continuation", "blocked", "no_output", "fault", "account"])
COUNTS = st.integers(0, 10**6)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 3), estimated=st.booleans())


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Events in the order that the vocabulary promises."""
    events: list[Event] = [Start(draw(st.just("") | TEXT), draw(st.just("") | st.just("gemini-3.8-flash")))]
    for index in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["text", "reasoning", "call", "media", "code", "result", "tool", "loose", "probs"]))
        signature = draw(SIGNATURES)
        if kind in ("text", "reasoning"):
            events += [BlockStart(index, kind), *(BlockDelta(index, said) for said in draw(st.lists(TEXT, max_size=3)))]
            events.append(BlockEnd(index, signature))
        else:
            events.append(draw(_single(kind, index, signature)))
    events += draw(st.lists(st.builds(Citation, COUNTS, COUNTS, st.just("https://a.example/"), TEXT), max_size=2))
    events.append(
        End(draw(FINISHES), draw(TEXT), draw(USAGES), message=draw(st.none() | TEXT), metadata=draw(METADATA))
    )
    return events


@st.composite
def prose(draw: st.DrawFn) -> list[Event]:
    """Blocks of several texts, and what may stand among the texts and between the blocks."""
    events: list[Event] = [Start("", "")]
    said = st.lists(st.sampled_from(["a", "b\n", "\u2028„", "\\"]), min_size=1, max_size=4)
    among: list[Event] = [LooseSignature("c2ln"), Logprobs(({"token": "a"},), ())]
    between: list[Event] = [Code(99, "PYTHON", "1"), ToolCall(99, "f", {}, None, "c2ln", "call_1")]
    for index in range(draw(st.integers(1, 5))):
        events.append(BlockStart(index, draw(st.sampled_from(["text", "reasoning"]))))
        for text in draw(said):
            events += [BlockDelta(index, text), *draw(st.lists(st.sampled_from(among), max_size=1))]
        events += [BlockEnd(index, draw(SIGNATURES)), *draw(st.lists(st.sampled_from(between), max_size=1))]
    return [*events, End("stop", "STOP", Usage())]


def _single(kind: str, index: int, signature: str | None) -> st.SearchStrategy[Event]:
    match kind:
        case "call":
            known = {
                "native_id": st.none() | TEXT,
                "signature": st.just(signature),
                "call_id": st.just(f"call_{index}"),
            }
            return st.builds(ToolCall, st.just(index), TEXT, OBJECTS, **known)
        case "media":
            types = st.sampled_from(["image/png", "audio/L16;rate=24000", "video/mp4", "", "x"])
            return st.builds(Media, st.just(index), types, st.sampled_from(["aGk=", ""]), st.just(signature))
        case "code":
            return st.builds(Code, st.just(index), st.just("PYTHON"), TEXT, signature=st.just(signature))
        case "result":
            return st.builds(CodeResult, st.just(index), TEXT, TEXT, signature=st.just(signature))
        case "tool":
            parts = st.sampled_from(["toolCall", "toolResponse", "other"])
            return st.builds(lambda name, value: ServerTool(index, {name: value}), parts, OBJECTS)
        case "loose":
            return st.just(LooseSignature("c2ln"))
    tokens = st.builds(
        lambda token, number: {"token": token, "logProbability": number}, TEXT, st.none() | st.floats(-9, 0)
    )
    return st.builds(
        lambda chosen: Logprobs(tuple(chosen), tuple((one,) for one in chosen)), st.lists(tokens, max_size=2)
    )


def begun(name: str, *, thoughts: bool = False) -> tuple[Any, Any, ReplyContext]:
    dialect = importlib.import_module(f"shared.dialects.{name}")
    model = resolve("gemini-3.8-flash", date(2026, 11, 21))
    body = BODIES[name] | (THOUGHTS[name] if thoughts else {})
    translation = dialect.to_gemini({"model": "gemini-3.8-flash", **body}, RequestContext(model, {}))
    return dialect, translation, ReplyContext("01REQUEST", 1_800_000_000, "asked-for", lambda data: data.hex())


def frames_of(raw: bytes) -> Iterator[Any]:
    """Every frame is one event, and its data JSON or the dialect's own last word."""
    splitter = SseSplitter()
    for event in [*splitter.feed(raw), *splitter.close()]:
        assert event.kind == "event"
        yield "[DONE]" if event.data == b"[DONE]" else json.loads(event.data)


COMMON = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", BODIES)
@COMMON
@given(answers(), USAGES, st.integers(0, 9))
def test_any_answer_is_whole_frames_and_a_body(name: str, events: list[Event], usage: Usage, beat: int) -> None:
    dialect, translation, reply = begun(name)
    renderer = dialect.renderer(translation, reply)
    raw = b""
    try:
        for position, event in enumerate(events):
            if position == beat:
                raw += renderer.heartbeat()
            raw += renderer.feed(event, 0)
        raw += renderer.close(usage)
        body = dialect.fold([events], translation, reply, usage)
    except GatewayError as error:  # an end that this dialect can only call a failure
        assert error.kind.startswith("upstream_")
        with pytest.raises(GatewayError):
            dialect.fold([events], translation, reply, usage)
        return
    assert list(frames_of(raw))
    json.dumps(body, allow_nan=False)
    said = "".join(event.text for event in events if isinstance(event, BlockDelta) and _visible(event, events))
    for word in filter(str.isalnum, said.split()):
        assert word in json.dumps(body, ensure_ascii=False)


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "anthropic_messages"])
@settings(COMMON, max_examples=250)
@given(st.booleans(), prose() | answers(), USAGES)
def test_running_text_is_framed_like_any_other_event(
    name: str, thoughts: bool, events: list[Event], usage: Usage
) -> None:
    """Texts are framed by a shortcut: a renderer that has to begin anew with every event writes the same."""
    dialect, translation, reply = begun(name, thoughts=thoughts)
    quick, plain = dialect.renderer(translation, reply), dialect.renderer(translation, reply)
    written = []
    for renderer in (quick, plain):
        frames = b""
        with suppress(GatewayError):
            for event in events:
                if renderer is plain:
                    forget_running_text(renderer, dialect.renderer(translation, reply))
                frames += renderer.feed(event)
            frames += renderer.close(usage)
        written.append(frames)
    assert written[0] == written[1]


def forget_running_text(renderer: Any, fresh: Any) -> None:
    for name in {"_running", "_block", "_hidden"} & vars(renderer).keys():
        setattr(renderer, name, getattr(fresh, name))


@given(st.text(), st.text(max_size=3))
def test_a_frame_of_running_text_is_that_of_the_whole(text: str, word: str) -> None:
    def whole(said: str) -> bytes:
        return frame(encode({"type": "x", "word": word, "delta": {"text": said}, "end": None}), "x")

    assert RunningText(0, *around(whole(MARK))).frame(text) == whole(text)


def _visible(delta: BlockDelta, events: list[Event]) -> bool:
    return any(isinstance(one, BlockStart) and one.index == delta.index and one.kind == "text" for one in events)


@pytest.mark.parametrize("name", BODIES)
@COMMON
@given(answers(), st.sampled_from(ERROR_KINDS), st.integers(0, 12), st.none() | st.floats(0, 100))
def test_a_break_at_any_place_ends_in_the_dialects_own_error(
    name: str, events: list[Event], kind: ErrorKind, place: int, retry_after: float | None
) -> None:
    dialect, translation, reply = begun(name)
    renderer = dialect.renderer(translation, reply)
    raw = b"".join([renderer.feed(event, 0) for event in events[:-1][:place]])
    error = GatewayError(kind, "It broke.", retry_after=retry_after)
    last = list(frames_of(raw + renderer.fail(error)))
    assert "error" in json.dumps(last[-2:])
    status, body, _ = dialect.render_error(error, "01REQUEST")
    assert 400 <= status < 600
    # Anthropic's words for an overflow are those that make agents compact their history
    assert "It broke." in json.dumps(body) or status >= 500 or kind == "context_length_exceeded"
