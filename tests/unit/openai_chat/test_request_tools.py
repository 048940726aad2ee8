"""Tools, tool choice, built-in tools and JSON beside them."""

import pytest

from shared.dialects.openai_chat.options import ChatOptions
from tests.unit.openai_chat.request_setup import (
    HI,
    NEW,
    OLD,
    WEATHER,
    calls,
    config,
    refusal,
    request,
    result,
    translate,
)

DECLARATION = {
    "name": "weather",
    "description": "The weather of a city",
    "parametersJsonSchema": WEATHER["function"]["parameters"],
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


def function(name, **extra):
    return {"type": "function", "function": {"name": name, **extra}}


def choice(tool_choice, *tools, model=NEW):
    return request({"tools": list(tools or (WEATHER,)), "tool_choice": tool_choice}, model).get("toolConfig")


def calling(mode, *allowed):
    found = {"mode": mode}
    return {"functionCallingConfig": found | ({"allowedFunctionNames": list(allowed)} if allowed else {})}


def test_functions_are_declared_with_their_json_schema():
    assert request({"tools": [WEATHER]})["tools"] == [{"functionDeclarations": [DECLARATION]}]
    assert "toolConfig" not in request({"tools": [WEATHER]})
    assert translate({"tools": [WEATHER]}).declared_tools == frozenset({"weather"})


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_function_without_parameters_has_no_schema(parameters):
    built = request({"tools": [function("now", parameters=parameters, description="")]})
    assert built["tools"] == [{"functionDeclarations": [{"name": "now"}]}]


def test_names_gemini_refuses_are_renamed_everywhere_and_given_back():
    messages = [HI, calls(("c", "1st-tool", "{}")), result("c", "x")]
    done = translate({"messages": messages, "tools": [function("1st-tool")], "tool_choice": "required"})
    declared = done.request["tools"][0]["functionDeclarations"][0]["name"]
    assert done.tool_names == {declared: "1st-tool"}
    assert done.declared_tools == frozenset({declared})
    assert declared[0] == "_"
    assert done.request["contents"][1]["parts"][0]["functionCall"]["name"] == declared
    assert done.request["contents"][2]["parts"][0]["functionResponse"]["name"] == declared
    named = {"type": "function", "function": {"name": "1st-tool"}}
    assert choice(named, function("1st-tool")) == calling("ANY", declared)


def test_strict_means_validated_and_leaves_no_trace_in_the_schema():
    built = request({"tools": [function("f", strict=True, parameters={**SCHEMA, "strict": True})]})
    assert built["toolConfig"] == calling("VALIDATED")
    assert built["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == SCHEMA


def test_a_property_called_strict_stays():
    schema = {"type": "object", "properties": {"strict": {"type": "boolean"}}, "required": ["strict"]}
    built = request({"tools": [function("f", parameters=schema)]})
    assert built["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == schema


def test_custom_tools_take_one_string():
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}
    tool = {"type": "custom", "custom": {"name": "sql", "description": "Runs SQL", "format": grammar}}
    done = translate({"tools": [tool], "tool_choice": {"type": "custom", "custom": {"name": "sql"}}})
    declaration = done.request["tools"][0]["functionDeclarations"][0]
    assert declaration["parametersJsonSchema"]["required"] == ["input"]
    assert declaration["description"].startswith("Runs SQL")
    assert "start: WORD" in declaration["description"]
    assert done.options.custom_tools == frozenset({"sql"})
    assert done.request["toolConfig"] == calling("ANY", "sql")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("auto", calling("AUTO")),
        ("none", calling("NONE")),
        ("required", calling("ANY")),
        ("any", calling("ANY")),
        ({"type": "function", "function": {"name": "weather"}}, calling("ANY", "weather")),
        ({"type": "function", "name": "weather"}, calling("ANY", "weather")),
    ],
)
def test_tool_choice_forms(given, expected):
    assert choice(given) == expected


