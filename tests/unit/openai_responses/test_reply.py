"""Reply events as Responses: sequences, items, terminal events, and that a buffered answer is its stream."""

import json

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from shared.dialects.openai_responses import renderer, visible_response
from shared.dialects.openai_responses.encrypted import open_signatures
from shared.dialects.openai_responses.options import ToolKind
from shared.errors import GatewayError
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    Logprobs,
    LooseSignature,
    Media,
    ServerTool,
    Start,
    ToolCall,
    Usage,
)
from tests.unit.openai_responses.response_setup import (
    CREATED,
    ENCRYPTED,
    NEW,
    OLD,
    USAGE,
    end,
    folded,
    kinds,
    read,
    reply,
    request,
    sealer,
    spec,
    streamed,
    text,
    thought,
)

EVENT = TypeAdapter(ResponseStreamEvent)
CALL = ToolCall(1, "weather", {"city": "Zürich"}, "native1", "c2lnbmF0dXJl", "call_1")


def opened(changes):
    """What the SDK makes of a stream; it refuses wrong orders, indices and ids."""
    state = ResponseStreamState(text_format=openai.omit, input_tools=[])
    for change in changes:
        # a client constructs without validating, and Codex reads codes of a failure that the type does not list
        failed = change["type"] == "response.failed"
        event = construct_type(type_=ResponseStreamEvent, value=change) if failed else EVENT.validate_python(change)
        state.handle_event(event)
    return state


def test_a_text_answer_has_every_event_in_order():
    changes = streamed([*text("Hello"), end()])
    assert kinds(changes) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert changes[0]["response"]["status"] == changes[1]["response"]["status"] == "in_progress"
    last = changes[-1]["response"]
    assert (last["status"], last["model"]) == ("completed", "gemini-3.8-flash")
    assert last["output"][0]["content"][0]["text"] == "Hello"
    assert last["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 18,
    }
    assert len({change["response"]["id"] for change in changes if "response" in change}) == 1


@pytest.mark.parametrize(
    ("finish", "status", "seconds"),
    [("stop", "completed", 7), ("length", "incomplete", None), ("fault", "failed", None)],
)
def test_only_a_completed_response_says_when(finish, status, seconds):
    events = [*text("Hello"), end(finish, "WORD")]
    *before, last = [change["response"] for change in streamed(events) if "response" in change]
    assert {response["completed_at"] for response in before} == {None}
    assert last["status"] == status
    assert last["completed_at"] == folded(events)["completed_at"] == (seconds and CREATED + seconds)
    assert last["created_at"] == CREATED


def test_thoughts_are_summaries_only_where_asked_for():
    events = [*thought("Hmm."), *text("Yes", index=1), end()]
    shown = streamed(events, show_reasoning=True)[-1]["response"]["output"]
    assert [item["type"] for item in shown] == ["reasoning", "message"]
    assert shown[0]["summary"] == [{"type": "summary_text", "text": "Hmm."}]
    assert [item["type"] for item in folded(events)["output"]] == ["message"]


def test_a_signed_call_follows_the_item_that_carries_its_signature():
    changes = streamed([*thought("Hmm."), CALL, end()], show_reasoning=True, include=ENCRYPTED)
    output = changes[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "function_call"]
    token = output[0]["encrypted_content"]
    assert "c2lnbmF0dXJl" not in token
    assert b"c2lnbmF0dXJl" in sealer().unseal(token)
    assert sealer("another account").unseal(token) is None
    assert output[1] | {"id": "", "status": ""} == {
        "id": "",
        "status": "",
        "type": "function_call",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city":"Zürich"}',
    }


def test_a_thought_without_a_signature_is_sealed_too_where_asked_for():
    """Vercel's SDK, with `store: false`, warns of every reasoning item that has nothing to send back."""
    events = [*thought("Hmm."), *text("Yes", "dGV4dA==", index=1), end()]
    output = streamed(events, show_reasoning=True, include=ENCRYPTED)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "reasoning"]
    carried = [open_signatures(item["encrypted_content"], sealer().unseal) for item in output[::2]]
    assert [len(found.signatures) for found in carried] == [0, 1]


def test_without_the_include_nothing_is_carried_and_no_empty_item_made():
    output = folded([CALL, end()])["output"]
    assert [item["type"] for item in output] == ["function_call"]
    assert "gw1." not in json.dumps(output)


