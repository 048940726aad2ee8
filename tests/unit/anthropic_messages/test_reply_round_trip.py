"""What an answer gives to a client, the client's next request gives back to the upstream."""

import base64
from datetime import date

import pytest

from shared.dialects.anthropic_messages import fold, to_gemini
from shared.dialects.contract import ReplyContext, RequestContext
from shared.events import BlockDelta, BlockEnd, BlockStart, Code, CodeResult, End, Media, ServerTool, ToolCall, Usage
from shared.gemini.catalog import resolve

MODEL = "gemini-3.8-flash"
REPLY = ReplyContext("01TEST", 1_795_000_000, MODEL)
LOOK = {"name": "look", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
SEARCH = {"type": "web_search_20260318", "name": "web_search"}
CODE = {"type": "code_execution_20250522", "name": "code_execution"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nxx").decode()
SIGNATURE = base64.b64encode(b"signed by the upstream").decode()
END = End("stop", "STOP", Usage())
ASK = {"role": "user", "content": "go"}


def context():
    return RequestContext(resolve(MODEL, date(2026, 11, 21)), {})


def answered(events, body):
    """The assistant message of an answer to `body`, as a client keeps it."""
    translation = to_gemini({"model": MODEL, "max_tokens": 4096, "messages": [ASK], **body}, context())
    return {"role": "assistant", "content": fold([events], translation, REPLY, Usage())["content"]}


def replayed(events, body, *after):
    """The model's parts of the next request's history."""
    messages = [ASK, answered(events, body), *(after or ({"role": "user", "content": "more"},))]
    request = to_gemini({"model": MODEL, "max_tokens": 4096, "messages": messages, **body}, context()).request
    return next(content["parts"] for content in request["contents"] if content["role"] == "model")


def text(index, said):
    return [BlockStart(index, "text"), BlockDelta(index, said), BlockEnd(index)]


@pytest.mark.parametrize("display", ["summarized", "omitted"])
@pytest.mark.parametrize("thoughts", [["Hm."], []], ids=["thought", "no thought"])
def test_a_call_gets_its_signature_and_id_back_without_a_store(display, thoughts):
    events = [item for said in thoughts for item in (BlockStart(0, "reasoning"), BlockDelta(0, said), BlockEnd(0))]
    events += [
        *text(1, "Looking."),
        ToolCall(2, "look", {"city": "Ulm"}, "nat1", SIGNATURE, "toolu_a"),
        ToolCall(3, "look", {"city": "Bonn"}, None, None, "toolu_b"),
        END,
    ]
    results = [{"type": "tool_result", "tool_use_id": f"toolu_{name}", "content": "42"} for name in "ab"]
    body = {"thinking": {"type": "adaptive", "display": display}, "tools": [LOOK]}
    parts = replayed(events, body, {"role": "user", "content": results})
    first, second = [part for part in parts if "functionCall" in part]
    assert first["thoughtSignature"] == SIGNATURE
    assert first["functionCall"] == {"id": "nat1", "name": "look", "args": {"city": "Ulm"}}
    assert "thoughtSignature" not in second
    assert [part["text"] for part in parts if "text" in part and not part.get("thought")] == ["Looking."]


def test_the_parts_of_a_search_beside_functions_come_back():
    call = {
        "toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "p1", "args": {"queries": ["q"]}},
        "thoughtSignature": SIGNATURE,
    }
    response = {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "p1", "response": {"x": 1}}}
    events = [ServerTool(0, call), ServerTool(1, response), *text(2, "Found."), END]
    parts = replayed(events, {"tools": [LOOK, SEARCH]})
    assert parts == [call, response, {"text": "Found."}]


def test_code_that_ran_comes_back():
    events = [Code(0, "PYTHON", "print(6*7)"), CodeResult(1, "OUTCOME_OK", "42\n"), *text(2, "42."), END]
    assert replayed(events, {"tools": [CODE]}) == [
        {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
        {"text": "42."},
    ]


def test_an_image_comes_back_as_an_image():
    parts = replayed([*text(0, "A cat:"), Media(1, "image/png", PNG), END], {})
    assert parts == [{"text": "A cat:"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]
