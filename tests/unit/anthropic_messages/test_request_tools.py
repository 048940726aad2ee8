"""Tools: declarations of every kind, loading and unloading, server tools, `tool_choice`, names."""

import pytest

from tests.unit.anthropic_messages.request_setup import (
    HI,
    MID,
    NEW,
    OLD,
    SEARCH,
    WEATHER,
    assistant,
    calls_of,
    functions,
    refusal,
    request,
    responses_of,
    result,
    text,
    translate,
    use,
    user,
)

OTHER = {"name": "other", "input_schema": {"type": "object"}}
LOADED = {**OTHER, "name": "loaded", "defer_loading": True}
HIDDEN = {**OTHER, "name": "hidden", "defer_loading": True}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
CODE = {"type": "code_execution_20260120", "name": "code_execution"}


def names(body, model=NEW):
    return [item["name"] for item in functions(body, model)]


def test_a_custom_tool_without_what_the_upstream_does_not_know():
    tool = {
        **WEATHER,
        "type": "custom",
        "cache_control": {"type": "ephemeral"},
        "eager_input_streaming": True,
        "allowed_callers": ["direct"],
        "strict": False,
        "input_examples": [{"city": "Köln"}],
    }
    (made,) = functions({"tools": [tool]})
    assert made == {
        "name": "weather",
        "description": 'The weather of a city\n\nExamples of its input: [{"city":"Köln"}]',
        "parametersJsonSchema": WEATHER["input_schema"],
    }


def test_no_tools_are_no_tools():
    for tools in ([], None):
        made = request({"tools": tools, "tool_choice": {"type": "any"}})
        assert "tools" not in made
        assert "toolConfig" not in made


def test_schemas_are_cleaned_and_typed():
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"$schema": {"type": "string"}}}
    (made,) = functions({"tools": [{"name": "t", "input_schema": schema}]})
    assert made["parametersJsonSchema"] == {"type": "object", "properties": {"$schema": {"type": "string"}}}
    assert refusal({"tools": [{"name": "t", "input_schema": {"type": "array"}}]}).param == "tools[0].input_schema.type"


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([WEATHER, WEATHER], "tools"),
        ([{**SEARCH, "name": "weather"}, WEATHER], "tools"),
        ([SEARCH, SEARCH], "tools"),
        ([{"name": "x"}], "tools[0].input_schema"),
        ([WEATHER, {**WEATHER, "name": ""}], "tools[1].name"),
        ([{"input_schema": {}}], "tools[0].name"),
        ([{"type": "mcp_toolset", "mcp_server_name": "x"}], "tools[0].type"),
        ([{"type": "computer_toolset_20260801"}], "tools[0].type"),
        ([{"type": "browser_toolset_20260801"}], "tools[0].type"),
        ([{"type": 3}], "tools[0].type"),
        (["weather"], "tools[0]"),
        ("weather", "tools"),
    ],
)
def test_tools_that_cannot_be_carried(tools, param):
    error = refusal({"tools": tools})
    assert (error.kind, error.param) == ("invalid_request", param)


@pytest.mark.parametrize(
    ("tool", "properties"),
    [
        ({"type": "bash_20250124", "name": "bash"}, {"command", "restart"}),
        ({"type": "bash_20241022", "name": "shell"}, {"command", "restart"}),
        (
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 100},
            {"command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"},
        ),
        (
            {"type": "memory_20250818", "name": "memory"},
            {"command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"}
            | {"old_path", "new_path"},
        ),
        (
            {"type": "computer_20250124", "name": "computer", "display_width_px": 800, "display_height_px": 600},
            {"action", "coordinate", "text", "start_coordinate", "scroll_direction", "scroll_amount", "duration"}
            | {"region"},
        ),
    ],
)
def test_client_tools_become_functions_under_their_name(tool, properties):
    (made,) = functions({"tools": [tool]})
    assert made["name"] == tool["name"]
    assert set(made["parametersJsonSchema"]["properties"]) == properties
    assert ("800 pixels" in made["description"]) is ("display_width_px" in tool)


def test_deferred_tools_wait_until_a_search_has_loaded_them():
    tools = [WEATHER, HIDDEN, LOADED]
    assert names({"tools": tools}) == ["weather"]
    reference = {"type": "tool_reference", "tool_name": "loaded"}
    turns = [HI, assistant(use("t1")), user(result("t1", [reference]), text("Tool loaded."))]
    made = request({"tools": tools, "messages": turns})
    assert [item["name"] for item in made["tools"][0]["functionDeclarations"]] == ["weather", "loaded"]
    assert responses_of(made["contents"])[0]["response"] == {"result": "Tools loaded: loaded"}
    assert made["contents"][-1]["parts"][1] == {"text": "Tool loaded."}
    choice = {"type": "tool", "name": "hidden"}
    assert names({"tools": tools, "tool_choice": choice}) == ["weather", "hidden"]


