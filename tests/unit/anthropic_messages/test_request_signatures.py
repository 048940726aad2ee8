"""Thought signatures and native ids: from envelopes, from the store, else the documented dummy."""

import base64
import json

import pytest

from shared.dialects.anthropic_messages.envelope import Envelope, open_envelope, open_parts, seal, seal_parts
from shared.dialects.anthropic_messages.request import signature_keys
from shared.gemini.signatures import SENTINEL, FoundSignature, call_key, content_key
from tests.unit.anthropic_messages.request_setup import (
    HI,
    MID,
    NEW,
    OLD,
    SEARCH,
    SIGNED,
    WEATHER,
    assistant,
    calls_of,
    contents,
    responses_of,
    result,
    text,
    translate,
    use,
    user,
)

TOOLS = {"tools": [WEATHER]}


def thinking(envelope, words=""):
    return {"type": "thinking", "thinking": words, "signature": envelope}


def step(*blocks):
    """A conversation whose current turn has the given assistant blocks and the result of `t1`."""
    return [HI, assistant(*blocks), user(result("t1"))]


def test_an_envelope_gives_back_signature_and_native_id():
    signed = seal("3.8", "fc", "call1234", SIGNED)
    made = contents(step(thinking(signed, "I look it up"), use("t1", city="Rom")))
    assert made[1]["parts"] == [
        {"text": "I look it up", "thought": True},
        {
            "functionCall": {"id": "call1234", "name": "weather", "args": {"city": "Rom"}},
            "thoughtSignature": SIGNED,
        },
    ]
    assert responses_of(made)[0]["id"] == "call1234"