@pytest.mark.parametrize("late", [False, True])
def test_the_signature_of_a_text_trails_it(late):
    events = [*text("Yes", None if late else "dGV4dA=="), *([LooseSignature("dGV4dA==")] if late else []), end()]
    output = folded(events, include=ENCRYPTED)["output"]
    assert [item["type"] for item in output] == ["message", "reasoning"]
    assert b"dGV4dA==" in sealer().unseal(output[1]["encrypted_content"])
    assert [item["type"] for item in folded(events)["output"]] == ["message"]


def test_calls_go_back_in_the_form_of_their_tool():
    tools = {
        "grep": ToolKind("custom", "grep"),
        "fs__read": ToolKind("function", "read", "fs"),
        "local_shell": ToolKind("local_shell", "local_shell"),
        "shell": ToolKind("shell", "shell"),
        "apply_patch": ToolKind("apply_patch", "apply_patch"),
    }
    calls = [
        ToolCall(0, "grep", {"input": "a|b"}, call_id="call_a"),
        ToolCall(1, "fs__read", {"path": "x"}, call_id="call_b"),
        ToolCall(2, "local_shell", {"command": ["ls", "-l"], "timeout_ms": 5}, call_id="call_c"),
        ToolCall(3, "shell", {"commands": ["ls"]}, call_id="call_d"),
        ToolCall(4, "apply_patch", {"type": "create_file", "path": "x", "diff": "+a"}, call_id="call_e"),
    ]
    changes = streamed([*calls, end()], kinds=tools)
    custom, plain, local, shell, patch = changes[-1]["response"]["output"]
    assert (custom["type"], custom["input"], custom["name"]) == ("custom_tool_call", "a|b", "grep")
    assert (plain["type"], plain["name"], plain["namespace"]) == ("function_call", "read", "fs")
    assert local["action"] == {"type": "exec", "command": ["ls", "-l"], "env": {}, "timeout_ms": 5}
    assert shell["action"]["commands"] == ["ls"]
    assert patch["operation"] == {"type": "create_file", "path": "x", "diff": "+a"}
    deltas = [change for change in changes if change["type"].startswith("response.custom_tool_call_input")]
    assert [change.get("delta", change.get("input")) for change in deltas] == ["a|b", "a|b"]
    Response.model_validate(changes[-1]["response"], strict=False)


def test_code_and_its_output_are_one_item():
    events = [Code(0, "PYTHON", "print(1)"), CodeResult(1, "OUTCOME_OK", "1\n"), *text("It is 1.", index=2), end()]
    hidden = folded(events)["output"]
    assert [item["type"] for item in hidden] == ["code_interpreter_call", "message"]
    assert (hidden[0]["code"], hidden[0]["outputs"]) == ("print(1)", None)
    shown = streamed(events, include=frozenset({"code_interpreter_call.outputs"}))
    assert shown[-1]["response"]["output"][0]["outputs"] == [{"type": "logs", "logs": "1\n"}]
    words = [kind for kind in kinds(shown) if "code_interpreter" in kind]
    assert words == [
        "code_interpreter_call.in_progress",
        "code_interpreter_call_code.delta",
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
    ]


def test_an_image_is_an_item():
    image = folded([Media(0, "image/png", "aW1n"), end()])["output"][0]
    assert (image["type"], image["result"], image["status"]) == ("image_generation_call", "aW1n", "completed")


@pytest.mark.parametrize(
    "made", [Media(0, "image/png", "iVBORw0KGgo=", "c2lnbmVk"), Code(0, "PYTHON", "print(1)", signature="c2lnbmVk")]
)
@pytest.mark.parametrize("include", [frozenset(), ENCRYPTED])
def test_a_kept_answer_brings_its_signature_along_and_shows_it_to_nobody(made, include):
    out = renderer(spec(include=include), reply())
    raw = b"".join(out.feed(event) for event in [Start("r1", NEW), made, end()]) + out.close(USAGE)
    items = read(raw)[-1]["response"]["output"]
    assert "encrypted_content" not in items[-1]
    assert visible_response(out.final, include)["output"] == items
    history = [{"role": "user", "content": "?"}, *out.final["output"]]
    sent = request({"input": "!"}, history=history)["contents"][1]["parts"]
    assert sent[0]["thoughtSignature"] == "c2lnbmVk"
    assert "thoughtSignature" not in request({"input": "!"}, OLD, history=history)["contents"][1]["parts"][0]


