"""Responses requests as Gemini requests."""

import json

import pytest

from shared.dialects.contract import StateRefs
from shared.dialects.openai_responses import kept_items, response_of_item, signature_keys, state_refs
from shared.dialects.openai_responses.echo import echoed
from shared.dialects.openai_responses.encrypted import item_key, seal_signatures, seal_summary
from shared.errors import GatewayError
from shared.gemini.catalog import resolve
from shared.gemini.signatures import SENTINEL, FoundSignature, call_key, server_key, text_key
from tests.golden.upstream_rules import VALIDATOR, assert_sound
from tests.unit.openai_responses.response_setup import (
    DAY,
    IMAGES,
    NEW,
    OLD,
    WEATHER,
    contents,
    refusal,
    request,
    sealer,
    translate,
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FAMILY = resolve(NEW, DAY).capabilities.family
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Rome"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "dry"}


def carrier(bound, family=FAMILY, acct="acct"):
    token = seal_signatures(family, bound, sealer(acct, 7).seal)
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": token}


def sound(body, model=NEW, **known):
    made = request(body, model, **known)
    assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(made)] == []
    assert_sound(made, model)
    return made


def test_a_string_and_a_message_are_the_same():
    plain = sound({"input": "hi", "instructions": "Be brief."})
    assert plain["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert plain["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    for item in (
        {"role": "user", "content": "hi"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    ):
        assert sound({"input": [item], "instructions": "Be brief."}) == plain


def test_parts_of_messages():
    parts = [
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "high"},
        {"type": "input_file", "filename": "a.txt", "file_data": "aGVsbG8="},
    ]
    (turn,) = contents([{"role": "user", "content": parts}])
    assert turn["parts"][1]["inlineData"]["mimeType"] == "image/png"
    assert turn["parts"][2]["inlineData"] == {"mimeType": "text/plain", "data": "aGVsbG8="}


def test_parameters():
    made = sound(
        {
            "max_output_tokens": 100,
            "temperature": 0,
            "top_p": 0.5,
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {}}}},
            "service_tier": "flex",
        },
        OLD,
    )
    config = made["generationConfig"]
    assert (config["maxOutputTokens"], config["temperature"], config["topP"]) == (100, 0, 0.5)
    assert config["responseMimeType"] == "application/json"
    assert config["thinkingConfig"]["includeThoughts"] is True
    assert made["serviceTier"] == "flex"


def test_an_effort_alone_does_not_ask_for_thoughts():
    thinking = sound({"reasoning": {"effort": "high"}})["generationConfig"]["thinkingConfig"]
    assert thinking == {"thinkingLevel": "HIGH"}


def test_calls_results_and_their_signatures_come_from_the_carrier_alone():
    bound = {call_key("call_1"): FoundSignature("c2lnbmF0dXJl", "n1", "weather")}
    _, call, result = sound({"input": [{"role": "user", "content": "?"}, carrier(bound), CALL, OUTPUT]})["contents"]
    assert call["parts"] == [
        {
            "functionCall": {"id": "n1", "name": "weather", "args": {"city": "Rome"}},
            "thoughtSignature": "c2lnbmF0dXJl",
        }
    ]
    assert result["parts"][0]["functionResponse"] == {"id": "n1", "name": "weather", "response": {"output": "dry"}}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (lambda bound: carrier(bound, family="other"), "model_mismatch"),
        (lambda bound: carrier(bound, acct="somebody else"), "organization_mismatch"),
        (lambda bound: {**carrier(bound), "encrypted_content": "gAAAAAB-not-ours"}, "organization_mismatch"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_reported(item, reason):
    bound = {call_key("call_1"): FoundSignature("c2lnbmF0dXJl", "n1", "weather")}
    done = translate({"input": [{"role": "user", "content": "?"}, item(bound), CALL, OUTPUT]})
    assert done.request["contents"][1]["parts"][0]["thoughtSignature"] == SENTINEL
    shown = {"id": "rs_1", "type": "reasoning", "action": "removed", "reason": reason}
    assert done.options.transformations == (shown,)
    assert any(note.startswith("reasoning_dropped:") for note in done.warnings)


def test_models_of_one_generation_read_each_others_carriers():
    bound = {call_key("call_1"): FoundSignature("c2lnbmVk", None, "weather")}
    given = {"input": [{"role": "user", "content": "?"}, carrier(bound), CALL, OUTPUT], "tools": [WEATHER]}
    done = translate(given, "gemini-3.1-pro-preview")
    assert done.request["contents"][1]["parts"][0]["thoughtSignature"] == "c2lnbmVk"
    assert not done.options.transformations
    (gone,) = translate(given, OLD).options.transformations
    assert gone["reason"] == "model_mismatch"


def test_a_carrier_of_no_signature_loses_nothing_with_another_model():
    done = translate({"input": [{"role": "user", "content": "?"}, carrier({}, family="other")]})
    assert not done.options.transformations
    assert not done.warnings


def test_the_signature_of_a_text_and_of_code_come_back():
    bound = {
        text_key("", "Yes."): FoundSignature("dGV4dHNpZ24="),
        item_key("ci_1"): FoundSignature("Y29kZXNpZ24="),
    }
    code = {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "code": "print(1)",
        "outputs": [{"type": "logs", "logs": "1"}],
    }
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    _, model, _ = contents(
        [{"role": "user", "content": "?"}, carrier(bound), code, said, {"role": "user", "content": "!"}]
    )
    assert model["parts"] == [
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "Y29kZXNpZ24="},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"text": "Yes.", "thoughtSignature": "dGV4dHNpZ24="},
    ]


