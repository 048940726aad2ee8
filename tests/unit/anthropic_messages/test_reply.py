"""Events as Anthropic messages: the exact event sequence, and the buffered answer equal to what the SDK makes of it."""

import base64
import json

import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types.beta import BetaMessage

from shared.dialects.anthropic_messages.envelope import Envelope, open_envelope
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.reply import fold, renderer
from shared.dialects.contract import ReplyContext, Translation
from shared.errors import GatewayError
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Code,
    CodeResult,
    End,
    Logprobs,
    LooseSignature,
    Media,
    Start,
    ToolCall,
    Usage,
)
from shared.gateway.shaping import Shaper
from shared.json_codec import encode
from shared.sse import frame
from tests.unit.anthropic_messages.sdk_reading import check_order, pairs_of, plain, read_by_beta_sdk, read_by_sdk

REPLY = ReplyContext(request_id="01TEST", created=1_795_000_000, requested_model="claude-opus-5-5")
USAGE = Usage(prompt_tokens=100, cached_tokens=40, tool_use_tokens=5, output_tokens=20, reasoning_tokens=7)
END = End("stop", "STOP", USAGE)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nxx").decode()
FAMILY = "gemini-3"
THINKING = {"thinking_asked": True, "show_thinking": True}


def text(index, *pieces, signature=None):
    return [BlockStart(index, "text"), *(BlockDelta(index, piece) for piece in pieces), BlockEnd(index, signature)]


def thought(index, *pieces, signature=None):
    return [BlockStart(index, "reasoning"), *(BlockDelta(index, piece) for piece in pieces), BlockEnd(index, signature)]


START = Start("r1", "gemini-3.8-flash")
SIGNED = ToolCall(2, "look", {"city": "Zürich", "n": [1, {"deep": None}]}, "nat1", "c2ln", "toolu_a")
UNSIGNED = ToolCall(3, "look", {}, "nat2", None, "toolu_b")

ANSWERS = {
    "text": [START, *text(0, "Hel", "lo\n\u2028", "☃"), END],
    "thought, text, parallel calls": [
        START,
        *thought(0, "I should ", "look."),
        *text(1, "Looking: "),
        SIGNED,
        UNSIGNED,
        END,
    ],
    "thought and call": [START, *thought(0, "Hm."), SIGNED, END],
    "only a call": [START, UNSIGNED, END],
    "two signed calls": [
        START,
        SIGNED,
        ToolCall(3, "look", {"a": 1}, None, "c2lnMg", "toolu_c"),
        LooseSignature("bG9vc2U"),
        END,
    ],
    "text after calls": [START, *text(0, "a"), UNSIGNED, *text(4, "b"), END],
    "interleaved thoughts": [START, *thought(0, "x"), *text(1, "y"), *thought(2, "z"), *text(3, "w"), END],
    "signed text": [START, *thought(0, "x"), *text(1, "y", signature="dGV4dA"), *text(2, "z"), END],
    "loose signature": [START, *thought(0, "x"), LooseSignature("bG9vc2U"), *text(1, "y"), END],
    "code": [
        START,
        *text(0, "Let me see"),
        Code(1, "PYTHON", "print(6*7)\n"),
        CodeResult(2, "OUTCOME_OK", "42\n"),
        *text(3, "It is 42."),
        END,
    ],
    "failed code": [START, Code(0, "PYTHON", "1/0"), CodeResult(1, "OUTCOME_FAILED", "ZeroDivisionError"), END],
    "image": [START, *text(0, "A cat:"), Media(1, "image/png", PNG), *text(2, "Nice."), END],
    "refused prompt": [START, End("blocked", "PROHIBITED_CONTENT", USAGE, prompt_blocked=True)],
    "refused answer": [START, *text(0, "Well"), End("blocked", "SAFETY", USAGE, message="Unsafe.")],
    "cut": [START, *text(0, "Once"), End("length", "MAX_TOKENS", USAGE)],
    "nothing": [START, LooseSignature("bG9vc2U"), END],
    "stop sequence": [START, *text(0, "one "), End("stop", "STOP", Usage(), stop_sequence="two")],
    "logprobs": [START, *text(0, "a"), Logprobs(({"token": "a"},), ()), END],
}


