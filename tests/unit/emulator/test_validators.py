"""What the upstream refuses in a well-formed request, by model family."""

from __future__ import annotations

from typing import Any

import pytest

NEW, OLD = "gemini-3.8-flash", "gemini-2.5-flash"
DUMMY = "skip_thought_signature_validator"
TOOLS = [{"functionDeclarations": [{"name": "f"}]}]


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts) or [{"text": "go"}]}


def model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def call(name: str = "f", **rest: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}, **rest}, "thoughtSignature": DUMMY}


def result(name: str = "f", **rest: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"r": 1}, **rest}}


COUNT = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)
CALL_TURN = (
    "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
)

SHAPES = [
    ([], "* GenerateContentRequest.contents: contents is not specified\n"),
    ([{"role": "user", "parts": []}], "contents.parts must not be empty"),
    ([user({"thought": True})], "required oneof field 'data' must have one initialized field"),
    ([{"role": "assistant", "parts": [{"text": "x"}]}], "Please use a valid role: user, model."),
    ([user(), model(call()), user()], COUNT),
    ([user(), model(call(), call()), user(result())], COUNT),
    ([user(), model(call())], COUNT),
    ([model(call()), user(result())], CALL_TURN),
    ([user(call()), user(result())], CALL_TURN),
    ([user(), user(result())], "function response turn"),
    ([user(), model(call()), user(result("g"))], "id and name"),
    ([user(), model(call(id="a1")), user(result(id="b2"))], "id and name"),
    ([user(), model(call(id="a1")), user(result())], "id and name"),
    ([user(), model({"text": "The answer is"})], "must not be a model turn"),
    ([user(), model(call()), user(result(response={"a": {"$ref": "x"}}))], "Request contains an invalid argument."),
]


@pytest.mark.parametrize(("contents", "text"), SHAPES, ids=range(len(SHAPES)))
def test_conversation_shapes_that_3_8_refuses(upstream: Any, contents: list[Any], text: str) -> None:
    got = upstream.unary(NEW, {"contents": contents, "tools": TOOLS})
    assert got.status == 400
    assert text in got.message


FINE = [
    [user(), model(call()), user(result())],
    [user(), model(call(id="a1")), user(result(id="a1"))],
    [user(), model(call(), call()), user(result()), user(result())],
    [user(), model(call()), user(result(), {"text": "and now?"})],
    [{"parts": [{"text": "no role"}]}],
    [model({"text": "hi"}), user()],
]


@pytest.mark.parametrize("contents", FINE, ids=range(len(FINE)))
def test_conversation_shapes_that_3_8_takes(upstream: Any, contents: list[Any]) -> None:
    assert upstream.unary(NEW, {"contents": contents, "tools": TOOLS}).status == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [("gemini-2.5-flash", 200), ("gemini-3-flash-preview", 200), ("gemini-3.5-flash-lite", 400), (NEW, 400)],
)
def test_prefill_by_family(upstream: Any, name: str, status: int) -> None:
    assert upstream.unary(name, {"contents": [user(), model({"text": "So"})]}).status == status


def test_ids_before_3_can_be_refused(upstream: Any) -> None:
    body = {"contents": [user(), model(call(id="a1")), user(result(id="a1"))], "tools": TOOLS}
    assert upstream.unary(OLD, body).status == 200
    upstream.server.refuse_old_call_ids()
    assert upstream.unary(OLD, body).status == 400
    assert upstream.unary("gemini-3-flash-preview", body).status == 200