def test_allowed_tools_required_names_them_and_auto_declares_only_them():
    listed = {"tools": [{"type": "function", "function": {"name": "b"}}]}
    tools = [function("a"), function("b")]
    required = {"type": "allowed_tools", "allowed_tools": {"mode": "required", **listed}}
    built = request({"tools": tools, "tool_choice": required})
    assert built["toolConfig"] == calling("ANY", "b")
    assert [item["name"] for item in built["tools"][0]["functionDeclarations"]] == ["a", "b"]
    free = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", **listed}}
    built = request({"tools": tools, "tool_choice": free})
    assert built["toolConfig"] == calling("AUTO")
    assert [item["name"] for item in built["tools"][0]["functionDeclarations"]] == ["b"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": 5}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "robot"}}, "tool_choice.type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "nope"}}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"tools": {}}, "tools"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "robot"}]}, "tools[0].type"),
        ({"tools": [{"type": 5}]}, "tools[0].type"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [function("")]}, "tools[0].function.name"),
        ({"tools": [function(5)]}, "tools[0].function.name"),
        ({"tools": [function("f", description=5)]}, "tools[0].function.description"),
        ({"tools": [function("f", parameters=5)]}, "tools[0].function.parameters"),
        ({"tools": [function("f", parameters={"type": "string"})]}, "tools[0].function.parameters"),
        ({"tools": [function("f"), function("f", description="x")]}, "tools[1].function.name"),
        (
            {"tools": [function("f", parameters={**SCHEMA, "description": "x" * 140_000})]},
            "tools[0].function.parameters",
        ),
        ({"tools": [function("f")] * 513}, "tools"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
    ],
)
def test_malformed_tools_are_refused_by_path(body, param):
    error = refusal(body)
    assert (error.kind, error.param) == ("invalid_request", param)


def test_no_tools_means_no_tool_config():
    for given in ("auto", "none", None):
        assert "toolConfig" not in request({"tool_choice": given})


def test_one_call_at_a_time():
    assert translate({"tools": [WEATHER], "parallel_tool_calls": False}).single_call is True
    assert translate({"tools": [WEATHER], "parallel_tool_calls": True}).single_call is False
    assert translate({"tools": [WEATHER], "parallel_tool_calls": None}).single_call is False


def test_legacy_functions():
    done = translate({"functions": [WEATHER["function"]], "function_call": {"name": "weather"}})
    assert done.request["tools"] == [{"functionDeclarations": [DECLARATION]}]
    assert done.request["toolConfig"] == calling("ANY", "weather")
    assert done.options == ChatOptions(legacy_function_call=True)
    assert done.single_call is True  # there is one `function_call` in a message
    assert translate({"functions": [WEATHER["function"]], "tools": []}).options.legacy_function_call is True
    both = translate({"functions": [{"name": "f"}], "tools": [WEATHER]})
    assert (both.options.legacy_function_call, both.warnings) == (False, ["ignored:functions"])


def test_code_or_pictures_beside_a_search_are_told_to_the_renderer():
    code, search = {"code_execution": {}}, {"google_search": {}}
    assert translate({"tools": [code, search]}).options.mixed is True
    assert translate({"tools": [search]}, "gemini-3.1-flash-image").options.mixed is True
    assert translate({"tools": [search]}).options.mixed is False
    assert translate({}, "gemini-3.1-flash-image").options.mixed is False


@pytest.mark.parametrize(
    ("tool", "wire"),
    [
        (function("codeExecution"), {"codeExecution": {}}),
        (function("google_search", parameters={"type": "object", "properties": {}}), {"googleSearch": {}}),
        ({"google_search": {}}, {"googleSearch": {}}),
        ({"urlContext": {}}, {"urlContext": {}}),
        ({"type": "web_search"}, {"googleSearch": {}}),
        (
            {"googleSearch": {"timeRangeFilter": {"start_time": "a", "x": 1}}},
            {"googleSearch": {"timeRangeFilter": {"startTime": "a"}}},
        ),
        ({"fileSearch": {"fileSearchStoreNames": ["s"]}}, {"fileSearch": {"fileSearchStoreNames": ["s"]}}),
    ],
)
def test_built_in_tools_in_every_clothing(tool, wire):
    assert request({"tools": [tool]})["tools"] == [wire]


