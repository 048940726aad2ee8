"""Google's searches and fetches as the blocks from which clients make their lists of sources."""

import json

import pytest
from anthropic.types import Message as SdkMessage

from shared.dialects.anthropic_messages.envelope import open_parts
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.reply import fold, renderer
from shared.dialects.contract import ReplyContext, Translation
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    End,
    ServerTool,
    Start,
    ToolCall,
    Usage,
)
from tests.unit.anthropic_messages.sdk_reading import check_order, pairs_of, plain, read_by_sdk

REPLY = ReplyContext(request_id="01TEST", created=1_795_000_000, requested_model="m")
FAMILY = "gemini-3"
GROUNDING = {
    "webSearchQueries": ["who won", "", "final 2024"],
    "groundingChunks": [
        {"web": {"uri": "https://a.example/x", "title": "A"}},
        {"web": {"uri": "https://b.example", "title": "B"}},
        {"web": {"uri": "https://a.example/x", "title": "A again"}},
        {"maps": {"uri": "https://maps.example"}},
    ],
}
SEARCH = frozenset({"web_search"})
FETCH = frozenset({"web_fetch"})
CALL = {
    "toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "p1", "args": {"queries": ["tokyo weather"]}},
    "thoughtSignature": "c2ln",
}
RESPONSE = {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "p1", "response": {"x": 1}}}


def text(index, *pieces):
    return [BlockStart(index, "text"), *(BlockDelta(index, piece) for piece in pieces), BlockEnd(index)]


def end(metadata=None, finish="stop", reason="STOP", **fields):
    return End(finish, reason, Usage(), metadata=metadata or {}, **fields)


def options(tools, **more):
    return Translation(request={}, options=MessagesOptions(family=FAMILY, server_tools=tools, **more))


def alone(tools, **more):
    return options(tools, only_server_tools=True, **more)


def body_of(events, translation):
    """The buffered answer, which the stream equals."""
    body = fold([events], translation, REPLY, Usage(prompt_tokens=5))
    SdkMessage.model_validate(body)
    out = renderer(translation, REPLY)
    raw = b"".join([*(out.feed(event) for event in events), out.close(Usage(prompt_tokens=5))])
    check_order(pairs_of(raw))
    assert plain(read_by_sdk(raw)) == body
    return body


ANSWER = [
    Start("", ""),
    *text(0, "Spain ", "won. Ünd", " more."),
    Citation(0, 10, "https://a.example/x", "A"),
    Citation(0, 10, "https://b.example", "B"),
    Citation(11, 14, "https://b.example", "B"),
    end({"groundingMetadata": GROUNDING}),
]


def test_a_search_stands_in_front_of_the_text_that_cites_it():
    body = body_of(ANSWER, alone(SEARCH))
    one, two, results, *texts = body["content"]
    assert [one["input"], two["input"]] == [{"query": "who won"}, {"query": "final 2024"}]
    assert one["id"] != two["id"]
    assert one["id"].startswith("srvtoolu_")
    assert (one["type"], one["name"]) == ("server_tool_use", "web_search")
    assert results["type"] == "web_search_tool_result"
    assert results["tool_use_id"] == one["id"]
    assert [(item["url"], item["title"], item["page_age"]) for item in results["content"]] == [
        ("https://a.example/x", "A", None),
        ("https://b.example", "B", None),
    ]
    assert all(item["type"] == "web_search_result" and item["encrypted_content"] for item in results["content"])
    assert [block["text"] for block in texts] == ["Spain won.", " ", "Ünd", " more."]
    cited = [[(item["url"], item["cited_text"]) for item in block.get("citations", [])] for block in texts]
    assert cited == [
        [("https://a.example/x", "Spain won."), ("https://b.example", "Spain won.")],
        [],
        [("https://b.example", "Ünd")],
        [],
    ]
    assert all("citations" not in block for block in texts[1::2])
    assert body["usage"]["server_tool_use"] == {"web_search_requests": 2, "web_fetch_requests": 0}
    assert body["stop_reason"] == "end_turn"


def test_a_cited_block_starts_empty_and_its_citations_follow_the_text():
    out = renderer(alone(SEARCH), REPLY)
    pairs = pairs_of(b"".join(out.feed(event) for event in ANSWER))
    starts = [at for at, (_, data) in enumerate(pairs) if data.get("content_block", {}).get("type") == "text"]
    first = pairs[starts[0] : starts[1]]
    assert first[0][1]["content_block"] == {"type": "text", "text": "", "citations": []}
    kinds = [data["delta"]["type"] for _, data in first[1:-1]]
    assert kinds == ["text_delta", "text_delta", "citations_delta", "citations_delta"]
    results = [data["content_block"] for _, data in pairs if data.get("content_block", {}).get("content")]
    assert len(results[0]["content"]) == 2, "a result block is whole in its start"