def test_deferred_tools_alone_or_with_anthropics_search_are_all_declared():
    assert names({"tools": [HIDDEN, LOADED]}) == ["hidden", "loaded"]
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    assert names({"tools": [WEATHER, search, HIDDEN]}) == ["weather", "hidden"]
    assert names({"tools": [SEARCH, HIDDEN]}) == []


def test_tools_that_the_conversation_adds_and_removes():
    def change(kind, tool):
        return {"role": "system", "content": [{"type": kind, "tool": tool}]}

    by_name = {"type": "tool_reference", "name": "hidden"}
    added, removed = "tool_addition", "tool_removal"
    tools = [WEATHER, HIDDEN]
    assert names({"tools": tools, "messages": [HI, change(added, by_name)]}) == ["weather", "hidden"]
    assert names({"tools": tools, "messages": [HI, change(added, OTHER)]}) == ["weather", "other"]
    gone = change(removed, {"type": "tool_reference", "name": "weather"})
    assert names({"tools": [WEATHER, OTHER], "messages": [HI, gone]}) == ["other"]
    back = change(added, {"type": "tool_reference", "name": "weather"})
    assert names({"tools": [WEATHER, OTHER], "messages": [HI, gone, back]}) == ["other", "weather"]
    error = refusal({"messages": [HI, change(added, None)]})
    assert error.param == "messages[1].content[0].tool"


def _changed(kind, tool):
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


def test_a_tool_is_added_by_its_definition():
    def defined(tool):
        return _changed("tool_addition", {"type": "tool_definition", "definition": tool})

    assert names({"messages": [HI, defined({**OTHER, "defer_loading": True})]}) == ["other"]
    assert request({"messages": [HI, defined(SEARCH)]})["tools"] == [{"googleSearch": {}}]
    gone = _changed("tool_removal", {"type": "tool_reference", "name": "weather"})
    (again,) = functions({"tools": [WEATHER], "messages": [HI, gone, defined({**WEATHER, "description": "new"})]})
    assert again["description"] == "new"
    for tool, where in ((None, ""), ({"name": "x"}, ".input_schema"), ({"input_schema": {}}, ".name")):
        param = refusal({"messages": [HI, defined(tool)]}).param
        assert param == f"messages[1].content[0].tool.definition{where}"


def test_server_tools_are_removed_and_given_back_too():
    by_name = {"type": "tool_reference", "name": "web_search"}
    gone, back = _changed("tool_removal", by_name), _changed("tool_addition", by_name)
    body = {"tools": [WEATHER, SEARCH], "messages": [HI, gone]}
    assert [list(tool) for tool in request(body)["tools"]] == [["functionDeclarations"]]
    assert refusal({**body, "tool_choice": {"type": "tool", "name": "web_search"}}).param == "tool_choice.name"
    assert {"googleSearch": {}} in request({**body, "messages": [HI, gone, back]})["tools"]
    newer = _changed("tool_addition", {"type": "tool_definition", "definition": SEARCH})
    assert {"googleSearch": {}} in request({**body, "messages": [HI, gone, newer]})["tools"]


def test_server_tools_alone():
    made = translate({"tools": [SEARCH, FETCH, CODE]})
    assert made.request["tools"] == [{"googleSearch": {}}, {"urlContext": {}}, {"codeExecution": {}}]
    assert "toolConfig" not in made.request
    assert made.options.server_tools == {"web_search", "web_fetch", "code_execution"}
    assert made.options.only_server_tools


def test_server_tools_beside_functions():
    made = translate({"tools": [WEATHER, SEARCH]}, MID)
    assert list(map(list, made.request["tools"])) == [["functionDeclarations"], ["googleSearch"]]
    assert made.request["toolConfig"] == {
        "functionCallingConfig": {"mode": "VALIDATED"},
        "includeServerSideToolInvocations": True,
    }
    assert (made.options.server_tools, made.options.only_server_tools) == ({"web_search"}, False)
    forced = request({"tools": [WEATHER, SEARCH], "tool_choice": {"type": "any"}}, MID)
    assert forced["toolConfig"]["functionCallingConfig"] == {"mode": "ANY"}


def test_old_models_cannot_search_beside_functions():
    made = translate({"tools": [WEATHER, SEARCH, FETCH]}, OLD)
    assert list(map(list, made.request["tools"])) == [["functionDeclarations"]]
    assert made.warnings == ["search_dropped:googleSearch_with_functions", "tool_dropped:urlContext_with_functions"]
    assert made.options.server_tools == frozenset()


