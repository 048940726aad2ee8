"""Thought signatures on their way back: every carrier in use, and the store."""

import json

import pytest

from shared.dialects.openai_chat.request import signature_keys
from shared.gemini.signatures import SENTINEL, FoundSignature, call_key, content_key, server_key, text_key
from tests.unit.openai_chat.request_setup import HI, NEW, OLD, calls, contents, request, result

SIG = "c2lnbmF0dXJlIG9uZSE="
OTHER = "YW5vdGhlciBzaWduYXR1cmU="
FUNCTION = {"name": "f", "arguments": '{"a":1}'}


def call(**extra):
    function = FUNCTION | extra.pop("function", {})
    return {"id": "call_1", "type": "function", "function": function, **extra}


def signatures_of(message, call_id="call_1", model=NEW, **known):
    built = contents([HI, {"role": "assistant", **message}, result(call_id, "x")], model, **known)
    return [part.get("thoughtSignature") for part in built[1]["parts"]]


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [call(extra_content={"google": {"thought_signature": SIG}})]},
        {"tool_calls": [call(provider_specific_fields={"thought_signature": SIG})]},
        {"tool_calls": [call(function={"provider_specific_fields": {"thought_signature": SIG}})]},
        {"tool_calls": [call(function={"thought_signature": SIG})]},
        {"tool_calls": [call()], "provider_specific_fields": {"thought_signatures": [SIG]}},
        {"tool_calls": [call()], "reasoning_details": [{"type": "reasoning.encrypted", "data": SIG, "id": "call_1"}]},
        {
            "tool_calls": [call()],
            "reasoning_details": [{"type": "reasoning.encrypted", "data": SIG, "format": "google-gemini-v1"}],
        },
    ],
    ids=["google", "litellm", "litellm-function", "portkey", "litellm-message", "openrouter", "openrouter-no-id"],
)
def test_every_field_that_carries_a_call_signature_is_read(message):
    assert signatures_of(message) == [SIG]


@pytest.mark.parametrize("mark", [f"call_1__thought__{SIG}", f"call_1_ts_{SIG.rstrip('=')}"])
def test_signatures_hidden_in_ids_are_read_and_results_found_by_either_id(mark):
    for answered in (mark, "call_1"):
        assert signatures_of({"tool_calls": [{**call(), "id": mark}]}, answered) == [SIG]


def test_an_honest_id_with_the_mark_inside_stays_whole():
    assert signatures_of({"tool_calls": [{**call(), "id": "call_ts_1"}]}, "call_ts_1") == [SENTINEL]


@pytest.mark.parametrize("value", ["", "no base64!", "ab", 5, None, ["x"]])
def test_what_is_no_signature_is_passed_over(value):
    message = {"tool_calls": [call(extra_content={"google": {"thought_signature": value}})]}
    assert signatures_of(message) == [SENTINEL]


def test_url_safe_signatures_are_normalised():
    message = {"tool_calls": [call(extra_content={"google": {"thought_signature": "_-8_-w"}})]}
    assert signatures_of(message) == [SENTINEL]  # too short to be one
    message = {"tool_calls": [call(extra_content={"google": {"thought_signature": "_-8_-_8_-w"}})]}
    assert signatures_of(message) == ["/+8/+/8/+w=="]


def test_another_vendors_encrypted_reasoning_is_not_ours():
    details = [{"type": "reasoning.encrypted", "data": SIG, "format": "openai-responses-v1", "id": "call_1"}]
    assert signatures_of({"tool_calls": [call()], "reasoning_details": details}) == [SENTINEL]


def test_the_store_wins_and_another_family_is_worthless():
    message = {"tool_calls": [call(extra_content={"google": {"thought_signature": OTHER}})]}
    ours = {call_key("call_1"): FoundSignature(SIG, family="3.8")}
    assert signatures_of(message, signatures=ours) == [SIG]
    foreign = {call_key("call_1"): FoundSignature(SIG, family="2.5")}
    assert signatures_of(message, signatures=foreign) == [SENTINEL]


def test_a_call_whose_id_was_rewritten_is_found_by_content():
    known = {content_key("", "f", {"a": 1}): FoundSignature(SIG, family="3.8")}
    assert signatures_of({"tool_calls": [{**call(), "id": "mine"}]}, "mine", signatures=known) == [SIG]


@pytest.mark.parametrize("model", [OLD, NEW])
def test_an_unsigned_parallel_call_takes_no_signature_of_another_conversation(model):
    family = "3.8" if model == NEW else "2.5"
    stored = {
        call_key("x"): FoundSignature(SIG, None, "g", family),
        content_key("", "f", {"a": 1}): FoundSignature(OTHER, "elsewhere", "f", family),
    }
    together = [calls(("x", "g", "{}"), ("y", "f", '{"a":1}'))]
    one_by_one = [calls(("x", "g", "{}")), calls(("y", "f", '{"a":1}'))]
    for made in (together, one_by_one):
        built = contents([HI, *made, result("x", "1"), result("y", "2")], model, signatures=stored)
        assert [part.get("thoughtSignature") for part in built[1]["parts"]] == [SIG, None]
        assert "id" not in built[1]["parts"][1]["functionCall"]
        assert "id" not in built[2]["parts"][1]["functionResponse"]
    assert content_key("", "f", {"a": 1}) not in signature_keys({"messages": [HI, *together]})