def test_only_the_text_waits_for_its_sources():
    out = renderer(alone(SEARCH, thinking_asked=True, show_thinking=True), REPLY)
    assert out.feed(Start("", "")) == b""
    out.feed(BlockStart(0, "reasoning"))
    assert b"thinking_delta" in out.feed(BlockDelta(0, "Hm."))
    out.feed(BlockEnd(0))
    assert [out.feed(event) for event in text(1, "Spain")] == [b""] * 3
    frames = pairs_of(out.feed(end({"groundingMetadata": GROUNDING})))
    kinds = [data["content_block"]["type"] for name, data in frames if name == "content_block_start"]
    assert kinds == ["server_tool_use", "server_tool_use", "web_search_tool_result", "text"]


def test_beside_function_tools_the_text_streams_and_the_search_follows_it():
    out = renderer(options(SEARCH), REPLY)
    assert b"Spain" in b"".join(out.feed(event) for event in ANSWER[:3])
    blocks = body_of(ANSWER, options(SEARCH))["content"]
    assert [block["type"] for block in blocks] == [
        "text",
        "server_tool_use",
        "server_tool_use",
        "web_search_tool_result",
    ]
    assert "citations" not in blocks[0]


def test_a_search_stands_before_the_calls_of_its_answer():
    call = ToolCall(3, "f", {}, None, "c2ln", "toolu_a")
    events = [Start("", ""), *text(0, "a"), ServerTool(1, CALL), ServerTool(2, RESPONSE), call, end()]
    body = body_of(events, options(SEARCH, thinking_asked=True, show_thinking=True))
    assert [block["type"] for block in body["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "thinking",
        "tool_use",
    ]
    assert body["stop_reason"] == "tool_use"
    assert body["content"][1]["input"] == {"query": "tokyo weather"}


@pytest.mark.parametrize("metadata", [{}, {"groundingMetadata": GROUNDING}], ids=["no sources", "sources"])
def test_the_parts_of_the_upstreams_own_tools_travel_in_the_first_result(metadata):
    events = [Start("", ""), ServerTool(0, CALL), ServerTool(1, RESPONSE), *text(2, "a"), end(metadata)]
    blocks = body_of(events, options(SEARCH))["content"]
    first, *others = next(block for block in blocks if block["type"] == "web_search_tool_result")["content"]
    assert open_parts(first["encrypted_content"], FAMILY) == [CALL, RESPONSE]
    assert [open_parts(item["encrypted_content"], FAMILY) for item in others] == [[] for _ in others]
    if not metadata:
        assert first["url"] == "https://www.google.com/search?q=tokyo+weather"


def test_a_search_that_never_happened_is_an_error_of_the_tool():
    body = body_of([Start("", ""), *text(0, "I know."), end()], alone(SEARCH))
    use, result, said = body["content"]
    assert result == {
        "type": "web_search_tool_result",
        "tool_use_id": use["id"],
        "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
    }
    assert said == {"type": "text", "text": "I know."}
    assert "server_tool_use" not in body["usage"]


@pytest.mark.parametrize(
    ("translation", "last"),
    [
        (options(SEARCH), end()),
        (alone(SEARCH | FETCH), end()),
        (alone(SEARCH), end(finish="blocked", reason="SAFETY")),
        (alone(SEARCH), end(stop_sequence="x")),
        (alone(frozenset()), end({"groundingMetadata": GROUNDING})),
    ],
)
def test_elsewhere_no_search_is_shown(translation, last):
    body = body_of([Start("", ""), *text(0, "I know."), last], translation)
    assert body["content"] == [{"type": "text", "text": "I know."}]


def test_sources_of_blocked_domains_are_left_out_with_their_citations():
    redirect = "https://vertexaisearch.cloud.google.com/grounding-api-redirect/abc"
    hosts = ["https://bad.example/x", "https://sub.bad.example", "https://notbad.example", "https://half.example/no/1"]
    chunks = [{"web": {"uri": uri, "title": "t"}} for uri in [*hosts, "https://half.example/yes"]]
    chunks += [
        {"web": {"uri": redirect, "title": "bad.example"}},
        {"web": {"uri": f"{redirect}2", "title": "fine.example"}},
        {"web": {"uri": "http://[", "title": "broken"}},
    ]
    events = [
        Start("", ""),
        *text(0, "Spain"),
        Citation(0, 5, hosts[0], "t"),
        Citation(0, 5, hosts[2], "t"),
        end({"groundingMetadata": {"webSearchQueries": ["q"], "groundingChunks": chunks}}),
    ]
    _, results, said = body_of(events, alone(SEARCH, blocked_domains=("bad.example", "half.example/no", "")))["content"]
    assert [item["url"] for item in results["content"]] == [
        "https://notbad.example",
        "https://half.example/yes",
        f"{redirect}2",
        "http://[",
    ]
    assert [item["url"] for item in said["citations"]] == ["https://notbad.example"]


def test_overlapping_citations_share_their_common_stretch():
    events = [
        Start("", ""),
        *text(0, "0123456789"),
        Citation(0, 6, "https://a.example/x", "A"),
        Citation(4, 10, "https://b.example", "B"),
        end({"groundingMetadata": GROUNDING}),
    ]
    texts = body_of(events, alone(SEARCH))["content"][3:]
    assert [(block["text"], [item["title"] for item in block["citations"]]) for block in texts] == [
        ("0123", ["A"]),
        ("45", ["A", "B"]),
        ("6789", ["B"]),
    ]


def test_citations_count_visible_text_only():
    """Offsets run over text blocks; thoughts, code and its output between them do not count."""
    events = [
        Start("", ""),
        *text(0, "ab"),
        BlockStart(1, "reasoning"),
        BlockDelta(1, "not counted"),
        BlockEnd(1),
        Code(2, "PYTHON", "1"),
        CodeResult(3, "OUTCOME_OK", "1"),
        *text(4, "cd"),
        Citation(2, 4, "https://b.example", "B"),
        end({"groundingMetadata": GROUNDING}),
    ]
    last = body_of(events, alone(SEARCH))["content"][-1]
    assert (last["text"], last["citations"][0]["cited_text"]) == ("cd", "cd")


def test_a_citation_quotes_at_most_150_characters():
    events = [
        Start("", ""),
        *text(0, "x" * 400),
        Citation(0, 400, "https://b.example", "B"),
        end({"groundingMetadata": GROUNDING}),
    ]
    said = body_of(events, alone(SEARCH))["content"][-1]
    assert len(said["text"]) == 400
    assert said["citations"][0]["cited_text"] == "x" * 150


def test_fetched_pages():
    pages = [
        {"retrievedUrl": "https://a.example", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
        {"retrievedUrl": "https://b.example", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR"},
        {"retrievedUrl": "https://c.example", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_UNSAFE"},
        {"urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR"},
    ]
    events = [Start("", ""), *text(0, "Read."), end({"urlContextMetadata": {"urlMetadata": pages}})]
    body = body_of(events, alone(FETCH))
    uses, results, said = body["content"][0:6:2], body["content"][1:6:2], body["content"][6:]
    assert [use["input"]["url"] for use in uses] == ["https://a.example", "https://b.example", "https://c.example"]
    assert {use["name"] for use in uses} == {"web_fetch"}
    assert [use["id"] for use in uses] == [result["tool_use_id"] for result in results]
    assert results[0]["content"] == {
        "type": "web_fetch_result",
        "url": "https://a.example",
        "content": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": ""}},
        "retrieved_at": "2026-11-18T11:06:40Z",
    }
    assert [result["content"].get("error_code") for result in results[1:]] == ["url_not_accessible", "url_not_allowed"]
    assert said == [{"type": "text", "text": "Read."}]
    assert body["usage"]["server_tool_use"] == {"web_search_requests": 0, "web_fetch_requests": 3}


@pytest.mark.parametrize(
    "metadata",
    [
        {"groundingMetadata": []},
        {"groundingMetadata": {"webSearchQueries": "q", "groundingChunks": {}}},
        {"groundingMetadata": {"webSearchQueries": ["q", 1], "groundingChunks": [1, {"web": 2}, {"web": {"uri": 3}}]}},
        {"urlContextMetadata": [1]},
        {"urlContextMetadata": {"urlMetadata": [1, {"retrievedUrl": 2}]}},
    ],
)
def test_metadata_of_an_unknown_shape_breaks_nothing(metadata):
    body = body_of([Start("", ""), *text(0, "Well."), end(metadata)], alone(SEARCH | FETCH))
    assert body["content"][-1] == {"type": "text", "text": "Well."}
    assert json.dumps(body)