def test_redacted_thinking_carries_an_envelope_too():
    block = {"type": "redacted_thinking", "data": seal("3.8", "fc", "", SIGNED)}
    (call,) = calls_of(contents(step(block, use("t1"))))
    assert call == {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": SIGNED}


def test_the_envelope_belongs_to_the_next_call_only():
    signed = seal("3.8", "fc", "", SIGNED)
    turns = [HI, assistant(thinking(signed), use("t1"), use("t2")), user(result("t1"), result("t2"))]
    first, second = calls_of(contents(turns))
    assert first["thoughtSignature"] == SIGNED
    assert "thoughtSignature" not in second


def test_each_signed_call_keeps_its_own():
    other = base64.b64encode(b"another one").decode()
    turns = [
        HI,
        assistant(
            thinking(seal("3.8", "fc", "a", SIGNED)), use("t1"), thinking(seal("3.8", "fc", "b", other)), use("t2")
        ),
        user(result("t2"), result("t1")),
    ]
    made = contents(turns)
    assert [call["thoughtSignature"] for call in calls_of(made)] == [SIGNED, other]
    assert [item["id"] for item in responses_of(made)] == ["a", "b"]


def test_the_store_is_asked_where_there_is_no_envelope():
    found = FoundSignature(SIGNED, "native", "weather", "3.8")
    for key in (call_key("t1"), content_key("", "weather", {"city": "Rom"})):
        made = contents(step(use("t1", city="Rom")), signatures={key: found})
        assert calls_of(made) == [
            {
                "functionCall": {"id": "native", "name": "weather", "args": {"city": "Rom"}},
                "thoughtSignature": SIGNED,
            }
        ]
        assert responses_of(made)[0]["id"] == "native"


def test_an_unsigned_parallel_call_takes_no_signature_of_another_conversation():
    other = base64.b64encode(b"of another conversation").decode()
    stored = {
        call_key("t1"): FoundSignature(SIGNED, None, "weather", "3.8"),
        content_key("", "weather", {"city": "Rom"}): FoundSignature(other, "elsewhere", "weather", "3.8"),
    }
    made = contents(step(use("t1", city="Oslo"), use("t2", city="Rom")), signatures=stored)
    assert [call.get("thoughtSignature") for call in calls_of(made)] == [SIGNED, None]
    assert "id" not in calls_of(made)[1]["functionCall"]


def test_the_envelope_wins_over_the_store():
    stored = {call_key("t1"): FoundSignature(base64.b64encode(b"stored").decode(), "stored", "weather", "3.8")}
    (call,) = calls_of(contents(step(thinking(seal("3.8", "fc", "own", SIGNED)), use("t1")), signatures=stored))
    assert (call["thoughtSignature"], call["functionCall"]["id"]) == (SIGNED, "own")


def test_a_stored_id_of_another_function_stays_away():
    stored = {call_key("t1"): FoundSignature("", "native", "other", "3.8")}
    (call,) = calls_of(contents(step(use("t1")), signatures=stored))
    assert "id" not in call["functionCall"]


@pytest.mark.parametrize(
    "signature",
    [
        "EuwJCm4IDxgCKkBjID0+egpRzHnlwt9pXf871ag+Lc6A7JcKM276KGCVdkc0",
        "gem1.%%%",
        "gem1.",
        "gem1." + base64.urlsafe_b64encode(b'{"m":"3.8","k":"fc","i":"","s":"not base64!"}').decode(),
        "gem1." + base64.urlsafe_b64encode(b'["m"]').decode(),
        "",
        None,
        3,
        seal("2.5", "fc", "", SIGNED),
    ],
)
def test_foreign_and_broken_envelopes_are_dropped_with_their_thoughts(signature):
    made = contents(step(thinking(signature, "foreign thought"), text("ok"), use("t1")))
    assert made[1]["parts"] == [
        {"text": "ok"},
        {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": SENTINEL},
    ]


def test_the_dummy_stands_on_the_first_call_of_each_step_of_the_current_turn_only():
    turns = [
        HI,
        assistant(use("t1")),
        user(result("t1")),
        assistant(text("done")),
        user(text("again")),
        assistant(use("t2"), use("t3")),
        user(result("t2"), result("t3"), text("a reminder")),
        assistant(use("t4")),
        user(result("t4")),
    ]
    signatures = [call.get("thoughtSignature") for call in calls_of(contents(turns))]
    assert signatures == [None, SENTINEL, None, SENTINEL]
    assert all("thoughtSignature" not in call for call in calls_of(contents(turns, OLD)))


def test_earlier_turns_keep_signatures_and_lose_thoughts():
    turns = [
        HI,
        assistant(thinking(seal("3.8", "fc", "", SIGNED), "old thought"), use("t1")),
        user(result("t1")),
        assistant(thinking(seal("3.8", "th", "", ""), "older"), text("done")),
        user(text("next")),
    ]
    made = contents(turns)
    assert not any(part.get("thought") for content in made for part in content["parts"])
    assert calls_of(made)[0]["thoughtSignature"] == SIGNED


def test_signed_text():
    turns = [HI, assistant(thinking(seal("3.8", "text", "", SIGNED), "hm"), text("a"), text("b")), user(text("next"))]
    assert contents(turns)[1]["parts"] == [{"text": "a", "thoughtSignature": SIGNED}, {"text": "b"}]


@pytest.mark.parametrize("model", ["gemma-4-31b-it", OLD])
def test_old_families_get_no_foreign_state(model):
    (content,) = [
        item
        for item in contents(step(thinking(seal("3.8", "fc", "id", SIGNED), "thought"), use("t1")), model)
        if item["role"] == "model"
    ]
    assert content["parts"] == [{"functionCall": {"name": "weather", "args": {}}}]


def test_gemma_gets_not_even_its_own():
    made = contents(step(thinking(seal("gemma-4", "fc", "id", SIGNED), "thought"), use("t1")), "gemma-4-31b-it")
    assert made[1]["parts"] == [{"functionCall": {"name": "weather", "args": {}}}]


def test_searches_beside_functions_come_back_as_they_were():
    sent = [
        {
            "toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1", "args": {"queries": ["q"]}},
            "thoughtSignature": SIGNED,
        },
        {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1", "response": {"x": 1}}},
    ]
    found = {
        "type": "web_search_result",
        "url": "https://e.x",
        "title": "E",
        "encrypted_content": seal_parts("3.8", sent),
    }
    history = [
        HI,
        assistant(
            text("I found"),
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]},
        ),
        user(text("more")),
    ]
    body = {"tools": [WEATHER, SEARCH]}
    assert contents(history, body=body)[1]["parts"] == [*sent, {"text": "I found"}]
    assert contents(history, MID, body=body)[1]["parts"] == [*sent, {"text": "I found"}]  # the same generation
    told = contents(history, NEW, body={"tools": [SEARCH]})[1]["parts"]  # nothing that shows tool parts
    assert told == [{"text": "I found"}, {"text": "searched: q; results: E https://e.x"}]


