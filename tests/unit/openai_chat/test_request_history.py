"""Roles and order of the history."""

import pytest

from shared.gemini.signatures import SENTINEL
from tests.unit.openai_chat.request_setup import (
    HI,
    MID,
    NEW,
    OLD,
    PNG,
    calls,
    contents,
    refusal,
    request,
    result,
    translate,
)

CALL = calls(("call_1", "weather", '{"city":"Rome"}'))


def test_leading_system_and_developer_messages_become_one_instruction_in_order():
    body = {
        "messages": [
            {"role": "system", "content": "a"},
            {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
            HI,
        ]
    }
    built = request(body)
    assert built["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}
    assert built["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_a_later_system_message_keeps_its_place_as_user_text():
    answer = {"role": "assistant", "content": "hello"}
    built = contents([HI, answer, {"role": "system", "content": "be brief"}, {"role": "user", "content": "go on"}])
    assert built[2] == {"role": "user", "parts": [{"text": "<system>be brief</system>"}, {"text": "go on"}]}


def test_a_system_message_between_call_and_result_comes_after_the_result():
    built = contents([HI, CALL, {"role": "system", "content": "careful"}, result("call_1", "sunny")])
    assert [sorted(part) for part in built[2]["parts"]] == [["functionResponse"], ["text"]]
    assert built[2]["parts"][1] == {"text": "<system>careful</system>"}


def test_only_system_messages_are_sent_as_the_user():
    built = request({"messages": [{"role": "system", "content": "Say hi"}]})
    assert built["contents"] == [{"role": "user", "parts": [{"text": "Say hi"}]}]
    assert "systemInstruction" not in built


def test_neighbours_of_one_role_are_merged_and_empty_text_never_leaves():
    built = contents(
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "b"}]},
        ]
    )
    assert built == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_a_conversation_that_begins_with_the_assistant_gets_a_user_turn():
    built = contents([CALL, result("call_1", "x")])
    assert built[0] == {"role": "user", "parts": [{"text": " "}]}
    assert built[1]["role"] == "model"


def test_text_refusal_and_calls_of_one_assistant_message_all_survive_in_order():
    message = {**CALL, "content": [{"type": "text", "text": "t"}, {"type": "refusal", "refusal": "no"}], "refusal": "r"}
    parts = contents([HI, message, result("call_1", "x")])[1]["parts"]
    assert [part.get("text") for part in parts] == ["t", "no", "r", None]
    assert parts[3]["functionCall"] == {"name": "weather", "args": {"city": "Rome"}}
    assert parts[3]["thoughtSignature"] == SENTINEL


def test_pictures_in_assistant_markdown_are_cut_out():
    text = f"see ![image](data:image/png;base64,{PNG}) there"
    parts = contents([HI, {"role": "assistant", "content": text}, HI])[1]["parts"]
    assert parts == [
        {"text": "see "},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"text": " there"},
    ]


def test_images_of_our_own_answer_are_taken_back():
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}, "index": 0}
    parts = contents([HI, {"role": "assistant", "content": None, "images": [image]}, HI])[1]["parts"]
    assert parts == [{"inlineData": {"mimeType": "image/png", "data": PNG}}]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_unsigned_reasoning_is_left_out(field):
    built = contents([HI, {"role": "assistant", "content": "a", field: "I thought"}, HI])
    assert built[1] == {"role": "model", "parts": [{"text": "a"}]}


def test_a_trailing_assistant_message_is_kept_and_continued():
    messages = [HI, {"role": "assistant", "content": "Once upon"}]
    new = translate({"messages": messages}, NEW)
    assert new.echo_prefix == "Once upon"
    assert [content["role"] for content in new.request["contents"]] == ["user", "model", "user"]
    assert "Continue" in new.request["contents"][2]["parts"][0]["text"]
    for model in (OLD, MID):
        old = translate({"messages": messages}, model)
        assert old.echo_prefix == ""
        assert old.request["contents"][-1] == {"role": "model", "parts": [{"text": "Once upon"}]}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("hi", "messages"),
        ({}, "messages"),
        (["hi"], "messages[0]"),
        ([HI, {"role": "robot", "content": "x"}], "messages[1].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": {"type": "text", "text": "x"}}], "messages[0].content"),
        ([{"role": "user", "content": [None]}], "messages[0].content[0]"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": ["text"]}]}], "messages[0].content[0].type"),
        ([{"role": "system", "content": [{"type": "image_url"}]}, HI], "messages[0].content[0].type"),
        ([{"role": "user", "content": ""}], "messages"),
        ([HI, {"role": "assistant", "refusal": 3}], "messages[1].refusal"),
        ([HI, {"role": "assistant", "images": [{}]}], "messages[1].images[0].image_url"),
    ],
)
def test_a_malformed_history_is_refused_by_its_path(messages, param):
    error = refusal({"messages": messages})
    assert (error.kind, error.param) == ("invalid_request", param)
