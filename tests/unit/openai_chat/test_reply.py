"""Events as Chat Completions: the exact chunk sequence, and the buffered answer equal to what the SDK makes of it."""

import base64
import json
import wave
from io import BytesIO

import pytest
from msgspec import structs
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from shared.dialects.contract import ReplyContext, Translation
from shared.dialects.openai_chat.options import ChatOptions
from shared.dialects.openai_chat.reply import fold, renderer
from shared.errors import ERROR_KINDS, GatewayError
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    End,
    Logprobs,
    Media,
    Start,
    ToolCall,
    Usage,
)

REPLY = ReplyContext(request_id="01TEST", created=1_795_000_000, requested_model="gemini-3.8-flash")
USAGE = Usage(
    prompt_tokens=10, cached_tokens=4, output_tokens=20, reasoning_tokens=7, prompt_modalities={"TEXT": 6, "IMAGE": 4}
)
END = End(finish="stop", reason="STOP", usage=USAGE)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nxx").decode()

ANSWERS = {
    "text": [
        Start("r1", "gemini-3.8-flash"),
        BlockStart(0, "text"),
        BlockDelta(0, "Hel"),
        BlockDelta(0, "lo\n"),
        BlockEnd(0),
        END,
    ],
    "reasoning then parallel calls": [
        Start("r2", "gemini-3.8-flash"),
        BlockStart(0, "reasoning"),
        BlockDelta(0, "I should "),
        BlockDelta(0, "look."),
        BlockEnd(0),
        BlockStart(1, "text"),
        BlockDelta(1, "Looking: "),
        BlockEnd(1),
        ToolCall(2, "look", {"city": "Zürich", "n": [1, {"deep": None}]}, None, "c2ln", "call_a"),
        ToolCall(3, "look", {}, None, None, "call_b"),
        END,
    ],
    "only a call": [Start("r3", ""), ToolCall(0, "f", {"a": 1}, None, None, "call_a"), END],
    "code": [
        Start("r4", "m"),
        Code(0, "PYTHON", "print(6*7)\n"),
        CodeResult(1, "OUTCOME_OK", "42\n"),
        BlockStart(2, "text"),
        BlockDelta(2, "It is 42."),
        BlockEnd(2),
        END,
    ],
    "image": [
        Start("r5", "m"),
        BlockStart(0, "text"),
        BlockDelta(0, "A cat: "),
        BlockEnd(0),
        Media(1, "image/png", PNG),
        END,
    ],
    "citations": [
        Start("r6", "m"),
        BlockStart(0, "text"),
        BlockDelta(0, "Spain won."),
        BlockEnd(0),
        Citation(0, 10, "https://a.example", "A"),
        Citation(0, 5, "https://b.example", "B"),
        End("stop", "STOP", USAGE, metadata={"groundingMetadata": {"webSearchQueries": ["who won"]}}),
    ],
    "blocked prompt": [Start("r7", "m"), End("blocked", "PROHIBITED_CONTENT", USAGE, prompt_blocked=True)],
    "blocked answer": [
        Start("r8", "m"),
        BlockStart(0, "text"),
        BlockDelta(0, "Well"),
        BlockEnd(0),
        End("blocked", "SAFETY", USAGE, message="Unsafe."),
    ],
    "cut": [
        Start("r9", "m"),
        BlockStart(0, "text"),
        BlockDelta(0, "Once"),
        BlockEnd(0),
        End("length", "MAX_TOKENS", USAGE),
    ],
    "silent": [Start("r10", "m"), End("length", "MAX_TOKENS", USAGE)],
}


def translation(choices: int = 1, **options: object) -> Translation:
    values: dict = {"include_usage": True, "show_reasoning": True} | options
    return Translation(request={}, stream=True, choices=choices, options=ChatOptions(**values))


