"""The official TypeScript SDK of Anthropic, unmodified, against the running gateway; its side of each test is a
scenario in tests/clients/anthropic-sdk."""

import base64
import json

import pytest

from tests.clients.installation import installed

FLASH, ARGON = "gemini-3.6-flash", "gemini-4-argon"
SENTINEL = "skip_thought_signature_validator"
THINKING = {"type": "enabled", "budget_tokens": 2048}
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}


@pytest.fixture(scope="session")
def scenarios():
    return ["node", installed("anthropic-sdk") / "scenarios.mjs"]


def say(content, model=FLASH, **more):
    return {"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": content}], **more}


def directive(**keys):
    return "@emulator " + json.dumps(keys)


def sent(emulator):
    return json.dumps([record["body"] for record in emulator.requests])


def kinds(message):
    return [block["type"] for block in message["content"]]


def test_a_message_with_media(play, gateway, client_key):
    answer = play("message", request=say([IMAGE, DOCUMENT, {"type": "text", "text": "What are these?"}]))
    text = answer["content"][0]["text"]
    assert "image/png" in text
    assert "application/pdf" in text
    assert "What are these?" in text
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    (row,) = gateway.row(client_key[0])
    assert row["input_tokens"] == answer["usage"]["input_tokens"] > 500
    assert row["output_tokens"] == answer["usage"]["output_tokens"] > 0
    assert row["cost_nano_usd"] > 0


def test_a_stream_accumulates_to_the_message(play, gateway, client_key, emulator):
    emulator.script({"thoughts": "Hm.", "text": "one two three four five six", "chunks": 4})
    seen = play("stream", request=say("count", thinking={"type": "adaptive"}))
    assert "".join(seen["pieces"]) == seen["text"] == "one two three four five six"
    assert len(seen["pieces"]) == 4
    assert kinds(seen["final"]) == ["thinking", "text"]
    assert seen["final"]["content"][0]["thinking"] == "Hm."
    assert seen["final"]["content"][0]["signature"]
    assert seen["events"][0] == "message_start"
    assert seen["events"][-2:] == ["message_delta", "message_stop"]
    usage = seen["final"]["usage"]
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    assert row["reasoning_tokens"] == usage["output_tokens_details"]["thinking_tokens"] > 0
    assert row["stream"] is True


CITIES = ["Paris", "Zürich", "Rome", "Oslo"]
ROUNDS = [
    {"thoughts": "Two at once.", "call": [{"name": "get_weather", "args": {"city": city}} for city in CITIES[:2]]},
    {"thoughts": "One more.", "text": "So far dry.", "call": {"name": "get_weather", "args": {"city": "Rome"}}},
    {"call": [{"name": "get_weather", "args": {"city": "Oslo"}}, {"name": "get_time", "args": {}}]},
    {"text": "All dry."},
]
PROMPT = f"Weather, please.\n{directive(turns=ROUNDS)}"


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("thinking", [None, THINKING, {"type": "adaptive", "display": "omitted"}], ids=str)
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_the_tool_runner_runs_three_rounds(play, emulator, model, thinking, streamed):
    """The upstream refuses calls without their signature, and no round makes do with a stand-in."""
    seen = play("tools", prompt=PROMPT, model=model, thinking=thinking, streamed=streamed)
    assert [answer["stop_reason"] for answer in seen["answers"]] == ["tool_use", "tool_use", "tool_use", "end_turn"]
    assert seen["answers"][-1]["content"][-1]["text"] == "All dry."
    assert sorted(seen["asked"]) == sorted([*CITIES, "time"])
    assert_signatures_came_back(emulator)


@pytest.mark.parametrize("thinking", [None, THINKING], ids=str)
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_calls_rebuilt_from_their_ids_find_their_signatures_in_the_store(play, emulator, model, thinking):
    seen = play("rebuilt", prompt=PROMPT, model=model, thinking=thinking)
    assert seen["rounds"] == 3
    assert seen["answer"]["content"][-1]["text"] == "All dry."
    assert_signatures_came_back(emulator)


def assert_signatures_came_back(emulator):
    assert [record["status"] for record in emulator.requests] == [200] * 4
    assert "thoughtSignature" in json.dumps(emulator.requests[-1]["body"]["contents"])
    assert SENTINEL not in sent(emulator)


@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_structured_outputs_are_parsed(play, emulator, model):
    assert play("parse", model=model) == [True, True]
    configs = [record["body"]["generationConfig"] for record in emulator.requests]
    assert [config["responseMimeType"] for config in configs] == ["application/json"] * 2


def test_a_tool_result_with_an_image_and_a_document(play, emulator):
    prompt = f"Look.\n{directive(call={'name': 'look', 'args': {}})}"
    answer = play("picture_from_a_tool", prompt=prompt, image=IMAGE, pdf=DOCUMENT)
    assert answer["stop_reason"] == "end_turn"
    result = json.dumps(emulator.requests[-1]["body"]["contents"][-1])
    assert all(piece in result for piece in ("a picture", PIXEL, PDF))