def test_a_search_is_an_item_live_or_late():
    grounding = {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "https://a.example", "title": "a"}}]}
    late = folded(
        [*text("Found"), Citation(0, 5, "https://a.example", "a"), end(metadata={"groundingMetadata": grounding})]
    )
    assert [item["type"] for item in late["output"]] == ["web_search_call", "message"]
    assert late["output"][0]["action"] == {"type": "search", "query": "q", "queries": ["q"]}
    assert late["output"][1]["content"][0]["annotations"] == [
        {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://a.example", "title": "a"}
    ]
    part = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["live"]}}}
    events = [ServerTool(0, part), *text("Found", index=1), end(metadata={"groundingMetadata": grounding})]
    live = folded(events, include=frozenset({"web_search_call.action.sources"}))["output"]
    assert [item["type"] for item in live] == ["web_search_call", "message"]
    assert live[0]["action"]["queries"] == ["live"]
    assert live[0]["action"]["sources"] == [{"type": "url", "url": "https://a.example"}]


def test_text_after_a_call_is_a_new_message_and_citations_find_theirs():
    events = [*text("One"), ToolCall(1, "f", {}, call_id="call_1"), *text("Two", index=2)]
    events += [Citation(0, 3, "https://1.example", ""), Citation(3, 6, "https://2.example", ""), end()]
    first, _, second = folded(events)["output"]
    assert [a["url"] for a in first["content"][0]["annotations"]] == ["https://1.example"]
    (cited,) = second["content"][0]["annotations"]
    assert (cited["start_index"], cited["end_index"], cited["url"]) == (0, 3, "https://2.example")


def test_log_probabilities_stand_in_the_finished_part():
    chosen = ({"token": "é", "logProbability": -0.5},)
    events = [BlockStart(0, "text"), BlockDelta(0, "é"), Logprobs(chosen, (chosen,)), BlockEnd(0), end()]
    (entry,) = folded(events, logprobs=True)["output"][0]["content"][0]["logprobs"]
    assert (entry["token"], entry["bytes"], entry["logprob"]) == ("é", [195, 169], -0.5)
    assert entry["top_logprobs"][0]["token"] == "é"
    assert folded(events)["output"][0]["content"][0]["logprobs"] == []


@pytest.mark.parametrize(
    ("finish", "said", "status", "details"),
    [
        ("length", True, "incomplete", "max_output_tokens"),
        ("continuation", True, "incomplete", "max_output_tokens"),
        ("blocked", True, "incomplete", "content_filter"),
        ("no_output", False, "incomplete", "content_filter"),
        ("no_output", True, "completed", None),
        ("fault", True, "failed", None),
    ],
)
def test_how_an_answer_ends(finish, said, status, details):
    changes = streamed([*(text("Some") if said else []), end(finish, "X")])
    last = changes[-1]
    assert last["type"] == f"response.{status}"
    assert last["response"]["status"] == status
    assert (last["response"]["incomplete_details"] or {}).get("reason") == details
    if said:
        item = last["response"]["output"][-1]
        assert item["status"] == ("completed" if status == "completed" else "incomplete")
    if status == "failed":
        assert last["response"]["error"]["code"] == "server_error"


@pytest.mark.parametrize(
    "done",
    [
        thought("Hm."),
        [ServerTool(0, {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["q"]}}})],
        [Code(0, "PYTHON", "print(1)"), CodeResult(1, "OUTCOME_OK", "1\n")],
    ],
)
def test_what_leads_to_no_answer_is_none(done):
    events = [*done, *thought("Then", index=9)]
    for finish, parts in (("no_output", 0), ("blocked", 1)):
        last = streamed([*events, end(finish, "X")], show_reasoning=True)[-1]["response"]
        assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
        said = [part["type"] for item in last["output"] if item["type"] == "message" for part in item["content"]]
        assert said == ["refusal"] * parts


def test_a_whole_call_is_a_whole_answer():
    assert folded([CALL, end("length", "MAX_TOKENS")])["status"] == "completed"


def test_a_refusal_is_said_where_nothing_else_was():
    changes = streamed([end("blocked", "PROHIBITED_CONTENT", prompt_blocked=True)])
    part = changes[-1]["response"]["output"][0]["content"][0]
    assert part == {"type": "refusal", "refusal": "blocked: PROHIBITED_CONTENT"}
    assert {"refusal.delta", "refusal.done"} <= set(kinds(changes))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GatewayError("upstream_truncated", "Ended."), "server_error", "Ended."),
        (GatewayError("upstream_rate_limited", "Slow.", retry_after=2.5), "rate_limit_exceeded", "try again in 2.5s"),
        (GatewayError("upstream_interrupted", "Used up.", reason="quota"), "insufficient_quota", "Used up."),
        (GatewayError("upstream_interrupted", "Broke off."), "server_error", "Broke off."),
        (GatewayError("context_length_exceeded", "Long."), "context_length_exceeded", "Long."),
        (GatewayError("budget_exhausted", "Spent."), "insufficient_quota", "Spent."),
    ],
)
def test_a_broken_stream_ends_its_items_and_says_failed_once(error, code, words):
    out = renderer(spec(), reply())
    raw = b"".join([out.feed(event) for event in [Start("", ""), *text("Half")[:2]]]) + out.fail(error)
    assert out.fail(error) == out.heartbeat() == b""
    changes = read(raw)
    assert kinds(changes)[-2:] == ["output_item.done", "failed"]
    last = changes[-1]["response"]
    assert (last["status"], last["error"]["code"]) == ("failed", code)
    assert words in last["error"]["message"]
    assert out.final["status"] == "failed"
    opened(changes)


