"""Recorded Gemini replies as Anthropic messages, read by the official SDK's accumulators.

What the client must see is computed from the raw recording, without the reader or the renderer.
"""

import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types.beta import BetaMessage

from shared.dialects.anthropic_messages.envelope import open_envelope, open_parts
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.reply import fold, renderer
from shared.dialects.contract import ReplyContext, Translation
from shared.errors import GatewayError
from tests.golden.shaped_events import shaped_events
from tests.golden.test_gemini_replies import FAULTS, RECORDINGS, Expected, chunks_of, cut, load, wire_bytes
from tests.unit.anthropic_messages.sdk_reading import check_order, pairs_of, plain, read_by_beta_sdk, read_by_sdk

REPLY = ReplyContext("01TEST", 1_795_000_000, "claude-requested")
FAMILY = "gemini-3"
SEARCH = frozenset({"web_search", "web_fetch"})
FORMS = {
    "plain": MessagesOptions(family=FAMILY),
    "thinking": MessagesOptions(family=FAMILY, thinking_asked=True, show_thinking=True),
    "omitted": MessagesOptions(family=FAMILY, thinking_asked=True),
    "search beside tools": MessagesOptions(
        family=FAMILY, thinking_asked=True, show_thinking=True, server_tools=SEARCH | {"code_execution"}
    ),
    "only search": MessagesOptions(family=FAMILY, server_tools=SEARCH, only_server_tools=True),
}
REFUSED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR", "LANGUAGE")


def spec(form):
    return Translation(request={}, stream=True, options=FORMS[form])


def events_of(pieces):
    return shaped_events(pieces, "toolu_")


def streamed(events, form):
    """The whole stream; where the answer fails, that ends in an error event."""
    out, frames = renderer(spec(form), REPLY), []
    try:
        frames += [out.feed(event) for event in events]
        return b"".join(frames) + out.close(events[-1].usage)
    except GatewayError as error:
        return b"".join(frames) + out.fail(error)


def is_whole(path):
    """The recording ends the way an answer ends, by its own words."""
    expected = Expected(chunks_of(load(path)))
    if expected.error:
        return False
    return expected.reason in ("STOP", "MAX_TOKENS", *REFUSED) or bool(expected.blocked and not expected.reason)


WHOLE = [path for path in RECORDINGS if is_whole(path)]
BROKEN = [path for path in RECORDINGS if path not in WHOLE]