def test_media_in_function_results_needs_3(upstream: Any) -> None:
    parts = [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    body = {"contents": [user(), model(call()), user(result(parts=parts))], "tools": TOOLS}
    assert upstream.unary(NEW, body).status == 200
    assert upstream.unary(OLD, body).status == 400


CONFIG: list[tuple[str, dict[str, Any], str]] = [
    (NEW, {"temperature": 4}, "temperature"),
    (OLD, {"temperature": -1}, "temperature"),
    (NEW, {"topP": 2}, "top_p"),
    (OLD, {"topK": -1}, "top_k"),
    (NEW, {"presencePenalty": 0.5}, "Penalty is not enabled"),
    (OLD, {"frequencyPenalty": 0}, "Penalty is not enabled"),
    (NEW, {"stopSequences": list("abcdef")}, "stop_sequences"),
    (NEW, {"stopSequences": [""]}, "stop_sequences"),
    (OLD, {"responseLogprobs": True, "logprobs": 21}, "logprobs"),
    (OLD, {"logprobs": 3}, "logprobs"),
    (NEW, {"responseLogprobs": True}, "Logprobs is not enabled"),
    (NEW, {"candidateCount": 2}, "Multiple candidates"),
    (NEW, {"maxOutputTokens": 0}, "max_output_tokens"),
    (NEW, {"responseMimeType": "text/html"}, "response_mime_type"),
    (NEW, {"responseJsonSchema": {"type": "object"}}, "response_mime_type"),
    (NEW, {"responseModalities": ["IMAGE"]}, "response modalities"),
    (NEW, {"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 5}}, "You can only set only one of"),
    (OLD, {"thinkingConfig": {"thinkingLevel": "LOW"}}, "Thinking level is not supported for this model."),
    (OLD, {"thinkingConfig": {"thinkingBudget": 24_577}}, "24577"),
    ("gemini-2.5-pro", {"thinkingConfig": {"thinkingBudget": 0}}, "only works in thinking mode"),
    ("gemini-2.5-pro", {"thinkingConfig": {"thinkingBudget": 127}}, "127"),
    ("gemini-2.5-flash-lite", {"thinkingConfig": {"thinkingBudget": 511}}, "511"),
    (
        NEW,
        {"thinkingConfig": {"thinkingLevel": "minimal"}},
        "Thinking level MINIMAL is not supported for this model. Please retry with other thinking level.",
    ),
    ("gemma-4-31b-it", {"thinkingConfig": {"thinkingLevel": "LOW"}}, "Thinking level LOW is not supported"),
    ("gemma-4-31b-it", {"thinkingConfig": {"thinkingBudget": 5}}, "not supported"),
    ("gemma-4-31b-it", {"thinkingConfig": {"includeThoughts": True}}, "not supported"),
    (
        "gemini-3.8-flash-tts",
        {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": [{"speaker": "A"}]}},
        },
        "exactly 2",
    ),
    ("gemini-3.8-flash-tts", {}, "response modalities"),
    ("gemini-4-argon", {"maxOutputTokens": 32_769}, "32768"),
    ("gemini-4-carbon", {"maxOutputTokens": 1_048_577}, "1048576"),
]


@pytest.mark.parametrize(("name", "config", "text"), CONFIG, ids=range(len(CONFIG)))
def test_generation_config_refused(upstream: Any, say: Any, name: str, config: Any, text: str) -> None:
    got = upstream.unary(name, say("x", generationConfig=config))
    assert got.status == 400
    assert text in got.message


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    (NEW, {"temperature": 2, "topP": 1, "topK": 0, "stopSequences": list("vwxyz")}),
    (NEW, {"maxOutputTokens": 100_000_000}),
    (NEW, {"thinkingConfig": {"thinkingBudget": 100}}),
    (OLD, {"candidateCount": 2}),
    (OLD, {"responseLogprobs": True, "logprobs": 20}),
    (OLD, {"thinkingConfig": {"thinkingBudget": 0}}),
    ("gemini-2.5-pro", {"thinkingConfig": {"thinkingBudget": -1}}),
    ("gemini-3.6-flash", {"thinkingConfig": {"thinkingLevel": "minimal"}}),
    ("gemma-4-31b-it", {"thinkingConfig": {"thinkingLevel": "HIGH"}}),
    ("gemini-4-argon", {"maxOutputTokens": 32_768}),
]


@pytest.mark.parametrize(("name", "config"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_generation_config_accepted(upstream: Any, say: Any, name: str, config: Any) -> None:
    assert upstream.unary(name, say("x", generationConfig=config)).status == 200


def test_streams_take_one_candidate(upstream: Any, say: Any) -> None:
    assert upstream.stream(OLD, say("x", generationConfig={"candidateCount": 2})).status == 400


def test_gemini_4_streams_take_a_large_budget(upstream: Any, say: Any) -> None:
    assert upstream.stream("gemini-4-argon", say("x", generationConfig={"maxOutputTokens": 100_000})).status == 200


def test_one_safety_setting_per_category(upstream: Any, say: Any) -> None:
    row = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}
    assert upstream.unary(NEW, say("x", safetySettings=[row])).status == 200
    assert upstream.unary(NEW, say("x", safetySettings=[row, row])).status == 400


# ---------------------------------------------------------------- tools


def test_json_output_with_tools_by_family(upstream: Any, say: Any) -> None:
    def ask(name: str, mode: str) -> Any:
        config = {"functionCallingConfig": {"mode": mode}}
        return upstream.unary(
            name, say("x", tools=TOOLS, toolConfig=config, generationConfig={"responseMimeType": "application/json"})
        )

    assert ask(OLD, "AUTO").message == "Function calling with a response mime type: 'application/json' is unsupported"
    assert ask(NEW, "AUTO").status == ask(NEW, "VALIDATED").status == 200
    assert ask(NEW, "ANY").message == (
        "Forced function calling (ANY mode) with a response mime type: 'application/json' is unsupported"
    )


def test_built_in_tool_with_functions(upstream: Any, say: Any) -> None:
    tools = [*TOOLS, {"googleSearch": {}}]
    flag = {"includeServerSideToolInvocations": True}
    got = upstream.unary(NEW, say("x", tools=tools))
    assert got.message == (
        "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function calling."
    )
    assert upstream.unary(NEW, say("x", tools=tools, toolConfig=flag)).status == 200
    old = upstream.unary(OLD, say("x", tools=tools, toolConfig=flag))
    assert old.status == 400
    assert "Tool use with function calling is unsupported" in old.message


@pytest.mark.parametrize("mode", ["ANY", "AUTO", "NONE"])
def test_calling_config_needs_declarations(upstream: Any, say: Any, mode: str) -> None:
    config = {"functionCallingConfig": {"mode": mode}}
    assert upstream.unary(NEW, say("x", toolConfig=config)).status == 400


@pytest.mark.parametrize(
    ("mode", "names", "status"),
    [("AUTO", ["f"], 400), ("ANY", ["f"], 200), ("VALIDATED", ["f"], 200), ("ANY", ["unknown"], 400)],
)
def test_allowed_function_names(upstream: Any, say: Any, mode: str, names: list[str], status: int) -> None:
    config = {"functionCallingConfig": {"mode": mode, "allowedFunctionNames": names}}
    assert upstream.unary(NEW, say("x", tools=TOOLS, toolConfig=config)).status == status


@pytest.mark.parametrize("name", ["1f", "", "a b", "f" * 129, "ü"])
def test_function_names(upstream: Any, say: Any, name: str) -> None:
    got = upstream.unary(NEW, say("x", tools=[{"functionDeclarations": [{"name": name}]}]))
    assert got.status == 400
    assert "tools[0].function_declarations[0].name" in got.message


SCHEMA_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "OBJECT"}, ".properties[p].properties: should be non-empty for OBJECT type"),
    (
        {"type": "STRING", "format": "email"},
        ".properties[p].format: only 'enum' and 'date-time' are supported for STRING type",
    ),
    ({"type": "INTEGER", "enum": ["1"]}, ".properties[p].enum: only allowed for STRING type"),
    ({"type": "STRING", "properties": {"a": {"type": "STRING"}}}, ".properties: only allowed for OBJECT type"),
    ({"type": "STRING", "required": ["a"]}, ".required: only allowed for OBJECT type"),
    ({"description": "x"}, ".type: must be specified when not using one_of, any_of or all_of fields"),
    ({"type": "ARRAY"}, ".properties[p].items: missing field"),
    ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["b"]}, "property is not defined"),
    ({"type": "STRING", "enum": ["a", ""]}, ".enum[1]: cannot be empty"),
]