def test_a_wait_that_the_message_names_is_not_named_twice():
    slow = "The upstream's rate limit is reached. Please try again in 2.5s."
    out = renderer(spec(), reply())
    out.fail(GatewayError("upstream_rate_limited", slow, retry_after=2.5))
    assert out.final["error"]["message"] == slow


def test_a_heartbeat_is_an_event_with_its_number_even_before_the_first_one():
    out = renderer(spec(), reply())
    raw = out.heartbeat() + out.heartbeat() + out.feed(Start("", "m")) + out.heartbeat()
    raw += b"".join([out.feed(event) for event in [*text("x"), end()]]) + out.close(USAGE)
    changes = read(raw)
    assert kinds(changes)[:4] == ["created", "in_progress", "in_progress", "in_progress"]
    assert kinds(changes)[-1] == "completed"
    opened(changes)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
PIECES = st.one_of(
    st.builds(lambda words, sig: ("text", words, sig), WORDS, st.none() | st.just("c2ln")),
    st.builds(lambda words: ("thought", words, None), WORDS),
    st.builds(lambda words, sig: ("call", words, sig), WORDS, st.none() | st.just("c2ln")),
    st.just(("code", "x=1", None)),
    st.just(("code result", "ok", "c2ln")),
    st.just(("image", "aW1n", "c2ln")),
    st.just(("search", "q", None)),
)


def events_of(pieces):
    events = []
    for index, (kind, words, signature) in enumerate(pieces):
        match kind:
            case "text":
                events += text(words, signature, index)
            case "thought":
                events += thought(words, index)
            case "call":
                events.append(ToolCall(index, "f", {"x": words}, "n", signature, f"call_{index}"))
            case "code":
                events.append(Code(index, "PYTHON", words))
            case "code result":
                events.append(CodeResult(index, "OUTCOME_OK", words, signature=signature))
            case "image":
                events.append(Media(index, "image/png", words, signature))
            case "search":
                events.append(ServerTool(index, {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {}}}))
    return events


@settings(deadline=None, max_examples=150)
@given(
    st.lists(PIECES, max_size=6),
    st.sampled_from(["stop", "length", "blocked", "no_output", "fault"]),
    st.booleans(),
    st.sampled_from([frozenset(), ENCRYPTED, ENCRYPTED | {"code_interpreter_call.outputs"}]),
)
def test_whatever_comes_the_stream_is_sound_and_the_buffered_answer_its_last_word(pieces, finish, show, include):
    events = [*events_of(pieces), end(finish, "X")]
    options = {"show_reasoning": show, "include": include}
    changes = streamed(events, **options)
    assert folded(events, **options) == changes[-1]["response"]
    assert sum(change["type"] in TERMINAL for change in changes) == 1
    assert changes[-1]["type"] in TERMINAL
    added = [change["item"]["id"] for change in changes if change["type"] == "response.output_item.added"]
    done = [change["item"]["id"] for change in changes if change["type"] == "response.output_item.done"]
    assert added == done == [item["id"] for item in changes[-1]["response"]["output"]]
    assert len(set(added)) == len(added)
    said = "".join(change["delta"] for change in changes if change["type"] == "response.output_text.delta")
    output = Response.model_validate(changes[-1]["response"])
    assert output.output_text == said == "".join(words for kind, words, _ in pieces if kind == "text")
    opened(changes)


TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def test_usage_of_a_cheaper_tier_is_named():
    out = renderer(spec(), reply())
    out.feed(Start("", ""))
    (*_, last) = read_tail(out.close(Usage(service_tier="flex")))
    assert last["response"]["service_tier"] == "flex"


def read_tail(raw):
    return [json.loads(line.removeprefix("data: ")) for line in raw.decode().splitlines() if line.startswith("data: ")]