def test_typed_calls_and_their_results():
    items = [
        {"role": "user", "content": "go"},
        {
            "type": "local_shell_call",
            "id": "lsh_1",
            "call_id": "call_a",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "x"},
        {"type": "shell_call", "call_id": "call_b", "action": {"commands": ["ls"], "timeout_ms": None}},
        {
            "type": "shell_call_output",
            "call_id": "call_b",
            "output": [{"stdout": "x", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
        {"type": "apply_patch_call", "call_id": "call_c", "operation": {"type": "delete_file", "path": "x"}},
        {"type": "apply_patch_call_output", "call_id": "call_c", "status": "completed"},
        {"type": "custom_tool_call", "call_id": "call_d", "name": "grep", "input": "a|b"},
        {"type": "custom_tool_call_output", "call_id": "call_d", "output": "line"},
    ]
    made = contents(items)
    calls = [part["functionCall"] for turn in made for part in turn["parts"] if "functionCall" in part]
    assert [(call["name"], call["args"]) for call in calls] == [
        ("local_shell", {"command": ["ls"], "env": {}}),
        ("shell", {"commands": ["ls"]}),
        ("apply_patch", {"type": "delete_file", "path": "x"}),
        ("grep", {"input": "a|b"}),
    ]
    results = [
        part["functionResponse"]["response"] for turn in made for part in turn["parts"] if "functionResponse" in part
    ]
    assert results[0] == {"output": "x"}
    assert results[1]["output"][0]["stdout"] == "x"
    assert results[2:] == [{"status": "completed"}, {"output": "line"}]


def test_tools_of_every_kind_go_out_under_one_name_each():
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    tools = [
        WEATHER,
        {"type": "custom", "name": "grep", "description": "Find", "format": grammar},
        {
            "type": "namespace",
            "name": "fs",
            "description": "Files",
            "tools": [{"type": "function", "name": "read", "parameters": {}}],
        },
        {"type": "local_shell"},
        {"type": "web_search_preview_2025_03_11", "filters": {"allowed_domains": ["a.example"]}},
        {"type": "tool_search"},
    ]
    done = translate({"tools": tools})
    declared, search = done.request["tools"]
    names = [item["name"] for item in declared["functionDeclarations"]]
    assert names == ["weather", "grep", "fs__read", "local_shell"]
    assert "start: WORD" in declared["functionDeclarations"][1]["description"]
    assert search == {"googleSearch": {}}
    kinds = done.options.kinds
    assert (kinds["fs__read"].name, kinds["fs__read"].namespace, kinds["grep"].form) == ("read", "fs", "custom")
    assert {"tool_dropped:tool_search", "ignored:tools[4].filters.allowed_domains"} <= set(done.warnings)
    sound({"tools": tools})


@pytest.mark.parametrize(
    ("said", "config"),
    [
        ({"size": "2048x2048"}, {"aspectRatio": "1:1", "imageSize": "2K"}),
        ({"size": "3000x750"}, {"aspectRatio": "4:1", "imageSize": "1K"}),
        ({"size": "1024x1024", "quality": "high"}, {"aspectRatio": "1:1", "imageSize": "2K"}),
        ({"size": "auto", "quality": "high"}, {"imageSize": "2K"}),
        ({"size": None, "quality": "auto"}, None),
    ],
)
def test_the_image_tool_draws_in_the_size_of_the_images_endpoint(said, config):
    drawn = sound({"tools": [{"type": "image_generation", **said}]}, IMAGES)["generationConfig"]
    assert drawn.get("imageConfig") == config


def test_a_format_that_no_picture_has_is_named():
    def warnings(kind):
        return translate({"tools": [{"type": "image_generation", "output_format": kind}]}, IMAGES).warnings

    assert warnings("webp") == ["ignored:tools[0].output_format"]
    assert warnings("png") == warnings("jpeg") == []


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "required",
        {"type": "image_generation"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "image_generation"}]},
    ],
)
def test_the_image_tool_may_be_the_only_choice(choice):
    drawn = sound({"tools": [{"type": "image_generation"}], "tool_choice": choice}, IMAGES)
    assert drawn["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]
    assert "toolConfig" not in drawn


def test_the_image_tool_is_for_models_that_draw():
    drawn = sound({"tools": [{"type": "image_generation", "size": "1536x1024"}]}, IMAGES)["generationConfig"]
    assert drawn["responseModalities"] == ["TEXT", "IMAGE"]
    assert drawn["imageConfig"] == {"aspectRatio": "3:2", "imageSize": "1K"}
    plain = translate({"tools": [{"type": "image_generation"}]})
    assert "tools" not in plain.request
    assert plain.warnings == ["tool_dropped:image_generation"]


@pytest.mark.parametrize(
    ("choice", "mode", "allowed"),
    [
        ("required", "ANY", None),
        ({"type": "function", "name": "weather"}, "ANY", ["weather"]),
        ({"type": "custom", "name": "grep"}, "ANY", ["grep"]),
        ({"type": "shell"}, "ANY", ["shell"]),
        ({"type": "function", "name": "read", "namespace": "fs"}, "ANY", ["fs__read"]),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "shell"}]}, "ANY", ["shell"]),
        ("none", "NONE", None),
    ],
)
def test_choices(choice, mode, allowed):
    namespace = {"type": "namespace", "name": "fs", "tools": [{"type": "function", "name": "read"}]}
    tools = [WEATHER, {"type": "custom", "name": "grep"}, {"type": "shell"}, namespace]
    config = sound({"tools": tools, "tool_choice": choice})["toolConfig"]["functionCallingConfig"]
    assert config == {"mode": mode} | ({"allowedFunctionNames": allowed} if allowed else {})