@pytest.mark.parametrize("streamed", [True, False])
def test_every_kind_of_stop(play, emulator, streamed):
    emulator.script({"text": "alpha beta gamma delta", "chunks": 9}, {"finish": "SAFETY"}, {"text": "word " * 4000})
    request = say("go", stop_sequences=["1", "2", "3", "4", "5", "gamma"], thinking={"type": "disabled"})
    met = play("stops", request=request, streamed=streamed)
    assert (met["stop_reason"], met["stop_sequence"]) == ("stop_sequence", "gamma")
    assert met["content"][0]["text"] == "alpha beta "
    refused = play("stops", request=request, streamed=streamed)
    assert (refused["stop_reason"], refused["content"]) == ("refusal", [])
    assert "SAFETY" in refused["stop_details"]["explanation"]
    cut = play("stops", request={**request, "max_tokens": 2100}, streamed=streamed)
    assert (cut["stop_reason"], cut["stop_sequence"]) == ("max_tokens", None)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_web_search_has_blocks_and_citations(play, streamed):
    search = {"type": "web_search_20250305", "name": "web_search"}
    answer = play("stops", request=say("What is new in Zürich?", tools=[search]), streamed=streamed)
    assert kinds(answer)[:2] == ["server_tool_use", "web_search_tool_result"]
    use, results, *texts = answer["content"]
    assert results["tool_use_id"] == use["id"]
    cited = {citation["url"] for text in texts for citation in text.get("citations") or []}
    assert cited == {result["url"] for result in results["content"]}
    assert answer["usage"]["server_tool_use"]["web_search_requests"] == 1


def test_a_burst_of_counts_costs_nothing(play, gateway, client_key, emulator):
    request = {"model": FLASH, "messages": [{"role": "user", "content": "counted by many"}], "system": "Be brief."}
    counts = play("counts", request=request, times=26)
    assert len(counts) == 26
    assert len(set(counts)) == 1
    assert counts[0] > 0
    assert len(emulator.requests) == 1
    assert gateway.rows(client_key[0]) == []


def test_models_are_listed_and_found(play):
    seen = play("models")
    assert {FLASH, ARGON, "claude-gemini-3.6-flash"} <= set(seen["ids"])
    assert len(seen["ids"]) == len(set(seen["ids"]))
    assert (seen["one"]["id"], seen["one"]["type"]) == (FLASH, "model")
    assert seen["missing"]["kind"] == "NotFoundError"


def test_refusals_have_the_sdks_classes(play, gateway, client_key):
    seen = play("refusals")
    assert {name: (one["kind"], one["type"]) for name, one in seen.items()} == {
        "key": ("AuthenticationError", "authentication_error"),
        "model": ("NotFoundError", "not_found_error"),
        "block": ("BadRequestError", "invalid_request_error"),
        "size": ("ContentTooLargeError", "request_too_large"),
    }
    assert seen["model"]["message"] == "model: gpt-nonsense"
    assert all(one["request_id"] == one["body_request_id"] for one in seen.values())
    assert all(one["request_id"].startswith("req_") for one in seen.values())
    assert gateway.rows(client_key[0]) == []


def test_what_the_sdk_tries_again_and_what_not(play, gateway, client_key, emulator):
    emulator.script({"error": 503, "times": 3})
    overloaded = play("retried", request=say("again"), retries=0)
    assert (overloaded["status"], overloaded["type"]) == (529, "overloaded_error")
    emulator.reset()
    emulator.script({"error": 503, "times": 9})
    again = play("retried", request=say("again"), retries=1)  # the gateway tried it three times, the SDK once
    assert (again["status"], again["should_retry"], len(emulator.requests)) == (529, "false", 3)
    emulator.reset()
    emulator.script({"error": {"status": 429, "kind": "per-day"}})
    # a model of its own: the credential rests for it
    spent = play("retried", request=say("x", "gemini-3.1-pro-preview-customtools"), retries=2)
    assert (spent["kind"], spent["should_retry"]) == ("RateLimitError", "false")
    assert len(emulator.requests) == 1
    assert sorted(row["status"] for row in gateway.row(client_key[0], 3)) == [429, 529, 529]


def test_the_sdk_waits_as_long_as_the_upstream_asked(play, emulator):
    emulator.script({"error": {"status": 429, "retry": 1}, "times": 3})
    seen = play("retried", request=say("patience", "gemini-3.7-flash"), retries=1)
    assert seen["answered"]["stop_reason"] == "end_turn"
    assert seen["seconds"] >= 3  # twice in the gateway, once in the SDK
    assert len(emulator.requests) == 4


@pytest.mark.parametrize("helper", [True, False])
@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"cut_after": 2}, "api_error"),
        ({"error_after": {"chunks": 2, "form": "bare", "status": 503}}, "overloaded_error"),
    ],
    ids=str,
)
def test_a_stream_that_breaks_is_an_error_never_an_end(play, gateway, client_key, emulator, step, kind, helper):
    emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 20, **step})
    seen = play("broken", request=say("x"), helper=helper)
    assert "answered" not in seen
    assert seen["type"] == kind
    assert "content_block_delta" in seen["events"]
    assert not {"message_delta", "message_stop"} & set(seen["events"])
    (row,) = gateway.row(client_key[0])
    assert row["cost_nano_usd"] > 0


def test_every_way_in(play):
    assert play("entrances", request=say("hello")) == {
        "bearer": "end_turn",
        "auth_token": "end_turn",
        "x_api_key": "end_turn",
        "both": "end_turn",
        "doubled": "end_turn",
        "two_keys": 401,
    }