@pytest.mark.parametrize(("schema", "text"), SCHEMA_FAULTS, ids=range(len(SCHEMA_FAULTS)))
def test_proto_schema_faults(upstream: Any, say: Any, schema: dict[str, Any], text: str) -> None:
    parameters = {"type": "OBJECT", "properties": {"p": schema}}
    got = upstream.unary(NEW, say("x", tools=[{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]))
    assert got.status == 400
    assert got.message.startswith("* GenerateContentRequest.tools[0].function_declarations[0].parameters.properties[p]")
    assert text in got.message


@pytest.mark.parametrize("parameters", [{"type": "OBJECT", "properties": {}}, {"type": "object", "required": []}])
def test_an_empty_object_is_fine_at_the_root(upstream: Any, say: Any, parameters: dict[str, Any]) -> None:
    tools = [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]
    assert upstream.unary(NEW, say("x", tools=tools)).status == 200


def test_json_schema_keywords_are_ignored(upstream: Any, say: Any) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "$schema": "x", "multipleOf": 2}
    tools = [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]
    assert upstream.unary(NEW, say("x", tools=tools)).status == 200


def test_a_schema_in_both_forms(upstream: Any, say: Any) -> None:
    row = {"name": "f", "parameters": {"type": "OBJECT"}, "parametersJsonSchema": {"type": "object"}}
    assert upstream.unary(NEW, say("x", tools=[{"functionDeclarations": [row]}])).status == 400