def stream(answers: list[list], spec: Translation, usage: Usage = USAGE) -> bytes:
    out = renderer(spec, REPLY)
    longest = max(map(len, answers))
    frames = [
        out.feed(events[position], choice)
        for position in range(longest)
        for choice, events in enumerate(answers)
        if position < len(events)
    ]
    return b"".join([*frames, out.close(usage)])


def chunks(raw: bytes) -> list[dict]:
    lines = raw.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def accumulated(raw: bytes) -> ChatCompletion:
    state = ChatCompletionStreamState()
    for chunk in chunks(raw):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    return state.current_completion_snapshot  # the final one raises where an answer was cut or blocked


@pytest.mark.parametrize("name", ANSWERS)
def test_the_sdk_reads_the_stream_as_the_buffered_answer(name):
    spec = translation()
    buffered = fold([ANSWERS[name]], spec, REPLY, USAGE)
    ChatCompletion.model_validate(buffered)
    read = accumulated(stream([ANSWERS[name]], spec)).model_dump(exclude_unset=True)
    mine, theirs = buffered["choices"][0], read["choices"][0]
    assert (theirs["message"].get("content") or None) == (mine["message"]["content"] or None)
    assert theirs["finish_reason"] == mine["finish_reason"]
    assert theirs["message"].get("refusal") == mine["message"]["refusal"]
    assert theirs["message"].get("reasoning_content") == mine["message"].get("reasoning_content")
    calls = [
        {key: value for key, value in call.items() if key in ("id", "type", "function", "extra_content")}
        for call in theirs["message"].get("tool_calls") or []
    ]
    for call in calls:
        call["function"].pop("parsed_arguments", None)
    assert calls == mine["message"].get("tool_calls", [])
    assert read["usage"]["total_tokens"] == buffered["usage"]["total_tokens"] == 37
    assert read["id"] == buffered["id"]


def test_the_chunk_sequence_of_a_tool_call():
    got = chunks(stream([ANSWERS["only a call"]], translation()))
    assert [chunk["choices"][0]["delta"] if chunk["choices"] else "usage" for chunk in got] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
        {},
        "usage",
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in got[:-1]] == [None, None, None, "tool_calls"]
    assert all(chunk["usage"] is None for chunk in got[:-1])
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in got}) == 1


@pytest.mark.parametrize(("tier", "told"), [("PRIORITY", "priority"), ("flex", "flex"), ("standard", "default")])
def test_the_tier_that_served_an_answer_is_told_of_a_stream_too(tier, told):
    usage = structs.replace(USAGE, service_tier=tier)
    assert fold([ANSWERS["text"]], translation(), REPLY, usage)["service_tier"] == told
    last = ChatCompletionChunk.model_validate(chunks(stream([ANSWERS["text"]], translation(), usage))[-1])
    assert (last.service_tier, last.usage.total_tokens) == (told, 37)


def test_usage_appears_only_when_asked_for():
    got = chunks(stream([ANSWERS["text"]], translation(include_usage=False)))
    assert all("usage" not in chunk for chunk in got)


def test_every_choice_gets_its_role_before_any_other_delta():
    got = chunks(stream([ANSWERS["text"], ANSWERS["only a call"], ANSWERS["cut"]], translation(choices=3)))
    heads = [(chunk["choices"][0]["index"], chunk["choices"][0]["delta"].get("role")) for chunk in got[:3]]
    assert heads == [(0, "assistant"), (1, "assistant"), (2, "assistant")]
    assert sum(bool(chunk["choices"]) and bool(chunk["choices"][0]["finish_reason"]) for chunk in got) == 3
    read = accumulated(stream([ANSWERS["text"], ANSWERS["only a call"], ANSWERS["cut"]], translation(choices=3)))
    assert [choice.finish_reason for choice in read.choices] == ["stop", "tool_calls", "length"]


