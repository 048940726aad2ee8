"""What the API version of 2026-10-21 took away is refused only where a deployment holds its clients to it."""

from datetime import date

import pytest
from msgspec.structs import replace

from shared.dialects.anthropic_messages import renderer, to_gemini
from shared.dialects.contract import ReplyContext, RequestContext
from shared.errors import GatewayError
from shared.events import BlockDelta, BlockStart, Start, Usage
from shared.gemini.catalog import resolve

HI = {"role": "user", "content": "hi"}
CITED = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
PDF = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
FOUND = {"type": "search_result", "title": "t", "source": "s", "content": [CITED]}
CALLED = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
RETURNED = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [FOUND]}]}
CONTEXT = RequestContext(model=resolve("gemini-2.5-flash", date(2026, 11, 21)), signatures={})
STRICT = replace(CONTEXT, strict_version=True, api_version="2026-10-21")
REFUSED = [
    ({"temperature": 1}, "temperature"),
    ({"top_k": None}, "top_k"),
    ({"messages": [HI, {"role": "assistant", "content": [PDF]}, HI]}, "messages[1].content[0].type"),
    ({"messages": [{"role": "user", "content": [CITED]}]}, "messages[0].content[0].citations"),
    ({"messages": [{"role": "user", "content": [FOUND]}]}, "messages[0].content[0].citations"),
    ({"messages": [HI, CALLED, RETURNED]}, "messages[2].content[0].citations"),
]


def body(**more):
    return {"model": "m", "max_tokens": 5000, "messages": [HI], **more}


@pytest.mark.parametrize(("more", "param"), REFUSED)
def test_a_strict_deployment_refuses_what_the_version_does(more, param):
    with pytest.raises(GatewayError) as caught:
        to_gemini(body(**more), STRICT)
    assert caught.value.param == param


@pytest.mark.parametrize(("more", "param"), REFUSED)
@pytest.mark.parametrize("version", ["", "2023-06-01", "beta"])
def test_older_and_undated_versions_and_lenient_deployments_take_it(more, param, version):
    to_gemini(body(**more), replace(STRICT, api_version=version))
    to_gemini(body(**more), replace(STRICT, strict_version=False))


def test_fast_costs_more_only_where_the_deployment_agrees():
    plain = to_gemini(body(speed="fast"), CONTEXT)
    agreed = to_gemini(body(speed="fast"), replace(CONTEXT, fast_as_priority=True))
    assert (plain.request.get("serviceTier"), plain.options.speed) == (None, "standard")
    assert (agreed.request.get("serviceTier"), agreed.options.speed) == ("priority", "fast")


def test_the_first_chunks_count_stands_in_message_start():
    translation = to_gemini(body(stream=True), CONTEXT)
    out = renderer(translation, ReplyContext("01TEST", 1, "m"))
    start = Start("r", "m", Usage(prompt_tokens=700, cached_tokens=500))
    frames = b"".join(out.feed(event) for event in (start, BlockStart(0, "text"), BlockDelta(0, "x")))
    assert b'"input_tokens":200' in frames
    assert b'"cache_read_input_tokens":500' in frames
