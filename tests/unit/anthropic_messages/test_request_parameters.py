"""Top-level fields: output limit, sampling, stop sequences, thinking, structured output, and what is refused."""

import pytest

from shared.dialects.anthropic_messages.request import count_request, requested_model, wants_stream
from shared.errors import GatewayError
from tests.unit.anthropic_messages.request_setup import (
    HI,
    MID,
    NEW,
    OLD,
    WEATHER,
    assistant,
    config,
    context,
    refusal,
    request,
    text,
    translate,
    user,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FORMAT = {"output_config": {"format": {"type": "json_schema", "schema": {"$schema": "x", **SCHEMA}}}}


@pytest.mark.parametrize(("asked", "sent"), [(1, 1), (4096, 4096), (65_536, 65_536), (128_000, 65_536)])
def test_max_tokens_up_to_the_models_limit(asked, sent):
    assert config({"max_tokens": asked})["maxOutputTokens"] == sent


def test_gemini_4_takes_more_than_one_hop_gives():
    assert config({"max_tokens": 128_000}, "gemini-4-argon")["maxOutputTokens"] == 128_000


def test_the_keys_own_ceiling_is_told():
    made = translate({"max_tokens": 5000}, max_output_tokens=3000)
    assert made.request["generationConfig"]["maxOutputTokens"] == 3000
    assert made.warnings == ["clamped:max_tokens"]


@pytest.mark.parametrize("value", [None, -1, "5", True, 1.5, [1]])
def test_max_tokens_is_required_and_a_number(value):
    error = refusal({"max_tokens": value})
    assert (error.kind, error.param) == ("invalid_request", "max_tokens")
    assert value is not None or error.message == "Field required"


def test_no_output_at_all_is_left_to_the_gateway():
    made = translate({"max_tokens": 0})
    assert made.prompt_only
    assert not translate({"max_tokens": 1}).prompt_only


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        (NEW, {"thinkingLevel": "LOW", "includeThoughts": True}),
        (MID, {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        (OLD, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"thinkingBudget": 128, "includeThoughts": True}),
    ],
)
def test_a_small_limit_leaves_room_for_the_answer(model, thinking):
    body = {"max_tokens": 2047, "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}
    assert config(body, model) == {"maxOutputTokens": 2047, "thinkingConfig": thinking}


@pytest.mark.parametrize(
    ("asked", "level", "budget"),
    [
        ({}, None, None),
        ({"output_config": {"effort": "low"}}, "LOW", 1024),
        ({"output_config": {"effort": "xhigh"}}, "HIGH", 24_576),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, "MINIMAL", 0),
        ({"thinking": {"type": "between_tools"}}, "MINIMAL", 0),
    ],
)
def test_thinking_that_is_not_to_be_seen(asked, level, budget):
    for model, name, value in ((MID, "thinkingLevel", level), (OLD, "thinkingBudget", budget)):
        made = translate({"max_tokens": 64_000, **asked}, model)
        wanted = {} if value is None else {"thinkingConfig": {name: value}}
        assert made.request["generationConfig"] == {"maxOutputTokens": 64_000, **wanted}
        assert not made.options.thinking_asked
        assert not made.options.show_thinking


@pytest.mark.parametrize(
    ("asked", "level", "budget"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "LOW", 1024),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "MEDIUM", 4096),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, "HIGH", 24_576),
        ({"thinking": {"type": "adaptive"}}, None, -1),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, "MEDIUM", 8192),
        ({"thinking": {"type": "adaptive", "display": "updates"}, "output_config": {"effort": "max"}}, "HIGH", 24_576),
    ],
)
def test_thinking_that_is_to_be_seen(asked, level, budget):
    for model, name, value in ((MID, "thinkingLevel", level), (OLD, "thinkingBudget", budget)):
        made = translate({"max_tokens": 64_000, **asked}, model)
        wanted = {"includeThoughts": True} if value is None else {name: value, "includeThoughts": True}
        assert made.request["generationConfig"]["thinkingConfig"] == wanted
        assert made.options.thinking_asked
        assert made.options.show_thinking


def test_omitted_thoughts_still_carry_signatures():
    made = translate({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}})
    assert made.request["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH"}
    assert made.options.thinking_asked
    assert not made.options.show_thinking


def test_the_latest_system_turn_with_an_effort_decides():
    turns = [
        HI,
        {"role": "system", "content": [], "output_config": {"effort": "high"}},
        assistant(text("hello")),
        user(text("go on")),
        {"role": "system", "content": "be quick", "output_config": {"effort": "low"}},
        {"role": "system", "content": "be kind"},
    ]
    body = {"messages": turns, "output_config": {"effort": "max"}}
    assert config(body)["thinkingConfig"] == {"thinkingLevel": "LOW"}