def prompt_of(characters):
    return {"contents": [{"role": "user", "parts": [{"text": "x" * characters}]}]}


OPTIONS = {
    "thinking not asked": {},
    "thinking": THINKING,
    "thinking omitted": {"thinking_asked": True},
    "code declared": {**THINKING, "server_tools": frozenset({"code_execution"}), "only_server_tools": True},
    "speed": {"speed": "fast", "prompt": prompt_of(48)},
}


def spec(**options):
    return Translation(request={}, options=MessagesOptions(family=FAMILY, **options))


def streamed(events, translation, usage=USAGE):
    out = renderer(translation, REPLY)
    return b"".join([*(out.feed(event) for event in events), out.close(usage)])


def body_of(name, **options):
    return fold([ANSWERS[name]], spec(**options), REPLY, USAGE)


def content(name, **options):
    return body_of(name, **options)["content"]


def opened(block):
    return open_envelope(block["signature"])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ANSWERS)
def test_the_sdks_read_the_stream_as_the_buffered_answer(name, options):
    translation = spec(**OPTIONS[options])
    raw = streamed(ANSWERS[name], translation)
    check_order(pairs_of(raw))
    body = fold([ANSWERS[name]], translation, REPLY, USAGE)
    SdkMessage.model_validate(body)
    BetaMessage.model_validate(body)
    assert plain(read_by_sdk(raw)) == body
    assert plain(read_by_beta_sdk(raw)) == body
    assert all(block["signature"] for block in body["content"] if block["type"] == "thinking")


def test_the_exact_stream_of_a_thought_and_a_call():
    raw = streamed(ANSWERS["thought and call"], spec(**THINKING))
    signature = opened({"signature": pairs_of(raw)[3][1]["delta"]["signature"]})
    assert signature == Envelope(FAMILY, "fc", "nat1", "c2ln")
    lines = raw.decode().split("\n\n")
    assert lines.pop() == ""
    start, *middle, _ = [line.partition("\ndata: ") for line in lines]
    assert start[0] == "event: message_start"
    message = json.loads(start[2])["message"]
    assert len(message["id"].removeprefix("msg_")) == 24
    assert message | {"id": ""} == {
        "id": "",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 1,
            "service_tier": "standard",
        },
    }
    shown = [(name.removeprefix("event: "), json.loads(data)) for name, _, data in middle]
    del shown[2]  # the signature, seen above
    block = "content_block_"
    call = {"type": "tool_use", "id": "toolu_a", "name": "look", "input": {}}
    arguments = '{"city":"Zürich","n":[1,{"deep":null}]}'
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    usage = {
        "input_tokens": 65,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 40,
        "output_tokens": 27,
        "output_tokens_details": {"thinking_tokens": 7},
    }
    assert shown == [
        (f"{block}start", {"type": f"{block}start", "index": 0, "content_block": thinking}),
        (
            f"{block}delta",
            {"type": f"{block}delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
        ),
        (f"{block}stop", {"type": f"{block}stop", "index": 0}),
        (f"{block}start", {"type": f"{block}start", "index": 1, "content_block": call}),
        (
            f"{block}delta",
            {"type": f"{block}delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": arguments}},
        ),
        (f"{block}stop", {"type": f"{block}stop", "index": 1}),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                "usage": usage,
            },
        ),
    ]
    assert lines[-1] == 'event: message_stop\ndata: {"type":"message_stop"}'