def test_null_content_beside_calls_and_empty_content_beside_nothing():
    assert fold([ANSWERS["only a call"]], translation(), REPLY, USAGE)["choices"][0]["message"]["content"] is None
    assert fold([ANSWERS["silent"]], translation(), REPLY, USAGE)["choices"][0]["message"]["content"] == ""
    blocked = fold([ANSWERS["blocked prompt"]], translation(), REPLY, USAGE)["choices"][0]
    assert (blocked["message"]["content"], blocked["message"]["refusal"]) == (None, "blocked: PROHIBITED_CONTENT")
    assert blocked["finish_reason"] == "content_filter"


def test_citations_count_once_and_carry_an_index_only_in_the_stream():
    got = chunks(stream([ANSWERS["citations"]], translation()))
    carriers = [chunk for chunk in got if chunk["choices"] and "annotations" in chunk["choices"][0]["delta"]]
    assert len(carriers) == 1
    assert [entry["index"] for entry in carriers[0]["choices"][0]["delta"]["annotations"]] == [0, 1]
    message = fold([ANSWERS["citations"]], translation(), REPLY, USAGE)["choices"][0]["message"]
    assert [sorted(entry) for entry in message["annotations"]] == [["type", "url_citation"]] * 2
    assert message["extra_content"]["google"]["grounding_metadata"] == {"webSearchQueries": ["who won"]}


def test_images_as_markdown_or_as_a_field_never_both():
    plain = fold([ANSWERS["image"]], translation(), REPLY, USAGE)["choices"][0]["message"]
    assert plain["content"] == f"A cat: ![image](data:image/png;base64,{PNG})"
    assert "images" not in plain
    field = fold([ANSWERS["image"]], translation(images_as_field=True), REPLY, USAGE)["choices"][0]["message"]
    assert field["content"] == "A cat: "
    assert field["images"][0]["image_url"]["url"] == f"data:image/png;base64,{PNG}"


def test_sound_becomes_a_wav_that_opens():
    pcm = bytes(range(256)) * 10
    half = [base64.b64encode(piece).decode() for piece in (pcm[:1000], pcm[1000:])]
    events = [Start("r", "m"), *(Media(i, "audio/L16;codec=pcm;rate=16000", data) for i, data in enumerate(half)), END]
    audio = fold([events], translation(audio_format="wav"), REPLY, USAGE)["choices"][0]["message"]["audio"]
    with wave.open(BytesIO(base64.b64decode(audio["data"]))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.readframes(9999)) == (16_000, 1, pcm)
    raw = fold([events], translation(audio_format="pcm16"), REPLY, USAGE)["choices"][0]["message"]["audio"]
    assert base64.b64decode(raw["data"]) == pcm


@pytest.mark.parametrize("audio_format", ["wav", "pcm16"])
def test_streamed_sound_has_the_form_that_was_asked_for(audio_format):
    pcm = bytes(range(256)) * 10
    out = renderer(translation(audio_format=audio_format), REPLY)
    raw = b""
    for index, piece in enumerate((pcm[:1000], pcm[1000:])):
        raw += out.feed(Media(index, "audio/L16;codec=pcm;rate=16000", base64.b64encode(piece).decode()))
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in raw.split(b"\n\n") if line]
    sound = b"".join(base64.b64decode(delta["audio"]["data"]) for delta in deltas if "audio" in delta)
    assert sound[-len(pcm) :] == pcm
    header = sound[: -len(pcm)]
    assert bool(header) == (audio_format == "wav")
    if header:
        assert (header[:4], header[4:8], header[36:]) == (b"RIFF", b"\xff" * 4, b"data" + b"\xff" * 4)
        assert int.from_bytes(header[24:28], "little") == 16_000