@pytest.mark.parametrize(
    ("thinking", "param"),
    [
        ({"type": "enabled"}, "thinking.budget_tokens"),
        ({"type": "enabled", "budget_tokens": 1023}, "thinking.budget_tokens"),
        ({"type": "enabled", "budget_tokens": 8192}, "thinking.budget_tokens"),
        ({"type": "on"}, "thinking.type"),
        ("adaptive", "thinking"),
    ],
)
def test_thinking_that_makes_no_sense(thinking, param):
    assert refusal({"thinking": thinking}).param == param


def test_a_budget_for_all_thoughts_between_tools_may_be_larger_than_one_answer():
    body = {"thinking": {"type": "enabled", "budget_tokens": 20_000}, "max_tokens": 4096, "tools": [WEATHER]}
    assert config(body, MID)["thinkingConfig"] == {"thinkingLevel": "HIGH", "includeThoughts": True}
    assert config(body, OLD)["thinkingConfig"] == {"thinkingBudget": 4095, "includeThoughts": True}
    assert refusal({**body, "tools": []}).param == "thinking.budget_tokens"


@pytest.mark.parametrize(("wrong", "where"), [(7, ""), ({"effort": 7}, ".effort")])
def test_a_system_turns_wrong_effort_is_named_by_its_place(wrong, where):
    turns = [HI, {"role": "system", "content": "x", "output_config": wrong}, HI]
    assert refusal({"messages": turns}).param == f"messages[1].output_config{where}"


def test_unknown_efforts_are_told_not_refused():
    assert translate({"output_config": {"effort": "ultra"}}).warnings == ["ignored:output_config.effort"]


def test_models_without_thinking_get_none_of_it():
    body = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "max_tokens": 4000}
    assert "thinkingConfig" not in config(body, "gemma-3-27b-it")
    assert config(body, "gemma-4-31b-it")["thinkingConfig"] == {"thinkingLevel": "HIGH"}


def test_sampling_goes_to_models_that_take_it():
    body = {"temperature": 0.5, "top_p": 1, "top_k": 40}
    assert config(body, OLD) == {"temperature": 0.5, "topP": 1, "topK": 40, "maxOutputTokens": 8192}
    made = translate(body, NEW)
    assert made.request["generationConfig"] == {"maxOutputTokens": 8192}
    assert made.warnings == ["ignored:temperature", "ignored:top_p", "ignored:top_k"]
    assert refusal(body, NEW, strict=True).kind == "unsupported_parameter"


@pytest.mark.parametrize(
    "body", [{"temperature": 1.1}, {"temperature": -0.1}, {"top_p": 2}, {"top_k": -1}, {"temperature": "0"}]
)
def test_sampling_out_of_range(body):
    for model in (OLD, NEW):
        assert refusal(body, model).param in body


def test_every_stop_sequence_is_found_by_the_gateway():
    stops = ["a", " b", "c", "d", "e", "f", "a"]
    made = translate({"stop_sequences": stops})
    assert made.stop == ("a", " b", "c", "d", "e", "f")
    assert "stopSequences" not in made.request["generationConfig"]
    assert translate({"stop_sequences": []}).stop == ()


@pytest.mark.parametrize(
    ("stops", "param"),
    [
        ([""], "stop_sequences[0]"),
        (["a", " \n"], "stop_sequences[1]"),
        ([1], "stop_sequences[0]"),
        ("a", "stop_sequences"),
    ],
)
def test_stop_sequences_that_cannot_match(stops, param):
    assert refusal({"stop_sequences": stops}).param == param