def test_a_call_without_arguments_has_one_empty_object():
    pairs = pairs_of(streamed(ANSWERS["only a call"], spec()))
    deltas = [data["delta"] for name, data in pairs if name == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": "{}"}]
    assert content("only a call")[0]["input"] == {}


def test_text_runs_are_one_block_and_what_stands_between_ends_them():
    assert content("text") == [{"type": "text", "text": "Hello\n\u2028☃"}]
    assert [block.get("text") for block in content("signed text")] == ["yz"]
    assert [block["type"] for block in content("text after calls")] == ["text", "tool_use", "text"]
    kinds = [block["type"] for block in content("interleaved thoughts", **THINKING)]
    assert kinds == ["thinking", "text", "thinking", "text"]


def test_nobody_who_did_not_ask_sees_a_thinking_block():
    for name in ANSWERS:
        assert not [block for block in content(name) if block["type"] == "thinking"]


def test_the_signature_of_a_call_travels_in_the_thought_before_it():
    blocks = content("thought and call", **THINKING)
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
    assert blocks[0]["thinking"] == "Hm."
    assert opened(blocks[0]) == Envelope(FAMILY, "fc", "nat1", "c2ln")


def test_a_call_with_no_thought_before_it_gets_an_empty_one():
    blocks = content("thought, text, parallel calls", **THINKING)
    assert [block["type"] for block in blocks] == ["thinking", "text", "thinking", "tool_use", "tool_use"]
    assert opened(blocks[0]) == Envelope(FAMILY, "th")
    assert blocks[2]["thinking"] == ""
    assert opened(blocks[2]) == Envelope(FAMILY, "fc", "nat1", "c2ln")
    assert [block["type"] for block in content("only a call", **THINKING)] == ["tool_use"]


def test_every_signed_call_has_its_own_envelope():
    blocks = content("two signed calls", **THINKING)
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"] * 2
    assert [opened(block).signature for block in blocks[::2]] == ["c2ln", "c2lnMg"]


def test_omitted_thoughts_still_carry_signatures():
    blocks = content("thought and call", thinking_asked=True)
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
    assert blocks[0]["thinking"] == ""
    assert opened(blocks[0]).signature == "c2ln"


def test_a_loose_signature_is_carried_only_by_an_open_thought():
    blocks = content("loose signature", **THINKING)
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    assert opened(blocks[0]) == Envelope(FAMILY, "text", "", "bG9vc2U")
    assert content("nothing", **THINKING) == []


def test_a_signed_thought_keeps_its_signature():
    events = [START, *thought(0, "x", signature="dGg"), *text(1, "y"), END]
    (thinking, _) = fold([events], spec(**THINKING), REPLY, USAGE)["content"]
    assert opened(thinking) == Envelope(FAMILY, "th", "", "dGg")


def test_code_is_fenced_text_where_the_client_did_not_declare_it():
    (block,) = content("code")
    assert block["text"] == "Let me see\n```python\nprint(6*7)\n```\n```output\n42\n```\nIt is 42."


def test_declared_code_is_a_server_tool():
    declared = OPTIONS["code declared"]
    _, use, result, _ = content("code", **declared)
    assert use["id"].startswith("srvtoolu_")
    assert len(use["id"]) == len("srvtoolu_") + 24
    assert use | {"id": ""} == {
        "type": "server_tool_use",
        "id": "",
        "name": "code_execution",
        "input": {"code": "print(6*7)\n"},
    }
    assert result == {
        "type": "code_execution_tool_result",
        "tool_use_id": use["id"],
        "content": {
            "type": "code_execution_result",
            "stdout": "42\n",
            "stderr": "",
            "return_code": 0,
            "content": [],
        },
    }
    failed = content("failed code", **declared)[1]["content"]
    assert (failed["stdout"], failed["stderr"], failed["return_code"]) == ("", "ZeroDivisionError", 1)
    assert body_of("code", **declared)["stop_reason"] == "end_turn"


def test_each_run_of_code_has_its_own_id():
    events = [
        START,
        Code(0, "PYTHON", "a"),
        CodeResult(1, "OUTCOME_OK", "1"),
        Code(2, "PYTHON", "b"),
        CodeResult(3, "OUTCOME_DEADLINE_EXCEEDED", ""),
        END,
    ]
    blocks = fold([events], spec(**OPTIONS["code declared"]), REPLY, USAGE)["content"]
    assert blocks[0]["id"] == blocks[1]["tool_use_id"] != blocks[2]["id"] == blocks[3]["tool_use_id"]
    assert blocks[3]["content"]["stderr"] == "OUTCOME_DEADLINE_EXCEEDED"


def test_an_image_is_a_text_block_of_its_own():
    blocks = content("image")
    assert [block["text"] for block in blocks] == ["A cat:", f"![image](data:image/png;base64,{PNG})", "Nice."]


@pytest.mark.parametrize(
    ("name", "stop_reason", "stop_sequence"),
    [
        ("text", "end_turn", None),
        ("nothing", "end_turn", None),
        ("only a call", "tool_use", None),
        ("text after calls", "tool_use", None),
        ("cut", "max_tokens", None),
        ("stop sequence", "stop_sequence", "two"),
        ("refused prompt", "refusal", None),
        ("refused answer", "refusal", None),
    ],
)
def test_stop_reasons(name, stop_reason, stop_sequence):
    body = body_of(name)
    assert (body["stop_reason"], body["stop_sequence"]) == (stop_reason, stop_sequence)
    assert ("stop_details" in body) == (stop_reason == "refusal")


def test_a_refusal_says_why_and_keeps_what_was_said():
    assert body_of("refused prompt")["content"] == []
    body = body_of("refused answer")
    assert body["content"] == [{"type": "text", "text": "Well"}]
    assert body["stop_details"] == {"type": "refusal", "category": None, "explanation": "Gemini: SAFETY"}
    language = [START, *text(0, "Well"), End("no_output", "LANGUAGE", USAGE)]
    assert fold([language], spec(), REPLY, USAGE)["stop_reason"] == "refusal"


def test_a_long_decode_that_went_too_far_is_cut():
    events = [START, *text(0, "Once"), End("continuation", "CONTINUATION", USAGE)]
    assert fold([events], spec(), REPLY, USAGE)["stop_reason"] == "max_tokens"


def test_a_cut_answer_with_a_whole_call_is_cut():
    events = [START, UNSIGNED, End("length", "MAX_TOKENS", USAGE)]
    assert fold([events], spec(), REPLY, USAGE)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (End("fault", "MALFORMED_FUNCTION_CALL", USAGE), "upstream_fault"),
        (End("no_output", "OTHER", USAGE), "upstream_fault"),
        (End("no_output", "NO_IMAGE", USAGE), "upstream_fault"),
        (End("no_output", "BRAND_NEW", USAGE), "upstream_truncated"),
        (End("account", "PUP_LIMITED_DISABLED", USAGE), "upstream_auth"),
    ],
)
def test_an_end_that_is_none_is_never_rendered_as_one(end, kind):
    """A client that takes a failure for an end of turn stops working, or asks again for ever."""
    events = [START, *text(0, "Well"), UNSIGNED]
    out = renderer(spec(), REPLY)
    raw = b"".join(out.feed(event) for event in events)
    with pytest.raises(GatewayError) as streaming:
        out.feed(end)
    with pytest.raises(GatewayError) as buffered:
        fold([[*events, end]], spec(), REPLY, USAGE)
    assert streaming.value.kind == buffered.value.kind == kind
    pairs = pairs_of(raw + out.fail(streaming.value))
    assert [name for name, _ in pairs].count("error") == 1
    assert pairs[-1][0] == "error"
    assert not {"message_delta", "message_stop"} & {name for name, _ in pairs}
    assert not [data for _, data in pairs if data.get("content_block", {}).get("type") == "tool_use"]