def test_the_type_makes_a_server_tool_not_the_name():
    custom = {"name": "web_search", "input_schema": {"type": "object"}}
    assert names({"tools": [custom]}) == ["web_search"]


def test_search_options_become_one_sentence():
    options = {
        "allowed_domains": ["a.example", "b.example"],
        "blocked_domains": ["Evil.example"],
        "user_location": {"type": "approximate", "city": "Wien", "country": "AT"},
        "max_uses": 3,
    }
    made = translate({"tools": [{**SEARCH, **options}], "system": "Be brief."})
    assert made.request["tools"] == [{"googleSearch": {}}]
    brief, hint = made.request["systemInstruction"]["parts"]
    assert brief == {"text": "Be brief."}
    assert all(word in hint["text"] for word in ("a.example, b.example", "evil.example", "Wien, AT"))
    assert made.options.blocked_domains == ("evil.example",)
    empty = {"allowed_domains": None, "blocked_domains": None, "user_location": None}
    assert "systemInstruction" not in request({"tools": [{**SEARCH, **empty}]})


def test_a_model_name_can_ask_for_search():
    made = translate({}, "gemini-3.8-flash:search")
    assert made.request["tools"] == [{"googleSearch": {}}]
    assert made.options.server_tools == frozenset()


def test_the_advisor_is_dropped():
    made = translate({"tools": [{"type": "advisor_20260301", "name": "advisor"}, WEATHER]})
    assert made.warnings == ["tool_dropped:advisor_20260301"]
    assert made.declared_tools == {"weather"}


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        (None, None),
        ({"type": "auto"}, {"mode": "AUTO"}),
        ({"type": "any"}, {"mode": "ANY"}),
        ({"type": "none"}, {"mode": "NONE"}),
        ({"type": "tool", "name": "other"}, {"mode": "ANY", "allowedFunctionNames": ["other"]}),
    ],
)
def test_tool_choice(choice, mode):
    made = request({"tools": [WEATHER, OTHER], "tool_choice": choice, "thinking": {"type": "adaptive"}})
    assert made.get("toolConfig", {}).get("functionCallingConfig") == mode
    assert len(made["tools"][0]["functionDeclarations"]) == 2


def test_none_keeps_functions_visible_and_searches_nothing():
    made = request({"tools": [WEATHER, SEARCH], "tool_choice": {"type": "none"}})
    assert list(map(list, made["tools"])) == [["functionDeclarations"]]
    assert made["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}


def test_a_choice_of_a_server_tool_is_left_to_the_model():
    made = request({"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}})
    assert "toolConfig" not in made


def test_all_strict_tools_are_validated():
    strict = [{**WEATHER, "strict": True}, {**OTHER, "strict": True}]
    assert request({"tools": strict})["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert "toolConfig" not in request({"tools": [*strict, {**OTHER, "name": "loose"}]})


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ({"type": "tool", "name": "nobody"}, "tool_choice.name"),
        ({"type": "tool"}, "tool_choice.name"),
        ({"type": "some"}, "tool_choice.type"),
        ("auto", "tool_choice"),
        ({"type": "auto", "disable_parallel_tool_use": "yes"}, "tool_choice.disable_parallel_tool_use"),
    ],
)
def test_choices_that_are_none(choice, param):
    assert refusal({"tools": [WEATHER], "tool_choice": choice}).param == param


def test_one_call_at_a_time():
    assert translate(
        {"tools": [WEATHER], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    ).single_call
    assert not translate({"tools": [WEATHER], "tool_choice": {"type": "auto"}}).single_call


def test_names_are_respelled_everywhere_alike():
    odd = "mcp__server/with spaces__" + "x" * 60
    tools = [{**OTHER, "name": odd}]
    turns = [HI, assistant(use("t1", odd)), user(result("t1", [{"type": "tool_reference", "tool_name": odd}]))]
    made = translate({"tools": tools, "messages": turns, "tool_choice": {"type": "tool", "name": odd}})
    (declared,) = made.request["tools"][0]["functionDeclarations"]
    wire = declared["name"]
    assert len(wire) <= 64
    assert made.tool_names == {wire: odd}
    assert made.declared_tools == {wire}
    assert made.request["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == [wire]
    assert calls_of(made.request["contents"])[0]["functionCall"]["name"] == wire
    (answer,) = responses_of(made.request["contents"])
    assert (answer["name"], answer["response"]) == (wire, {"result": f"Tools loaded: {wire}"})