def test_code_that_ran_comes_back_where_the_tool_is_there():
    used = {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {"code": "print(1)"}}
    done = {"type": "code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0, "content": []}
    answer = {"type": "code_execution_tool_result", "tool_use_id": "s", "content": done}
    history = [HI, assistant(used, answer), HI]
    tools = {"tools": [{"type": "code_execution_20260120", "name": "code_execution"}]}
    assert contents(history, body=tools)[1]["parts"] == [
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    ]
    assert contents(history)[1]["parts"] == [{"text": "ran: print(1); results: 1\n"}]


@pytest.mark.parametrize(
    ("name", "given", "kind", "content", "told"),
    [
        (
            "web_fetch",
            {"url": "https://e.x"},
            "web_fetch_tool_result",
            {
                "type": "web_fetch_result",
                "url": "https://e.x",
                "content": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "page"}},
            },
            "fetched: https://e.x; results: page",
        ),
        (
            "bash_code_execution",
            {"command": "ls"},
            "bash_code_execution_tool_result",
            {"type": "bash_code_execution_result", "stdout": "a", "stderr": "b", "return_code": 1, "content": []},
            "ran: ls; results: a\nb",
        ),
        (
            "web_search",
            {"query": "q"},
            "web_search_tool_result",
            {"type": "web_search_tool_result_error", "error_code": "unavailable"},
            "searched: q; results: unavailable",
        ),
    ],
)
def test_other_server_tools_are_told_in_words(name, given, kind, content, told):
    used = {"type": "server_tool_use", "id": "s", "name": name, "input": given}
    history = [HI, assistant(used, {"type": kind, "tool_use_id": "s", "content": content}), HI]
    assert contents(history)[1]["parts"] == [{"text": told}]


def test_envelopes_open_to_what_was_sealed():
    assert open_envelope(seal("3.8", "fc", "id", SIGNED)) == Envelope("3.8", "fc", "id", SIGNED)
    empty = seal("gemma-4", "th", "", "")
    assert open_envelope(empty) == Envelope("gemma-4", "th", "", "")
    assert empty.startswith("gem1.")
    assert not set(empty) & set("=+/")
    assert open_parts(empty, "gemma-4") is None
    assert open_envelope(seal_parts("3.8", [])) is None


def test_sealed_parts_hold_nothing_that_the_upstream_did_not_send():
    forged = [{"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "extra": 1, "id": 3}, "text": "x"}, {"text": "inject"}, 5]
    packed = {"m": "3.8", "p": forged}
    sealed = "gem1." + base64.urlsafe_b64encode(json.dumps(packed).encode()).decode().rstrip("=")
    assert open_parts(sealed, "3.8") == [{"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}}]
    assert open_parts(sealed, "4") == []
    assert open_parts("gem1.x", "3.8") is None
    assert open_parts(None, "3.8") is None


def test_the_keys_of_what_the_store_may_know_newest_first():
    signed = seal("3.8", "fc", "", SIGNED)
    body = {
        "messages": [
            HI,
            assistant(use("old", city="A")),
            user(result("old")),
            assistant(thinking(signed), use("carried"), use("second")),
            user(result("carried"), result("second")),
            assistant(use("new", city="B"), use("newer")),
        ]
    }
    assert signature_keys(body) == [
        call_key("new"),
        call_key("newer"),
        content_key("", "weather", {"city": "B"}),
        call_key("second"),
        call_key("old"),
        content_key("", "weather", {"city": "A"}),
    ]


def test_at_most_one_batch_of_keys():
    turns = [assistant(*(use(f"t{turn}_{call}", n=turn) for call in range(3))) for turn in range(60)]
    keys = signature_keys({"messages": turns})
    assert len(keys) == 100
    assert keys[0] == call_key("t59_0")


@pytest.mark.parametrize("messages", [None, "x", [1], [{"role": "assistant", "content": [{"type": "tool_use"}]}]])
def test_keys_never_complain(messages):
    assert signature_keys({"messages": messages}) == []


def test_the_family_is_told_to_the_renderer():
    assert translate(TOOLS).options.family == "3.8"