def test_legacy_functions_and_custom_tools_keep_their_own_shapes():
    legacy = fold([ANSWERS["only a call"]], translation(legacy_function_call=True), REPLY, USAGE)["choices"][0]
    assert legacy["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert legacy["finish_reason"] == "function_call"
    events = [Start("r", "m"), ToolCall(0, "sql", {"input": "select 1"}, None, None, "call_x"), END]
    custom = fold([events], translation(custom_tools=frozenset({"sql"})), REPLY, USAGE)["choices"][0]["message"]
    assert custom["tool_calls"] == [{"id": "call_x", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}]


def test_code_stands_in_a_block_of_its_own():
    text = [BlockStart(0, "text"), BlockDelta(0, "Let me see:"), BlockEnd(0)]
    events = [Start("r", "m"), *text, Code(1, "PYTHON", "print('```')"), CodeResult(2, "OUTCOME_OK", "```\n"), END]
    content = fold([events], translation(), REPLY, USAGE)["choices"][0]["message"]["content"]
    assert content == "Let me see:\n````python\nprint('```')\n````\n````output\n```\n````\n"
    frames = renderer(translation(), REPLY)
    lines = b"".join(frames.feed(event) for event in events).split(b"\n\n")
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line]
    assert "".join(delta.get("content", "") for delta in deltas) == content


def test_citations_count_what_stands_among_the_text():
    blocks = [
        [BlockStart(index, "text"), *(BlockDelta(index, piece) for piece in text), BlockEnd(index)]
        for index, text in ((0, ("We", "ll.")), (3, ("It is ", "42.")), (5, (" So.",)))
    ]
    code = [Code(1, "PYTHON", "print(6*7)"), CodeResult(2, "OUTCOME_OK", "42\n")]
    sources = [Citation(*span, "https://a.example", "A") for span in ((0, 5), (5, 14), (11, 13), (14, 18), (0, 14))]
    events = [Start("r", "m"), *blocks[0], *code, *blocks[1], Media(4, "image/png", PNG), *blocks[2], *sources, END]
    message = fold([events], translation(), REPLY, USAGE)["choices"][0]["message"]
    spans = [
        (item["url_citation"]["start_index"], item["url_citation"]["end_index"]) for item in message["annotations"]
    ]
    cited = [message["content"][start:end] for start, end in spans]
    assert cited[:4] == ["Well.", "It is 42.", "42", " So."]
    assert cited[4].startswith("Well.\n```python") and cited[4].endswith("It is 42.")
    frames = renderer(translation(mixed=True), REPLY)
    lines = b"".join(frames.feed(event) for event in events).split(b"\n\n")
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line]
    streamed = [item["url_citation"] for delta in deltas for item in delta.get("annotations", ())]
    assert [(item["start_index"], item["end_index"]) for item in streamed] == spans


def test_logprobs_with_bytes():
    chosen = {"token": "é", "logProbability": -0.5}
    events = [
        Start("r", "m"),
        Logprobs((chosen,), ((chosen, {"token": "e", "logProbability": -1.0}),)),
        *ANSWERS["text"][1:],
    ]
    body = fold([events], translation(logprobs=True), REPLY, USAGE)
    content = ChatCompletion.model_validate(body).choices[0].logprobs.content
    assert (content[0].token, content[0].bytes, len(content[0].top_logprobs)) == ("é", [195, 169], 2)
    assert fold([events], translation(), REPLY, USAGE)["choices"][0]["logprobs"] is None


def test_a_broken_stream_ends_with_the_error_and_without_done():
    out = renderer(translation(), REPLY)
    raw = out.feed(ANSWERS["text"][0]) + out.fail(GatewayError("upstream_interrupted", "It broke."))
    last = json.loads(raw.decode().rstrip().rsplit("data: ", 1)[1])
    assert last["error"]["code"] == "stream_interrupted"
    assert b"[DONE]" not in raw


def test_every_error_kind_has_a_wire_form():
    from shared.dialects.openai.errors import WIRE, render_error

    assert set(WIRE) == set(ERROR_KINDS)
    for kind in ERROR_KINDS:
        status, body, _ = render_error(GatewayError(kind, "m"), "r")
        assert 400 <= status < 600
        assert set(body["error"]) == {"message", "type", "param", "code"}
