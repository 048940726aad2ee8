"""Recorded Gemini replies as chat completions, read by the official SDK's accumulator.

What the client must see is computed from the raw recording, without the reader or the renderer.
"""

import json

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion_usage import CompletionUsage

from shared.dialects.contract import ReplyContext, Translation
from shared.dialects.openai_chat.options import ChatOptions
from shared.dialects.openai_chat.reply import fold, renderer
from shared.events import End
from tests.golden.shaped_events import shaped_events
from tests.golden.test_gemini_replies import FAULTS, RECORDINGS, Expected, chunks_of, cut, load, wire_bytes

REPLY = ReplyContext("01TEST", 1_795_000_000, "gemini-requested")


def events_of(pieces):
    return shaped_events(pieces, "call_")


def spec():
    return Translation(
        request={}, stream=True, options=ChatOptions(include_usage=True, show_reasoning=True, logprobs=True)
    )


def streamed(events):
    out = renderer(spec(), REPLY)
    raw = b"".join([out.feed(event) for event in events])
    return raw + out.close(events[-1].usage)


def read_by_sdk(raw):
    state = ChatCompletionStreamState()
    lines = raw.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    for line in lines[:-2]:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(line.removeprefix("data: ")))
    return state.current_completion_snapshot


WHOLE = [path for path in RECORDINGS if events_of([wire_bytes(load(path))])[1] is None]


def test_there_are_enough_of_them():
    assert len(WHOLE) >= 150
    assert sum("stream" in load(path) or "wire" in load(path) for path in WHOLE) >= 50


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_client_sees_what_the_model_said(path):
    recording = load(path)
    data = wire_bytes(recording)
    events, _ = events_of([data])
    raw = streamed(events)
    for seed in (1, 2):
        assert streamed(events_of(cut(data, seed))[0]) == raw

    body = fold([events], spec(), REPLY, events[-1].usage)
    buffered = ChatCompletion.model_validate(body).choices[0]
    completion = read_by_sdk(raw)
    (choice,) = completion.choices
    expected = Expected(chunks_of(recording))

    plain = not any(set(part) & {"inlineData", "executableCode", "codeExecutionResult"} for part in expected.parts)
    content = choice.message.content or ""
    assert content == (buffered.message.content or "")
    if plain:
        assert content == expected.text
    assert (getattr(choice.message, "reasoning_content", None) or "") == expected.thoughts
    assert (getattr(buffered.message, "reasoning_content", None) or "") == expected.thoughts

    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]
    assert calls == [(name, args) for name, args, _, _ in expected.calls]
    assert [call.id for call in buffered.message.tool_calls or []] == [
        call.id for call in choice.message.tool_calls or []
    ]

    assert choice.finish_reason == buffered.finish_reason == finish(expected, bool(content))
    usage = expected.usage
    if usage and not events[-1].usage.estimated:
        prompt = int(usage.get("promptTokenCount", 0)) + int(usage.get("toolUsePromptTokenCount", 0))
        assert completion.usage.prompt_tokens == prompt == body["usage"]["prompt_tokens"]
        counted = int(usage.get("candidatesTokenCount", 0)) + int(usage.get("thoughtsTokenCount", 0))
        total = int(usage.get("totalTokenCount", 0))
        # a few recorded totals do not add up: the parts are what is billed
        assert completion.usage.completion_tokens in (counted, total - prompt)
        assert completion.usage.total_tokens == prompt + completion.usage.completion_tokens
        assert completion.usage.to_dict() == CompletionUsage.model_validate(body["usage"]).to_dict()


def finish(expected, output):
    if expected.blocked and not expected.reason:
        return "content_filter"
    if expected.reason in FAULTS:
        return "stop"
    if expected.calls:
        return "tool_calls"
    table = {"STOP": "stop", "MAX_TOKENS": "length"}
    if expected.reason in table:
        return table[expected.reason]
    if expected.reason in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"):
        return "content_filter"
    return "stop" if output else "content_filter"


@pytest.mark.parametrize("path", [path for path in RECORDINGS if path not in WHOLE], ids=lambda path: path.stem)
def test_what_the_upstream_never_finished_is_never_finished_for_the_client(path):
    events, error = events_of([wire_bytes(load(path))])
    assert not any(isinstance(event, End) for event in events)
    out = renderer(spec(), REPLY)
    raw = b"".join([out.feed(event) for event in events]) + out.fail(error)
    chunks = [json.loads(line.removeprefix("data: ")) for line in raw.decode().split("\n\n") if line]
    assert chunks[-1]["error"]["code"]
    assert not any(choice["finish_reason"] for chunk in chunks[:-1] for choice in chunk["choices"])