def test_a_choice_of_search_leaves_search_alone():
    made = sound({"tools": [WEATHER, {"type": "web_search"}], "tool_choice": {"type": "web_search_preview"}})
    assert made["tools"] == [{"googleSearch": {}}]
    assert "toolConfig" not in made


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(
    ("allowed", "tools"),
    [
        (["web_search"], ["googleSearch"]),
        (["code_interpreter", "web_search_preview"], ["googleSearch", "codeExecution"]),
    ],
)
def test_only_the_upstreams_own_tools_may_be_allowed(mode, allowed, tools):
    declared = [WEATHER, {"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}]
    choice = {"type": "allowed_tools", "mode": mode, "tools": [{"type": kind} for kind in allowed]}
    made = sound({"tools": declared, "tool_choice": choice})
    assert made["tools"] == [{name: {}} for name in tools]
    assert "toolConfig" not in made


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": [{"type": "code_interpreter"}]}},
            "tool_choice",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "smell"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "smell"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": "x"}, OUTPUT]}, "input[1].call_id"),
        (
            {"input": [{"role": "user", "content": "x"}, CALL, {**OUTPUT, "output": [{"type": "smell"}]}]},
            "input[2].output[0].type",
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ({"input": [{"type": "compaction", "encrypted_content": "gw1.x"}]}, "input[0].encrypted_content"),
        ({"input": [{**CALL, "name": ""}]}, "input[0].name"),
        (
            {
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": "https://a.example", "detail": 1}],
                    }
                ]
            },
            "input[0].content[0].detail",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"tools": [{"type": "custom"}]}, "tools[0].name"),
        ({"tools": [{"type": "tool_search"}, {"type": "function", "name": ""}]}, "tools[1].name"),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": 1}]}]},
            "tools[0].tools[0].name",
        ),
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
        ({"tools": [{"type": "computer_use_preview"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "function", "name": "none_such"}, "tools": [WEATHER]}, "tool_choice"),
        ({"tool_choice": {"type": {}}, "tools": [WEATHER]}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": {}}]}, "tools": [WEATHER]}, "tool_choice.tools"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"metadata": {"a": 5}}, "metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"metadata": {"a" * 65: "x"}}, "metadata"),
        ({"truncation": "maybe"}, "truncation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True, "store": False}, "background"),
        ({"previous_response_id": "r", "conversation": "c"}, "conversation"),
        ({"include": [1]}, "include[0]"),
        ({"api_key": "x"}, "api_key"),
    ],
)
def test_refusals_name_the_clients_own_path(body, param):
    error = refusal(body)
    assert error.param == param
    assert error.kind in ("invalid_request", "unsupported_parameter")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"modalities": ["text"]}, "modalities"),
        ({"conversation_id": "c"}, "conversation_id"),
        (
            {
                "tools": [
                    {"type": "namespace", "name": "n", "tools": [{**WEATHER, "name": "a"}, {**WEATHER, "name": "b"}]},
                    {"type": "web_search", "filters": {"allowed_domains": ["a.example"]}},
                ]
            },
            "tools[1].filters.allowed_domains",
        ),
        (
            {
                "tools": [
                    WEATHER,
                    {"type": "web_search", "user_location": {"city": "Rome"}},
                    {"type": "local_shell"},
                ],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [WEATHER]},
            },
            "tools[1].user_location",
        ),
    ],
)
def test_what_is_ignored_is_named_as_the_client_wrote_it(body, param):
    assert translate(body).warnings == [f"ignored:{param}"]