# ---------------------------------------------------------------- other methods


def test_count_tokens_takes_one_form(upstream: Any, say: Any) -> None:
    inner = {"generateContentRequest": say("four char words", model=f"models/{NEW}", systemInstruction={"parts": []})}
    counted = upstream.unary(NEW, inner, "countTokens")
    assert counted.json == {"totalTokens": 4, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}]}
    assert upstream.unary(NEW, say("four char words"), "countTokens").json == counted.json
    assert upstream.unary(NEW, inner | say("x"), "countTokens").status == 400


def test_batch_embed_takes_a_hundred(upstream: Any) -> None:
    row = {"model": "models/gemini-embedding-2", "content": {"parts": [{"text": "x"}]}}
    fine = upstream.unary("gemini-embedding-2", {"requests": [row] * 100}, "batchEmbedContents")
    assert len(fine.json["embeddings"]) == 100
    over = upstream.unary("gemini-embedding-2", {"requests": [row] * 101}, "batchEmbedContents")
    assert over.message == "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n"


@pytest.mark.parametrize(
    ("mime", "name", "status"),
    [("image/png", OLD, 200), ("image/gif", OLD, 400), ("image/gif", NEW, 200), ("application/pdf", NEW, 200),
     ("text/csv", NEW, 200), ("application/json", NEW, 400), ("application/octet-stream", NEW, 400), ("", NEW, 400)],
)  # fmt: skip
def test_mime_types(upstream: Any, mime: str, name: str, status: int) -> None:
    got = upstream.unary(name, {"contents": [user({"inlineData": {"mimeType": mime, "data": "AAAA"}})]})
    assert got.status == status
    if status != 200:
        assert mime in got.message


def test_the_input_limit(upstream: Any, say: Any) -> None:
    got = upstream.unary("gemini-3.1-flash-lite-image", say("x" * 4 * 65_537))
    assert got.message == "The input token count (65537) exceeds the maximum number of tokens allowed (65536)."


def test_auto_beside_built_in_tools_alone_is_fine(upstream: Any, say: Any) -> None:
    config = {"functionCallingConfig": {"mode": "AUTO"}}
    assert upstream.unary(NEW, say("x", tools=[{"googleSearch": {}}], toolConfig=config)).status == 200