def test_a_function_with_parameters_stays_a_function_whatever_its_name():
    built = request({"tools": [function("google_search", parameters=SCHEMA)]})
    assert built["tools"][0]["functionDeclarations"][0]["name"] == "google_search"


def test_raw_function_declarations_are_declared():
    raw = {
        "function_declarations": [
            {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}
        ]
    }
    built = request({"tools": [raw]})
    assert built["tools"][0]["functionDeclarations"][0]["name"] == "f"


def test_search_and_functions_together_on_new_models_only():
    body = {"tools": [WEATHER], "web_search_options": {}}
    new = request(body, NEW)
    assert [sorted(tool)[0] for tool in new["tools"]] == ["functionDeclarations", "googleSearch"]
    assert new["toolConfig"] == {**calling("VALIDATED"), "includeServerSideToolInvocations": True}
    forced = request({**body, "tool_choice": "required"}, NEW)
    assert forced["toolConfig"] == {**calling("ANY"), "includeServerSideToolInvocations": True}
    old = translate(body, OLD)
    assert [sorted(tool)[0] for tool in old.request["tools"]] == ["functionDeclarations"]
    assert old.warnings == ["search_dropped:googleSearch_with_functions"]


def test_search_by_model_name_and_by_options():
    assert request({}, "gemini-3.8-flash:search")["tools"] == [{"googleSearch": {}}]
    done = translate({"web_search_options": {"search_context_size": "low", "user_location": None}}, OLD)
    assert done.request["tools"] == [{"googleSearch": {}}]
    assert done.warnings == ["ignored:web_search_options.search_context_size"]


def test_forcing_a_built_in_tool_is_ignored_and_named():
    named = {"type": "function", "function": {"name": "codeExecution"}}
    done = translate({"tools": [function("codeExecution")], "tool_choice": named})
    assert "toolConfig" not in done.request
    assert done.warnings == ["ignored:tool_choice"]


def test_no_tools_wanted_sends_no_built_in_tools():
    built = request({"tools": [WEATHER, {"google_search": {}}], "tool_choice": "none"})
    assert [sorted(tool)[0] for tool in built["tools"]] == ["functionDeclarations"]
    assert built["toolConfig"] == calling("NONE")


def test_json_output_by_the_upstreams_own_means():
    assert config({"response_format": {"type": "json_object"}}) == {"responseMimeType": "application/json"}
    assert config({"response_format": FORMAT}) == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    for nothing in ({"type": "text"}, None):
        assert config({"response_format": nothing}) == {}


def test_json_beside_tools():
    body = {"tools": [WEATHER], "response_format": FORMAT}
    new = translate(body, NEW)
    assert new.request["generationConfig"]["responseJsonSchema"] == SCHEMA
    assert new.unfence_json is False
    for model, extra in ((OLD, {}), (NEW, {"tool_choice": "required"})):
        asked = translate(body | extra, model)
        assert "generationConfig" not in asked.request
        assert '"required":["a"]' in asked.request["systemInstruction"]["parts"][-1]["text"]
        assert asked.unfence_json is True


def test_json_beside_maps_is_asked_for_in_words():
    asked = translate({"tools": [{"googleMaps": {}}], "response_format": {"type": "json_object"}}, NEW)
    assert "generationConfig" not in asked.request
    assert asked.unfence_json is True


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("json", "response_format"),
        ({}, "response_format.type"),
        ({"type": "yaml"}, "response_format.type"),
        ({"type": "json_schema", "json_schema": 5}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}, "response_format"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "string", "enum": ["a"]}}}, "response_format"),
    ],
)
def test_malformed_formats_are_refused_by_path(given, param):
    assert refusal({"response_format": given}).param == param


def test_a_schema_whose_root_is_a_reference_to_an_object_is_fine():
    schema = {"$ref": "#/$defs/P", "$defs": {"P": SCHEMA}}
    built = config({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}})
    assert built["responseJsonSchema"]["type"] == "object"
    assert built["responseJsonSchema"]["properties"] == SCHEMA["properties"]