def test_there_are_enough_of_them():
    assert len(WHOLE) >= 200
    assert sum("stream" in load(path) or "wire" in load(path) for path in WHOLE) >= 50
    assert len(BROKEN) >= 5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_client_sees_what_the_model_said(path, form):
    recording = load(path)
    data = wire_bytes(recording)
    events, failure = events_of([data])
    assert failure is None
    raw = streamed(events, form)
    assert streamed(events_of(cut(data, 1))[0], form) == raw

    pairs = pairs_of(raw)
    check_order(pairs)
    body = fold([events], spec(form), REPLY, events[-1].usage)
    SdkMessage.model_validate(body)
    BetaMessage.model_validate(body)
    message = plain(read_by_sdk(raw))
    assert message == body
    assert plain(read_by_beta_sdk(raw)) == body

    expected = Expected(chunks_of(recording))
    content = message["content"]
    check_text(content, expected, form)
    calls = [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
    assert calls == [(name, args) for name, args, _, _ in expected.calls]
    check_signatures(content, expected, form)
    assert message["model"] == "claude-requested"
    assert message["stop_reason"] == stop_reason(expected)
    check_usage(message["usage"], events[-1].usage, expected.usage)


def check_text(content, expected, form):
    texts = "".join(block["text"] for block in content if block["type"] == "text")
    code = "code_execution" in FORMS[form].server_tools
    drawn = {"inlineData"} if code else {"inlineData", "executableCode", "codeExecutionResult"}
    if any(set(part) & drawn for part in expected.parts):
        spoken = [part["text"] for part in expected.parts if part.get("text") and not part.get("thought")]
        assert all(piece in texts for piece in spoken)
        assert len(texts) > len(expected.text)
    else:
        assert texts == expected.text
    ran = [part["executableCode"]["code"] for part in expected.parts if "executableCode" in part]
    uses = [block["input"]["code"] for block in content if block.get("name") == "code_execution"]
    assert uses == (ran if code else [])
    thoughts = "".join(block["thinking"] for block in content if block["type"] == "thinking")
    assert thoughts == (expected.thoughts if FORMS[form].show_thinking else "")


def check_signatures(content, expected, form):
    """Every signed call comes after a thinking block that carries its signature; nobody else gets thinking blocks."""
    if not FORMS[form].thinking_asked:
        assert not [block for block in content if block["type"] == "thinking"]
        return
    assert all(block["signature"] for block in content if block["type"] == "thinking")
    carried = []
    for before, block in zip([{}, *content], content, strict=False):
        if block["type"] == "tool_use":
            envelope = open_envelope(before["signature"]) if before.get("type") == "thinking" else None
            carried.append((envelope.signature, envelope.call_id) if envelope and envelope.kind == "fc" else None)
    assert carried == [
        (signature, native_id or "") if signature else None for _, _, native_id, signature in expected.calls
    ]


def stop_reason(expected):
    if expected.blocked and not expected.reason:
        return "refusal"
    if expected.reason == "MAX_TOKENS":
        return "max_tokens"
    if expected.reason in REFUSED:
        return "refusal"
    return "tool_use" if expected.calls else "end_turn"


def check_usage(shown, usage, metadata):
    if metadata is None or usage.estimated:
        return
    prompt = int(metadata.get("promptTokenCount", 0)) + int(metadata.get("toolUsePromptTokenCount", 0))
    assert shown["input_tokens"] + shown["cache_read_input_tokens"] == prompt
    assert shown["cache_read_input_tokens"] == int(metadata.get("cachedContentTokenCount", 0))
    thoughts = int(metadata.get("thoughtsTokenCount", 0))
    counted = int(metadata.get("candidatesTokenCount", 0)) + thoughts
    # a few recorded totals do not add up: the parts are what is billed
    assert shown["output_tokens"] in (counted, int(metadata.get("totalTokenCount", 0)) - prompt)
    assert shown["output_tokens_details"]["thinking_tokens"] == thoughts


def grounding_of(path):
    candidates = [item for chunk in chunks_of(load(path)) for item in chunk.get("candidates") or []]
    found = [item["groundingMetadata"] for item in candidates if item.get("groundingMetadata")]
    return found[-1] if found else {}


SEARCHED = [path for path in WHOLE if any(grounding_of(path).get("webSearchQueries") or [])]


def test_enough_of_them_searched():
    assert len(SEARCHED) >= 10


@pytest.mark.parametrize("form", ["search beside tools", "only search"])
@pytest.mark.parametrize("path", SEARCHED, ids=lambda path: path.stem)
def test_a_recorded_search_is_shown_with_its_links(path, form):
    grounding = grounding_of(path)
    events, _ = events_of([wire_bytes(load(path))])
    content = plain(read_by_sdk(streamed(events, form)))["content"]
    queries = [block["input"]["query"] for block in content if block["type"] == "server_tool_use"]
    assert queries == [query for query in grounding["webSearchQueries"] if query]
    (result,) = [block for block in content if block["type"] == "web_search_tool_result"]
    links = {chunk["web"]["uri"] for chunk in grounding.get("groundingChunks", []) if "web" in chunk}
    assert {item["url"] for item in result["content"]} >= links
    parts = [part for part in Expected(chunks_of(load(path))).parts if {"toolCall", "toolResponse"} & set(part)]
    if parts:
        restored = open_parts(result["content"][0]["encrypted_content"], FAMILY)
        assert [set(part) for part in restored] == [set(part) for part in parts]
        assert [part["thoughtSignature"] for part in restored] == [part["thoughtSignature"] for part in parts]


@pytest.mark.parametrize("path", SEARCHED, ids=lambda path: path.stem)
def test_a_recorded_search_is_cited_where_google_supports_it(path):
    grounding = grounding_of(path)
    events, _ = events_of([wire_bytes(load(path))])
    content = plain(read_by_sdk(streamed(events, "only search")))["content"]
    sources = [chunk.get("web", {}).get("uri") for chunk in grounding.get("groundingChunks", [])]
    supports = [item for item in grounding.get("groundingSupports", []) if item.get("groundingChunkIndices")]
    cited = {(item["url"], item["cited_text"]) for block in content for item in block.get("citations") or []}
    for support in supports:
        quoted = support["segment"]["text"]
        for index in support["groundingChunkIndices"]:
            assert (sources[index], quoted[:150]) in cited
    assert bool(cited) == bool(supports)


@pytest.mark.parametrize("form", ["plain", "thinking", "only search"])
@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_what_the_upstream_never_finished_is_never_finished_for_the_client(path, form):
    events, error = events_of([wire_bytes(load(path))])
    out, raw = renderer(spec(form), REPLY), b""
    if error is not None:
        raw = b"".join([out.feed(event) for event in events]) + out.fail(error)
    else:
        raw = streamed(events, form)
        with pytest.raises(GatewayError):
            fold([events], spec(form), REPLY, events[-1].usage)
    pairs = pairs_of(raw)
    assert [name for name, _ in pairs].index("error") == len(pairs) - 1
    assert pairs[-1][1]["error"]["message"]
    names = [name for name, _ in pairs]
    assert "message_delta" not in names
    assert "message_stop" not in names
    if Expected(chunks_of(load(path))).reason in FAULTS:
        assert not [data for _, data in pairs if data.get("content_block", {}).get("type") == "tool_use"]