@pytest.mark.parametrize("member", ["reasoning_effort", "response_format"])
def test_strict_mode_refuses_what_the_client_wrote(member):
    assert refusal({member: "low"}, strict=True).param == member


@pytest.mark.parametrize("known", ["conversation", "previous_response_id"])
@pytest.mark.parametrize(
    "item",
    [
        {"type": "bogus"},
        {"role": "user", "content": [{"type": "bogus"}]},
        {"type": "additional_tools", "tools": [{"type": "function", "name": 5}]},
        {"type": "additional_tools", "tools": [{"type": "mcp"}]},
    ],
)
def test_a_bad_kept_item_is_named_by_the_member_that_it_came_by(known, item):
    assert refusal({known: "x"}, history=[item]).param == known


def test_the_history_stands_before_the_input_and_after_the_instructions():
    history = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "one"}]},
    ]
    done = translate({"input": "second", "instructions": "Be brief."}, history=history)
    words = [part["text"] for turn in done.request["contents"] for part in turn["parts"]]
    assert words == ["first", "one", "second"]
    reference = translate({"input": [{"type": "item_reference", "id": "msg_9"}]}, references={"msg_9": history[0]})
    assert reference.request["contents"][0]["parts"] == [{"text": "first"}]


def test_compaction_and_configuration():
    token = seal_summary("They want a boat.", sealer(start=9).seal)
    items = [
        {"type": "compaction", "id": "cmp_1", "encrypted_content": token},
        {"type": "configuration_update", "reasoning": {"effort": "high"}},
        {"role": "user", "content": "Go on"},
    ]
    made = sound({"input": items, "reasoning": {"effort": "low"}})
    assert "They want a boat." in made["contents"][0]["parts"][0]["text"]
    assert made["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "HIGH"


def test_truncation_drops_whole_turns_and_keeps_the_rules():
    long = "word " * 2_000_000
    items = [
        {"role": "system", "content": "Rules."},
        {"role": "user", "content": long},
        CALL,
        OUTPUT,
        {"role": "user", "content": "last"},
    ]
    done = translate({"input": items, "truncation": "auto"})
    assert done.request["contents"] == [{"role": "user", "parts": [{"text": "last"}]}]
    assert done.request["systemInstruction"] == {"parts": [{"text": "Rules."}]}
    assert done.warnings == ["truncated:3_items"]
    assert len(translate({"input": items}).request["contents"]) == 3


def test_what_has_no_counterpart_is_repeated_where_it_was_said():
    said = {
        "access_programs": {"cyber": "standard"},
        "context_management": [{"type": "compaction", "compact_threshold": 5}],
        "image": {"context_compression": "enabled"},
        "prompt_cache_options": {"ttl": "12h"},
        "prompt_cache_retention": "24h",
    }
    assert said.items() <= echoed(said).items()
    assert said.keys().isdisjoint(echoed({}))


def test_state_references():
    items = [{"type": "item_reference", "id": "a"}, {"id": "b"}, {"role": "user", "content": "x", "id": "c"}]
    assert state_refs({"input": items, "previous_response_id": "resp_1"}) == StateRefs("resp_1", None, ("a", "b"), True)
    assert state_refs({"conversation": {"id": "conv_1"}, "store": False}).conversation == "conv_1"
    with pytest.raises(GatewayError):
        state_refs({"conversation": 1})


def test_kept_items_have_ids_that_lead_home():
    request_id = "01M80B627WNZXBRKZW9FD603B5"
    (item,) = kept_items("hello", {}, request_id)
    assert item["content"] == [{"type": "input_text", "text": "hello"}]
    assert response_of_item(item["id"]) == f"resp_{request_id.lower()}"
    assert response_of_item("msg_somebody_elses") is None
    referred = kept_items(
        [{"type": "item_reference", "id": "x"}, CALL], {"x": {"id": "x", "type": "message"}}, request_id
    )
    assert [entry["id"] for entry in referred] == ["x", "fc_01m80b627wnzxbrkzw9fd603b5i01"]


def test_signature_keys_are_newest_first_and_never_raise():
    body = {
        "input": [
            CALL,
            {"role": "assistant", "content": "Yes."},
            "odd",
            {"type": 5},
            {"role": "assistant", "content": 3},
        ]
    }
    keys = signature_keys(body)
    assert keys[0] == text_key("", "Yes.")
    assert call_key("call_1") in keys
    assert signature_keys({}) == signature_keys({"input": "x"}) == []


def test_unknown_members_are_named_and_known_ones_are_not():
    done = translate(
        {"stop": ["x"], "prompt_cache_key": "k", "text": {"verbosity": "low"}, "client_metadata": {"a": "b"}}
    )
    assert done.warnings == ["ignored:stop", "ignored:text.verbosity"]
    assert json.loads(json.dumps(done.options.echo))["prompt_cache_key"] == "k"


def test_what_the_upstreams_own_tools_did_before_a_call_goes_back_before_it():
    """A search beside functions lost its context at the next step."""
    part = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1", "args": {}}, "thoughtSignature": "c2lnbmF0dXJl"}
    answer = {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1", "response": {}}}
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    called = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    answered = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
    given = [{"role": "user", "content": "hi"}, searched, called, answered]
    assert server_key("call_1") in signature_keys({"input": given})
    assert server_key("call_1") not in signature_keys({"input": [called, answered]})
    kept = {server_key("call_1"): FoundSignature(json.dumps([part, answer]), family=FAMILY)}
    tools = [{"type": "function", "name": "f"}, {"type": "web_search"}]

    def parts(tools):
        return request({"input": given, "tools": tools}, signatures=kept)["contents"][1]["parts"]

    assert parts(tools)[:2] == [part, answer]
    assert [next(iter(part)) for part in parts(tools)] == ["toolCall", "toolResponse", "functionCall"]
    assert [next(iter(part)) for part in parts(tools[:1])] == ["functionCall"]
