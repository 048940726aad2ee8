"""Recorded Gemini replies as Responses, read by the official SDK's accumulator.

What the client must see is computed from the raw recording, without the reader or the renderer.
"""

import json

import openai
import pytest
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from shared.dialects.contract import ReplyContext, Translation
from shared.dialects.openai_responses import fold, renderer
from shared.dialects.openai_responses.echo import echoed
from shared.dialects.openai_responses.options import ResponseOptions
from shared.gateway.sealing import Sealer
from shared.gemini.signatures import call_key
from tests.golden.test_chat_replies import WHOLE, events_of
from tests.golden.test_gemini_replies import FAULTS, RECORDINGS, Expected, chunks_of, cut, load, wire_bytes

EVENT = TypeAdapter(ResponseStreamEvent)
REPLY = ReplyContext("01TEST", 1_795_000_000, "gemini-requested", Sealer(b"pepper", "acct", bytes).seal)
INCLUDE = frozenset({"reasoning.encrypted_content", "code_interpreter_call.outputs", "web_search_call.action.sources"})
BLOCKED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY")


def spec():
    options = ResponseOptions(echo=echoed({}), include=INCLUDE, show_reasoning=True, logprobs=True, family="3")
    return Translation(request={}, stream=True, options=options)


def streamed(events):
    out = renderer(spec(), REPLY)
    return b"".join([out.feed(event) for event in events]) + out.close(events[-1].usage)


def read_by_sdk(raw):
    """The last response, after every event was validated and accumulated."""
    state = ResponseStreamState(text_format=openai.omit, input_tools=[])
    last = None
    for number, block in enumerate(raw.decode().split("\n\n")[:-1]):
        name, data = block.split("\n", 1)
        last = EVENT.validate_json(data.removeprefix("data: "))
        assert name == f"event: {last.type}"
        assert last.sequence_number == number
        state.handle_event(last)
    return last.response


def searches_first(response):
    """A buffered answer shows a search before the text, a stream where it learned of it."""
    output = sorted(response.output, key=lambda item: item.type != "web_search_call")
    return response.model_copy(update={"output": output})


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_client_sees_what_the_model_said(path):
    recording = load(path)
    data = wire_bytes(recording)
    events, _ = events_of([data])
    raw = streamed(events)
    assert streamed(events_of(cut(data, 3))[0]) == raw
    expected = Expected(chunks_of(recording))
    answer = read_by_sdk(raw)
    body = fold([events], spec(), REPLY, events[-1].usage)
    assert searches_first(Response.model_validate(body)) == searches_first(answer)

    assert answer.output_text == expected.text
    thoughts = "".join(part.text for item in answer.output if item.type == "reasoning" for part in item.summary)
    assert thoughts == expected.thoughts
    calls = [(item.name, json.loads(item.arguments)) for item in answer.output if item.type == "function_call"]
    assert calls == [(name, args) for name, args, _, _ in expected.calls]
    code = [part["executableCode"]["code"] for part in expected.parts if "executableCode" in part]
    assert [item.code for item in answer.output if item.type == "code_interpreter_call"] == code
    assert answer.status == status(expected, answer)
    usage = expected.usage
    if usage and not events[-1].usage.estimated:
        prompt = int(usage.get("promptTokenCount", 0)) + int(usage.get("toolUsePromptTokenCount", 0))
        assert answer.usage.input_tokens == prompt
        assert answer.usage.total_tokens == prompt + answer.usage.output_tokens


def status(expected, answer):
    if expected.blocked and not expected.reason:
        return "incomplete"
    if expected.reason in FAULTS:
        return "failed"
    if expected.reason in BLOCKED:
        return "incomplete"
    if expected.reason == "MAX_TOKENS":
        return "completed" if expected.calls else "incomplete"
    if expected.reason == "STOP":
        return "completed"
    return "completed" if answer.output else "incomplete"


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_signature_of_a_call_travels_before_it(path):
    events, _ = events_of([wire_bytes(load(path))])
    output = read_by_sdk(streamed(events)).output
    opener = Sealer(b"pepper", "acct").unseal
    signed = [call[3] for call in Expected(chunks_of(load(path))).calls if call[3]]
    found = []
    carried = ""
    for item in output:
        if item.type == "reasoning" and item.encrypted_content:
            carried = opener(item.encrypted_content).decode()
        elif item.type == "function_call" and call_key(item.call_id) in carried:
            ((_, signature, _, name),) = json.loads(carried)["bind"]
            assert name == item.name
            found.append(signature)
    assert found == signed


@pytest.mark.parametrize("path", [path for path in RECORDINGS if path not in WHOLE], ids=lambda path: path.stem)
def test_what_the_upstream_never_finished_has_failed_for_the_client(path):
    events, error = events_of([wire_bytes(load(path))])
    out = renderer(spec(), REPLY)
    raw = b"".join([out.feed(event) for event in events]) + out.fail(error)
    (*before, last) = [json.loads(block.split("data: ", 1)[1]) for block in raw.decode().split("\n\n")[:-1]]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["code"]
    added = [change for change in before if change["type"] == "response.output_item.added"]
    assert len(added) == len(last["response"]["output"])
