"""Tool calls of the history and their results."""

import json

import pytest

from shared.gemini.signatures import SENTINEL, FoundSignature, call_key
from tests.unit.openai_chat.request_setup import HI, NEW, OLD, PDF, PNG, calls, contents, refusal, result, translate


def responses(built, turn=2):
    return [part["functionResponse"] for part in built[turn]["parts"] if "functionResponse" in part]


def one_result(content, model=NEW):
    return contents([HI, calls(("c1", "f", "{}")), result("c1", content)], model)


def test_results_stand_in_call_order_whatever_order_they_came_in():
    made = calls(("a", "f", "{}"), ("b", "g", "{}"), ("c", "f", "{}"))
    built = contents([HI, made, result("c", "3"), result("a", "1"), result("b", "2")])
    assert [(item["name"], item["response"]) for item in responses(built)] == [
        ("f", {"output": 1}),
        ("g", {"output": 2}),
        ("f", {"output": 3}),
    ]
    assert len(built) == 3


def test_equal_parallel_calls_all_survive_with_their_own_results():
    made = calls(("a", "f", '{"x":1}'), ("b", "f", '{"x":1}'))
    built = contents([HI, made, result("a", "first"), result("b", "second")])
    assert len(built[1]["parts"]) == 2
    assert [item["response"]["output"] for item in responses(built)] == ["first", "second"]


