"""Whatever a client sends: a request that the upstream's schema allows, or a `GatewayError`, never anything else."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.anthropic_messages.envelope import open_envelope, open_parts, seal, seal_parts
from shared.dialects.anthropic_messages.request import (
    count_request,
    requested_model,
    signature_keys,
    to_gemini,
    wants_stream,
)
from shared.errors import GatewayError
from tests.golden.upstream_rules import VALIDATOR, assert_sound
from tests.unit.anthropic_messages.request_setup import (
    HI,
    MID,
    NEW,
    OLD,
    SEARCH,
    SIGNED,
    WEATHER,
    assistant,
    context,
    image,
    pdf,
    result,
    text,
    use,
    user,
)
from tests.unit.broken_bodies import BUSY, broken, json_values, places

MODELS = (OLD, MID, NEW, "gemini-4-argon", "gemma-4-31b-it", "gemini-3.1-flash-image")
SERVER_PARTS = [{"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s"}}]

SPOKEN = (
    "text image document tool_use tool_result thinking redacted_thinking user assistant system auto any tool none "
    "custom json_schema object string weather t1 t2 low max url base64 file content enabled adaptive disabled omitted "
    "web_search_20250305 bash_20250124 server_tool_use web_search_tool_result web_search tool_reference compaction "
    "tool_addition https://example.com/a.png $ref data:image/png;base64,"
)
JSON = json_values(SPOKEN, ["type", "role", "content", "name", "id", "input", "source"])

# A body that uses most of what there is, to be broken in one place.
RICH: dict[str, Any] = {
    "max_tokens": 4000,
    "system": [text("be brief"), text("x-anthropic-billing-header: a")],
    "messages": [
        user(text("look"), image(), pdf(title="T", context="C")),
        {"role": "system", "content": [text("careful")], "output_config": {"effort": "low"}},
        assistant(
            {"type": "thinking", "thinking": "hm", "signature": seal("3.8", "fc", "n1", SIGNED)},
            text("I look"),
            use("t1", city="Rom"),
            use("t2", "bash", command="ls"),
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s1",
                "content": [
                    {"type": "web_search_result", "url": "u", "encrypted_content": seal_parts("3.8", SERVER_PARTS)}
                ],
            },
            {"type": "server_tool_use", "id": "s2", "name": "code_execution", "input": {"code": "1"}},
            {
                "type": "code_execution_tool_result",
                "tool_use_id": "s2",
                "content": {"type": "code_execution_result", "stdout": "1", "stderr": "", "return_code": 0},
            },
        ),
        user(
            result("t2", [text("a"), image(), {"type": "tool_reference", "tool_name": "late"}], is_error=True),
            result("t1", "sunny"),
            text("and now?"),
        ),
        {"role": "system", "content": [{"type": "tool_addition", "tool": {"name": "n", "input_schema": {}}}]},
        assistant({"type": "compaction", "content": "so far"}, {"type": "mcp_tool_result", "content": [text("x")]}),
        user({"type": "search_result", "title": "t", "source": "s", "content": [text("c")]}),
    ],
    "tools": [
        {**WEATHER, "input_examples": [{"city": "x"}], "strict": True},
        {"name": "late", "input_schema": {"type": "object"}, "defer_loading": True},
        {"type": "bash_20250124", "name": "bash"},
        {**SEARCH, "blocked_domains": ["a.example"], "user_location": {"city": "W"}},
        {"type": "code_execution_20260120", "name": "code_execution"},
    ],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
    "output_config": {
        "effort": "high",
        "format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
    },
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 3,
    "stop_sequences": ["a", "b"],
    "stream": True,
    "speed": "fast",
    "metadata": {"user_id": "u"},
    "context_management": {"edits": []},
    "container": None,
}
FIELDS = sorted({*RICH, "mcp_servers", "thread", "compaction", "output_format"})
PLACES = places(RICH)


def check(body: dict[str, Any], model: str) -> None:
    assert len(signature_keys(body)) <= 100
    for verb, param in ((requested_model, "model"), (wants_stream, "stream")):
        try:
            verb(body)
        except GatewayError as error:
            assert error.param == param
    before = copy.deepcopy(body)
    for verb in (to_gemini, count_request):
        try:
            made = verb(body, context(model))
        except GatewayError as error:
            assert error.param
            assert error.kind in ("invalid_request", "url_not_allowed")
            continue
        request = dict(made if verb is count_request else made.request)
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(request)] == []
        assert_sound(request, model)
        if verb is to_gemini:
            assert all("," not in item and item.isprintable() for item in made.warnings)
    assert body == before


def test_the_rich_body_is_whole():
    made = to_gemini({**RICH, "model": NEW}, context(NEW))
    kinds = {name for content in made.request["contents"] for part in content["parts"] for name in part}
    assert kinds >= {"text", "inlineData", "functionCall", "functionResponse", "toolCall", "executableCode"}


@BUSY
@given(st.sampled_from(PLACES), JSON, st.sampled_from(MODELS))
def test_a_rich_body_broken_in_one_place(place, value, model):
    check(broken(RICH, place, value), model)


@BUSY
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(MODELS))
def test_a_plain_body_with_anything_beside(extra, model):
    check({"max_tokens": 100, "messages": [HI], **extra}, model)


@BUSY
@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(MODELS))
def test_any_body(body, model):
    check(body, model)


BLOCKS = st.one_of(
    st.sampled_from(["", " ", "words"]).map(text),
    st.sampled_from(["t1", "t2", "t3"]).map(use),
    st.sampled_from(["t1", "t2", "t3"]).map(result),
    st.sampled_from(["fc", "text", "th"]).map(
        lambda kind: {"type": "thinking", "thinking": "hm", "signature": seal("3.8", kind, "n", SIGNED)}
    ),
    st.just(image()),
    st.just({"type": "compaction", "content": "so far"}),
)
ROLES = {
    "user": ("text", "tool_result", "image"),
    "assistant": ("text", "tool_use", "thinking", "compaction"),
    "system": ("text",),
}


@st.composite
def conversations(draw):
    turns = []
    for role in draw(st.lists(st.sampled_from(sorted(ROLES)), min_size=1, max_size=7)):
        blocks = draw(st.lists(BLOCKS, max_size=4))
        turns.append({"role": role, "content": [block for block in blocks if block["type"] in ROLES[role]]})
    return turns


@BUSY
@given(conversations(), st.sampled_from(MODELS))
def test_any_order_of_turns_calls_and_results(turns, model):
    check({"max_tokens": 100, "messages": turns}, model)


@BUSY
@given(st.text(min_size=1, max_size=9), st.sampled_from(["fc", "text", "th"]), st.binary(max_size=40))
def test_envelopes_round_trip(family, kind, signature):
    import base64

    encoded = base64.b64encode(signature).decode()
    opened = open_envelope(seal(family, kind, "id", encoded))
    assert opened is not None
    assert (opened.family, opened.kind, opened.call_id, opened.signature) == (family, kind, "id", encoded)


@BUSY
@given(st.text(max_size=30) | st.text(max_size=30).map(lambda tail: f"gem1.{tail}") | JSON)
def test_anything_else_is_no_envelope(value):
    assert open_envelope(value) is None
    assert not open_parts(value, "3.8")