def test_one_signature_never_stands_twice():
    known = {content_key("", "f", {"a": 1}): FoundSignature(SIG, family="3.8")}
    made = calls(("x", "f", '{"a":1}'), ("y", "f", '{"a":1}'))
    built = contents([HI, made, result("x", "1"), result("y", "2")], signatures=known)
    assert [part.get("thoughtSignature") for part in built[1]["parts"]] == [SIG, None]


def test_signed_text_and_signed_thoughts_return():
    known = {
        text_key("", "Hello"): FoundSignature(SIG, family="3.8"),
        text_key("", "I thought"): FoundSignature(OTHER, family="3.8"),
    }
    message = {"role": "assistant", "content": "Hello", "reasoning_content": "I thought"}
    assert contents([HI, message, HI], signatures=known)[1]["parts"] == [
        {"text": "I thought", "thought": True, "thoughtSignature": OTHER},
        {"text": "Hello", "thoughtSignature": SIG},
    ]
    assert contents([HI, message, HI])[1]["parts"] == [{"text": "Hello"}]


def test_message_level_signatures_sign_the_text_where_no_call_is():
    message = {"role": "assistant", "content": "Hello", "extra_content": {"google": {"thought_signature": SIG}}}
    assert contents([HI, message, HI])[1]["parts"] == [{"text": "Hello", "thoughtSignature": SIG}]
    message = {"role": "assistant", "content": "Hello", "provider_specific_fields": {"thought_signatures": [SIG]}}
    assert contents([HI, message, HI])[1]["parts"] == [{"text": "Hello", "thoughtSignature": SIG}]
    both = {
        "content": "Hello",
        "tool_calls": [call()],
        "provider_specific_fields": {"thought_signatures": [SIG, OTHER]},
    }
    assert signatures_of(both) == [SIG, OTHER]


def test_no_thought_goes_out_unsigned():
    details = [{"type": "reasoning.text", "text": "deep", "signature": SIG, "format": "google-gemini-v1"}]
    message = {"role": "assistant", "content": "a", "reasoning_details": [*details, *details]}
    parts = contents([HI, message, HI])[1]["parts"]
    assert [part for part in parts if part.get("thought")] == [
        {"text": "deep", "thought": True, "thoughtSignature": SIG}
    ]
    assert not [p for p in contents([HI, message, HI], "gemma-4-31b-it")[1]["parts"] if p.get("thought")]


def test_models_up_to_2_5_get_no_dummy_but_keep_real_signatures():
    assert signatures_of({"tool_calls": [call()]}, model=OLD) == [None]
    assert signatures_of({"tool_calls": [call(function={"thought_signature": SIG})]}, model=OLD) == [SIG]


def test_store_keys_come_newest_first_without_family_and_at_most_a_hundred():
    made = {**calls(("call_1__thought__" + SIG, "f", '{"a": 1}')), "content": "text", "reasoning_content": "why"}
    body = {"messages": [HI, {"role": "assistant", "content": "old"}, made, result("call_1", "x")]}
    assert signature_keys(body) == [
        call_key("call_1"),
        text_key("", "text"),
        text_key("", "why"),
        content_key("", "f", {"a": 1}),
        text_key("", "old"),
    ]
    many = {"messages": [calls(*((f"c{n}", "f", "{}") for n in range(150)))]}
    assert signature_keys(many)[:2] == [call_key("c0"), call_key("c1")]
    assert len(signature_keys(many)) == 100


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": 5},
        {"messages": [None, "x", {"role": "assistant", "tool_calls": "no", "content": [1, {"text": 2}]}]},
        {"contents": []},
    ],
)
def test_store_keys_of_odd_bodies_are_none(body):
    assert signature_keys(body) == []


SERVED = [
    {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1", "args": {"queries": ["q"]}}, "thoughtSignature": OTHER},
    {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1", "response": {}}},
]
SEARCH, WEATHER = {"google_search": {}}, {"type": "function", "function": {"name": "f"}}


def test_what_the_upstreams_own_tools_did_before_a_call_goes_back_before_it():
    kept = {
        call_key("call_1"): FoundSignature(SIG, "n1", "f", "3.6"),
        server_key("call_1"): FoundSignature(json.dumps(SERVED), family="3.6"),
    }
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call()]}
    history = [HI, message, result("call_1", "x")]

    def parts(model=NEW, **more):
        body = {"messages": history, "tools": [WEATHER, SEARCH], **more}
        return request(body, model, signatures=kept)["contents"][1]["parts"]

    assert [next(iter(part)) for part in parts()] == ["text", "toolCall", "toolResponse", "functionCall"]
    assert parts()[1:3] == SERVED
    assert [next(iter(part)) for part in parts(tool_choice="none")] == ["text", "functionCall"]  # nothing runs there
    assert [next(iter(part)) for part in parts(OLD)] == ["text", "functionCall"]


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({"tools": [WEATHER]}, False),
        ({"tools": [WEATHER, SEARCH]}, True),
        ({"tools": [WEATHER, {"type": "function", "function": {"name": "googleSearch"}}]}, True),
        ({"tools": [WEATHER], "web_search_options": {}}, True),
        ({"tools": [WEATHER], "google": {"tools": [SEARCH]}}, True),
        ({"tools": [WEATHER], "model": "gemini-3.8-flash-search"}, True),
        ({"tools": [5, {"type": "function", "function": {"name": ["x"]}}]}, False),
    ],
)
def test_it_is_looked_for_where_the_upstream_may_have_run_tools(more, asked):
    body = {"messages": [HI, {"role": "assistant", "tool_calls": [call()]}], **more}
    assert (server_key("call_1") in signature_keys(body)) is asked