def test_system_blocks_stay_apart_and_lose_accounting():
    system = [
        text("x-anthropic-billing-header: cc_version=2.1.330; cch=12ab;"),
        {**text("You are Claude Code."), "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        text(""),
        text("Be brief."),
    ]
    made = request({"system": system})
    assert made["systemInstruction"] == {"parts": [{"text": "You are Claude Code."}, {"text": "Be brief."}]}
    assert request({"system": "Be brief."})["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert "systemInstruction" not in request({"system": ""})
    assert refusal({"system": 3}).param == "system"
    assert refusal({"system": [text("a"), {"type": "text"}]}).param == "system[1].text"


@pytest.mark.parametrize("wanted", [FORMAT, {"output_format": FORMAT["output_config"]["format"]}])
def test_structured_output(wanted):
    made = translate(wanted)
    generation = made.request["generationConfig"]
    assert generation["responseMimeType"] == "application/json"
    assert generation["responseJsonSchema"] == SCHEMA
    assert not made.unfence_json


def test_structured_output_in_words_where_the_upstream_refuses_it_beside_tools():
    for model, choice in ((OLD, None), (NEW, {"type": "any"})):
        made = translate({**FORMAT, "tools": [WEATHER], "tool_choice": choice, "system": "Hi"}, model)
        assert "responseMimeType" not in made.request["generationConfig"]
        first, last = made.request["systemInstruction"]["parts"]
        assert first == {"text": "Hi"}
        assert '"required":["a"]' in last["text"]
        assert made.unfence_json
    made = translate({**FORMAT, "tools": [WEATHER]}, NEW)
    assert made.request["generationConfig"]["responseMimeType"] == "application/json"


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"format": {"type": "text"}}, "output_config.format.type"),
        ({"format": {"type": "json_schema"}}, "output_config.format.schema"),
        ("x", "output_config"),
    ],
)
def test_formats_that_are_none(wanted, param):
    assert refusal({"output_config": wanted}).param == param


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("container", "container_1"),
        ("container", {"skills": [{"skill_id": "pdf"}]}),
        ("mcp_servers", [{"type": "url", "url": "https://example.com"}]),
        ("compaction", {"type": "summarize"}),
        ("thread", {"id": "t"}),
    ],
)
def test_what_would_change_the_meaning_is_refused(field, value):
    error = refusal({field: value})
    assert (error.kind, error.param) == ("invalid_request", field)
    assert (error.reason == "thread_unsupported_request") is (field == "thread")


def test_what_claude_code_sends_besides_is_ignored():
    plain = translate({})
    made = translate(
        {
            "metadata": {"user_id": '{"device_id":"x","session_id":"y"}' + "z" * 300},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"task_budget": {"type": "tokens", "total": 5}},
            "cache_control": {"type": "ephemeral"},
            "service_tier": "auto",
            "safeguards": [{}],
            "container": None,
            "thread": None,
            "mcp_servers": [],
            "inference_geo": "us",
            "anything": {"new": True},
        }
    )
    assert made.request == plain.request
    assert made.warnings == []


def test_speed_is_told_as_it_was_served():
    assert translate({"speed": "fast"}).options.speed == "standard"
    assert translate({}).options.speed is None
    assert "serviceTier" not in request({"speed": "fast"})


def test_safety_is_left_alone_unless_the_deployment_says_so():
    assert "safetySettings" not in request({})
    settings = request({}, safety_off=True)["safetySettings"]
    assert len(settings) == 4
    assert {item["threshold"] for item in settings} == {"OFF"}


def test_counting_needs_no_max_tokens_and_uses_the_same_translation():
    body = {"model": NEW, "messages": [HI], "system": "s", "tools": [WEATHER], "thinking": {"type": "adaptive"}}
    counted = dict(count_request(body, context()))
    sent = request({**body, "max_tokens": 8192})
    assert "maxOutputTokens" not in counted["generationConfig"]
    assert {**counted, "generationConfig": 0} == {**sent, "generationConfig": 0}
    assert count_request({"model": NEW, "messages": [HI], "tools": []}, context()) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}]
    }


def test_the_estimate_grows_with_the_prompt():
    small = translate({}).options.input_estimate
    large = translate({"messages": [user(text("word " * 4000))]}).options.input_estimate
    assert small == 1
    assert 4900 < large < 5200


@pytest.mark.parametrize("model", ["gemini-embedding-2", "gemini-3.8-flash-tts"])
def test_models_that_do_not_write(model):
    assert refusal({}, model).param == "model"


def test_the_model_and_stream_members():
    assert requested_model({"model": "claude-opus-5-5"}) == "claude-opus-5-5"
    assert wants_stream({"stream": True})
    assert not wants_stream({"stream": None})
    for verb, body in ((requested_model, {}), (requested_model, {"model": ""}), (wants_stream, {"stream": "yes"})):
        with pytest.raises(GatewayError):
            verb(body)


def test_thinking_by_the_models_name():
    made = translate({}, "gemini-2.5-flash-thinking")
    assert made.request["generationConfig"]["thinkingConfig"] == {"thinkingBudget": -1, "includeThoughts": True}
    assert made.options.thinking_asked
    assert config({}, "gemini-2.5-flash-nothinking")["thinkingConfig"] == {"thinkingBudget": 0}