def test_a_stream_without_an_end_has_none():
    out = renderer(spec(), REPLY)
    out.feed(START)
    with pytest.raises(GatewayError) as caught:
        out.close(USAGE)
    assert caught.value.kind == "upstream_truncated"


def test_nothing_is_sent_before_there_is_something_to_show():
    """The status line leaves with the first frame; until then a failure has its own."""
    out = renderer(spec(), REPLY)
    assert out.feed(START) == b""
    assert out.feed(BlockStart(0, "reasoning")) == b""
    assert out.feed(BlockDelta(0, "hidden")) == b""
    assert out.feed(BlockEnd(0)) == b""
    assert out.feed(BlockStart(1, "text")) == b""
    assert [name for name, _ in pairs_of(out.feed(BlockDelta(1, "x")))] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
    ]


def test_text_is_not_held_back():
    out = renderer(spec(**THINKING), REPLY)
    frames = [out.feed(event) for event in [START, *thought(0, "a", "b"), *text(1, "c", "d")]]
    assert [len(frame) > 0 for frame in frames] == [False, False, True, True, False, False, True, True, False]


def test_a_ping_may_come_at_any_time():
    out = renderer(spec(), REPLY)
    assert out.heartbeat() == b'event: ping\ndata: {"type":"ping"}\n\n'
    frames = [out.heartbeat() + out.feed(event) for event in ANSWERS["text"]]
    read = read_by_sdk(b"".join(frames) + out.heartbeat() + out.close(USAGE))
    assert plain(read) == body_of("text")