def test_only_the_first_call_of_a_step_gets_the_dummy():
    made = calls(("a", "f", "{}"), ("b", "g", "{}"))
    parts = contents([HI, made, result("a", "1"), result("b", "2")])[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [SENTINEL, None]


def test_a_missing_result_is_made_up_and_named():
    made = calls(("a", "f", "{}"), ("b", "g", "{}"))
    messages = [HI, made, result("b", "2"), HI]
    done = translate({"messages": messages})
    assert responses(done.request["contents"])[0] == {"name": "f", "response": {"error": "tool result missing"}}
    assert done.warnings == ["tool_result_missing:a"]
    assert refusal({"messages": messages}, strict=True).param == "messages"


def test_a_signature_hidden_in_an_id_stays_out_of_the_warnings():
    made = calls(("a__thought__c2lnbmF0dXJl", "f", "{}"))
    assert translate({"messages": [HI, made]}).warnings == ["tool_result_missing:a"]


def test_calls_at_the_very_end_are_answered_too():
    built = contents([HI, calls(("a", "f", "{}"))])
    assert [content["role"] for content in built] == ["user", "model", "user"]
    assert responses(built)[0]["response"] == {"error": "tool result missing"}


def test_a_user_message_between_call_and_result_comes_after_the_result():
    built = contents([HI, calls(("a", "f", "{}")), {"role": "user", "content": "hurry"}, result("a", "ok")])
    assert [sorted(part)[0] for part in built[2]["parts"]] == ["functionResponse", "text"]


def test_a_result_before_its_call_is_found():
    built = contents([HI, result("a", "early"), calls(("a", "f", "{}")), HI])
    assert responses(built)[0]["response"] == {"output": "early"}


def test_reused_ids_bind_to_the_newest_open_call():
    built = contents([HI, calls(("x", "f", "{}")), result("x", "1"), calls(("x", "g", "{}")), result("x", "2")])
    assert [(r["name"], r["response"]["output"]) for r in responses(built, 2) + responses(built, 4)] == [
        ("f", 1),
        ("g", 2),
    ]


def test_a_repeated_result_replaces_the_first_and_is_named():
    done = translate({"messages": [HI, calls(("a", "f", "{}")), result("a", "old"), result("a", "new")]})
    assert responses(done.request["contents"])[0]["response"] == {"output": "new"}
    assert done.warnings == ["tool_result_repeated:a"]


def test_empty_ids_bind_by_order_and_name():
    made = calls(("", "f", "{}"), ("", "g", "{}"))
    ordered = contents([HI, made, result("", "1"), result("", "2")])
    assert [(r["name"], r["response"]["output"]) for r in responses(ordered)] == [("f", 1), ("g", 2)]
    named = contents([HI, made, {**result("", "2"), "name": "g"}, {**result("", "1"), "name": "f"}])
    assert [r["response"]["output"] for r in responses(named)] == [1, 2]


def test_unknown_ids_are_refused_by_path():
    assert refusal({"messages": [HI, calls(("a", "f", "{}")), result("zz", "1")]}).param == "messages[2].tool_call_id"
    assert refusal({"messages": [HI, {"role": "tool", "content": "x"}]}).param == "messages[1].tool_call_id"
    assert refusal({"messages": [HI, {"role": "function", "name": "f", "content": "x"}]}).param == "messages[1].name"
    assert refusal({"messages": [HI, {**result("a", "x"), "tool_call_id": 7}]}).param == "messages[1].tool_call_id"


def test_legacy_function_calls_are_paired_by_name():
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
    built = contents([HI, call, {"role": "function", "name": "f", "content": '{"ok":true}'}])
    assert built[1]["parts"][0]["functionCall"] == {"name": "f", "args": {"a": 1}}
    assert responses(built) == [{"name": "f", "response": {"ok": True}}]


@pytest.mark.parametrize(
    ("content", "response"),
    [
        ("sunny", {"output": "sunny"}),
        ('{"a":[1,{"b":null}]}', {"a": [1, {"b": None}]}),
        ("[1,2]", {"output": [1, 2]}),
        ("42", {"output": 42}),
        ("true", {"output": True}),
        ("null", {"output": None}),
        ("", {"output": ""}),
        (None, {"output": ""}),
        ("  ", {"output": "  "}),
        ('{"a":{"$ref":"x"}}', {"output": '{"a":{"$ref":"x"}}'}),
        ("NaN", {"output": "NaN"}),
        ("1e999", {"output": "1e999"}),
        ("12345678901234567890", {"output": "12345678901234567890"}),
        ('{"half":"\\ud800"}', {"output": '{"half":"\\ud800"}'}),
        ("[" * 5000, {"output": "[" * 5000}),
        ("[" * 80 + "]" * 80, {"output": "[" * 80 + "]" * 80}),
        ([{"type": "text", "text": '{"a"'}, {"type": "text", "text": ":1}"}], {"a": 1}),
        ([], {"output": ""}),
    ],
)
def test_a_result_is_always_an_object(content, response):
    assert responses(one_result(content))[0]["response"] == response


def test_pictures_in_a_result_go_inside_on_new_models_and_after_on_old_ones():
    content = [
        {"type": "text", "text": "shot"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
    ]
    new = one_result(content, NEW)
    assert [part["inlineData"]["mimeType"] for part in responses(new)[0]["parts"]] == ["image/png", "application/pdf"]
    assert len(new) == 3
    old = one_result(content, OLD)
    assert "parts" not in responses(old)[0]
    assert [sorted(part) for part in old[2]["parts"]] == [["functionResponse"]]
    assert old[3]["role"] == "user"
    assert [sorted(part)[0] for part in old[3]["parts"]] == ["text", "inlineData", "inlineData"]


def test_linked_media_in_a_result_follows_in_a_turn_of_its_own():
    link = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    built = one_result(link, NEW)
    assert [sorted(part) for part in built[2]["parts"]] == [["functionResponse"]]
    assert built[3]["parts"][1] == {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("given", "args"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        (" \n", {}),
        (None, {}),
        ("[1]", {"value": [1]}),
        ('"x"', {"value": "x"}),
        ("null", {"value": None}),
        ("{broken", {"_raw_arguments": "{broken"}),
        ('{"a":NaN}', {"_raw_arguments": '{"a":NaN}'}),
        ({"already": "an object"}, {"already": "an object"}),
        (7, {"value": 7}),
    ],
)
def test_arguments_never_fail(given, args):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": given}}
    built = contents([HI, {"role": "assistant", "tool_calls": [call]}, result("a", "x")])
    assert built[1]["parts"][0]["functionCall"] == {"name": "f", "args": args}


def test_custom_tool_calls_carry_their_text():
    call = {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    built = contents([HI, {"role": "assistant", "tool_calls": [call]}, result("a", "1")])
    assert built[1]["parts"][0]["functionCall"] == {"name": "sql", "args": {"input": "select 1"}}


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("x", ""),
        ({"id": 5, "function": {"name": "f"}}, ".id"),
        ({"type": "function"}, ".function"),
        ({"type": "function", "function": {"name": ""}}, ".function.name"),
        ({"type": "function", "function": {}}, ".function.name"),
        ({"type": "robot", "function": {"name": "f"}}, ".type"),
        ({"type": "custom", "custom": {"name": "f", "input": 1}}, ".custom.input"),
    ],
)
def test_malformed_calls_are_refused_by_path(call, path):
    error = refusal({"messages": [HI, {"role": "assistant", "tool_calls": [call]}]})
    assert error.param == f"messages[1].tool_calls[0]{path}"


def test_native_ids_go_to_models_that_take_them_on_call_and_result():
    known = {call_key("call_a"): FoundSignature("c2lnbmF0dXJl", native_id="nat1", name="f", family="3.8")}
    messages = [HI, calls(("call_a", "f", "{}")), result("call_a", "1")]
    new = contents(messages, NEW, signatures=known)
    assert new[1]["parts"][0] == {
        "functionCall": {"id": "nat1", "name": "f", "args": {}},
        "thoughtSignature": "c2lnbmF0dXJl",
    }
    assert responses(new)[0]["id"] == "nat1"
    assert "nat1" not in json.dumps(contents(messages, OLD, signatures=known))
    for stored in ("1st", "_1st"):  # the store may hold the client's name or the wire's
        other = {call_key("call_a"): FoundSignature("c2lnbmF0dXJl", native_id="nat1", name=stored, family="3.8")}
        odd = contents([HI, calls(("call_a", "1st", "{}")), result("call_a", "1")], NEW, signatures=other)
        assert odd[1]["parts"][0]["functionCall"] == {"id": "nat1", "name": "_1st", "args": {}}
    renamed = {call_key("call_a"): FoundSignature("c2lnbmF0dXJl", native_id="nat1", name="g", family="3.8")}
    assert "nat1" not in json.dumps(contents(messages, NEW, signatures=renamed))


def test_a_thousand_calls_and_results_are_paired_quickly():
    made = calls(*((f"c{n}", "f", "{}") for n in range(4000)))
    answers = [result(f"c{n}", str(n)) for n in reversed(range(4000))]
    assert [r["response"]["output"] for r in responses(contents([HI, made, *answers]))] == list(range(4000))