def test_ids_belong_to_the_request():
    other = ReplyContext("01OTHER", REPLY.created, REPLY.requested_model)
    assert body_of("text")["id"] == body_of("text")["id"]
    assert body_of("text")["id"] != fold([ANSWERS["text"]], spec(), other, USAGE)["id"]


def test_usage_counts_no_token_twice():
    usage = body_of("text")["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == USAGE.input_total
    assert usage["output_tokens"] == USAGE.output_total
    assert usage["output_tokens_details"] == {"thinking_tokens": 7}
    assert "server_tool_use" not in usage
    more_cached = Usage(prompt_tokens=3, cached_tokens=9)
    assert fold([ANSWERS["text"]], spec(), REPLY, more_cached)["usage"]["input_tokens"] == 0


def test_usage_names_the_tier_and_the_speed_that_served():
    assert "speed" not in body_of("text")["usage"]
    assert body_of("text", speed="fast")["usage"]["speed"] == "fast"
    assert body_of("text")["usage"]["service_tier"] == "standard"
    priority = Usage(prompt_tokens=3, service_tier="PRIORITY")
    assert fold([ANSWERS["text"]], spec(), REPLY, priority)["usage"]["service_tier"] == "priority"


def test_a_stream_starts_with_the_local_estimate_and_ends_with_the_count():
    pairs = pairs_of(streamed(ANSWERS["text"], spec(prompt=prompt_of(200))))
    assert pairs[0][1]["message"]["usage"]["input_tokens"] == 50
    assert pairs[-2][1]["usage"]["input_tokens"] == 65


@pytest.mark.parametrize(
    ("defect", "raised"),
    [
        (lambda pairs: [pair for pair in pairs if pair[0] != "content_block_start"], IndexError),
        (lambda pairs: [(name, data | {"index": 7} if "index" in data else data) for name, data in pairs], IndexError),
        (
            lambda pairs: [(name, {k: v for k, v in data.items() if k != "usage"}) for name, data in pairs],
            AttributeError,
        ),
    ],
    ids=["no start", "gap", "no usage"],
)
def test_the_sdk_refuses_what_must_never_be_sent(defect, raised):
    """The judge of these tests can say no: defects that crash the official accumulators."""
    pairs = defect(pairs_of(streamed(ANSWERS["text"], spec())))
    raw = b"".join(frame(encode(data), name) for name, data in pairs)
    with pytest.raises(raised):
        read_by_sdk(raw)


def test_a_signature_of_text_that_was_swallowed_is_not_the_thoughts():
    events = [START, *thought(0, "x"), BlockStart(1, "text"), BlockEnd(1, "dGV4dA"), SIGNED, END]
    thinking, call = fold([events], spec(**THINKING), REPLY, USAGE)["content"]
    assert opened(thinking) == Envelope(FAMILY, "fc", "nat1", "c2ln")
    assert call["id"] == "toolu_a"


def test_a_stop_sequence_that_the_gateway_found_is_named():
    translation = Translation(request={}, stop=("two", "four"), options=MessagesOptions())
    shaper = Shaper(translation, lambda: "toolu_x")
    events = []
    for event in [START, BlockStart(0, "text"), BlockDelta(0, "one t"), BlockDelta(0, "wo three")]:
        events += shaper.feed(event)
    body = fold([[*events, *shaper.stop()]], translation, REPLY, USAGE)
    assert body["content"] == [{"type": "text", "text": "one "}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "two")


def test_an_answer_of_no_tokens_is_a_cut_one():
    """What a request for `max_tokens: 0` gets without asking the upstream."""
    body = fold([[START, End("length", "MAX_TOKENS", USAGE)]], spec(), REPLY, Usage(prompt_tokens=9))
    assert (body["content"], body["stop_reason"], body["usage"]["input_tokens"]) == ([], "max_tokens", 9)
