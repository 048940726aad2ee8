"""The conversation: blocks, turns and their order, tool results, prefill."""

import gc
import time

import pytest

from shared.dialects.anthropic_messages.messages import CONTINUE
from tests.unit.anthropic_messages.request_setup import (
    HI,
    MID,
    NEW,
    OLD,
    PDF,
    PNG,
    SEARCH,
    WEATHER,
    assistant,
    contents,
    image,
    pdf,
    refusal,
    request,
    responses_of,
    result,
    text,
    translate,
    use,
    user,
)

INLINE_PNG = {"inlineData": {"mimeType": "image/png", "data": PNG}}
INLINE_PDF = {"inlineData": {"mimeType": "application/pdf", "data": PDF}}
TOOLS = {"tools": [WEATHER]}


def parts(*blocks, model=NEW):
    (content,) = contents([user(*blocks)], model)
    return content["parts"]


def test_texts_stay_as_they_are_and_apart():
    blocks = [text("a "), text(""), {**text("\n b"), "cache_control": {"type": "ephemeral"}, "citations": None}]
    assert parts(*blocks) == [{"text": "a "}, {"text": "\n b"}]


def test_images_are_what_their_bytes_say():
    mislabelled = image(PNG, "image/jpeg")
    unlabelled = {
        "type": "image",
        "source": {"type": "base64", "data": f"data:image/webp;base64,{PNG[:20]}\n{PNG[20:]}"},
    }
    assert parts(image(), mislabelled, unlabelled) == [INLINE_PNG] * 3


def test_links_are_handed_on_unfetched():
    def linked(kind, url):
        return {"type": kind, "source": {"type": "url", "url": url}}

    assert parts(
        linked("image", "https://example.com/a.webp?x=1"),
        linked("image", "https://example.com/picture"),
        linked("document", "https://example.com/doc"),
    ) == [
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp?x=1"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/picture"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/doc"}},
    ]
    for url in ("http://example.com/a.png", "ftp://example.com/a", "/etc/passwd"):
        assert refusal({"messages": [user(linked("image", url))]}).param == "messages[0].content[0].source.url"
    assert refusal({"messages": [user(linked("image", "https://169.254.169.254/a"))]}).kind == "url_not_allowed"


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        (pdf(), [INLINE_PDF]),
        (pdf(title="T", context="C", citations={"enabled": True}), [{"text": "T\nC"}, INLINE_PDF]),
        (
            {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "body"}},
            [{"text": "T\nbody"}],
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [text("a"), image(), text("b")]}},
            [{"text": "a"}, INLINE_PNG, {"text": "b"}],
        ),
        ({"type": "document", "source": {"type": "content", "content": "all"}}, [{"text": "all"}]),
        (
            {"type": "search_result", "title": "T", "source": "https://e.x", "content": [text("found")]},
            [{"text": "T\nhttps://e.x\nfound"}],
        ),
    ],
)
def test_documents(block, wanted):
    assert parts(block) == wanted
    made = contents([HI, assistant(block), HI])
    assert made[1]["parts"] == wanted


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, ".source"),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, ".source"),
        ({"type": "document", "source": {"type": "odd"}}, ".source.type"),
        ({"type": "image"}, ".source"),
        (image("AAAA", "image/png"), ".source.data"),
        (image("%%%", "image/png"), ".source.data"),
        (image(PDF, "image/png"), ".source.data"),
        ({"type": "container_upload", "file_id": "f"}, ""),
        ({"type": "hologram"}, ".type"),
        ({"type": "tool_use", "id": "x", "name": "y", "input": {}}, ".type"),
        ({"type": "text"}, ".text"),
        ({}, ".type"),
    ],
)
def test_blocks_that_cannot_be_carried(block, param):
    error = refusal({"messages": [user(text("a"), block)]})
    assert (error.kind, error.param) == ("invalid_request", f"messages[0].content[1]{param}")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("hi", "messages"),
        (["hi"], "messages[0]"),
        ([{"role": "tool", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content[0]"),
        ([{"role": "user", "content": ""}], "messages"),
        ([assistant(use("t1"))], "messages"),
    ],
)
def test_conversations_that_are_none(messages, param):
    assert refusal({"messages": messages}).param == param


def test_roles_alternate_and_the_user_begins():
    made = contents([assistant(text("a")), assistant(text("b")), HI, user(text("more")), {**HI, "content": []}])
    assert made == [
        {"role": "user", "parts": [{"text": " "}]},
        {"role": "model", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "user", "parts": [{"text": "hi"}, {"text": "more"}]},
    ]


def test_system_turns_stay_in_place():
    turns = [
        HI,
        {"role": "system", "content": [text("one"), text(""), text("two")], "output_config": {"effort": "low"}},
        assistant(text("hello"), use("t1")),
        {"role": "system", "content": "after the call"},
        user(text("beside"), result("t1")),
        {"role": "system", "content": []},
    ]
    made = request({"messages": turns, **TOOLS})
    assert "systemInstruction" not in made
    assert made["contents"][0]["parts"] == [
        {"text": "hi"},
        {"text": "<system-reminder>\none\ntwo\n</system-reminder>"},
    ]
    assert made["contents"][2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "weather", "response": {"result": "sunny"}}},
            {"text": "<system-reminder>\nafter the call\n</system-reminder>"},
            {"text": "beside"},
        ],
    }


def test_a_system_turn_that_fades_is_seen_until_the_user_speaks_again():
    fading = {"role": "system", "content": "only now", "clear_at": "next_user_message"}
    seen = {"text": "<system-reminder>\nonly now\n</system-reminder>"}
    spoken = [HI, fading, assistant(text("yes"))]
    for turns in ([HI, fading], [*spoken, {**fading, "clear_at": "never"}]):
        assert seen in contents(turns)[-1]["parts"]
    assert contents([*spoken, user(text("more"))]) == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "yes"}]},
        {"role": "user", "parts": [{"text": "more"}]},
    ]
    kept = {**fading, "clear_at": "never"}
    assert seen in contents([HI, kept, assistant(text("yes")), HI])[0]["parts"]


def test_media_cannot_stand_in_system_turns():
    turn = {"role": "system", "content": [text("a"), image()]}
    assert refusal({"messages": [HI, turn]}).param == "messages[1].content[1].type"
    assert refusal({"system": [image()]}).param == "system[0].type"


def test_results_come_first_in_the_order_of_the_calls():
    turns = [
        HI,
        assistant(text("both"), use("t1", city="Rom"), use("t2", "other", x=1)),
        user(text("look"), result("t2", "two"), result("t1", "one")),
    ]
    made = contents(turns)
    assert [list(part) for part in made[1]["parts"]] == [
        ["text"],
        ["functionCall", "thoughtSignature"],
        ["functionCall"],
    ]
    assert made[2]["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"result": "one"}}},
        {"functionResponse": {"name": "other", "response": {"result": "two"}}},
        {"text": "look"},
    ]


def test_calls_of_neighbouring_messages_are_one_step():
    made = contents([HI, assistant(use("t1")), assistant(use("t2")), user(result("t1", "1")), user(result("t2", "2"))])
    assert [len(content["parts"]) for content in made] == [1, 2, 2]


def test_a_reused_id_belongs_to_its_own_turn():
    made = contents(
        [HI, assistant(use("x", "a")), user(result("x", "1")), assistant(use("x", "b")), user(result("x", "2"))]
    )
    assert [(item["name"], item["response"]) for item in responses_of(made)] == [
        ("a", {"result": "1"}),
        ("b", {"result": "2"}),
    ]


def test_equal_ids_in_one_turn_pair_in_order():
    made = contents([HI, assistant(use("x", "a"), use("x", "b")), user(result("x", "1"), result("x", "2"))])
    assert [(item["name"], item["response"]["result"]) for item in responses_of(made)] == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("given", "response"),
    [
        (result("t", '{"$ref": "x"}'), {"result": '{"$ref": "x"}'}),
        (result("t", "broken", is_error=True), {"error": "broken"}),
        (result("t", ""), {"result": ""}),
        (result("t", None), {"result": ""}),
        (result("t", []), {"result": ""}),
        (result("t", [text("a"), text("b")]), {"result": "a\nb"}),
        (result("t", [{"type": "search_result", "source": "s", "content": [text("c")]}]), {"result": "s\nc"}),
    ],
)
def test_result_texts(given, response):
    assert responses_of(contents([HI, assistant(use("t")), user(given)]))[0]["response"] == response


def test_media_in_results():
    turns = [
        HI,
        assistant(use("t1"), use("t2")),
        user(text("seen"), result("t1", [image()]), result("t2", [text("page"), pdf(title="T")])),
    ]
    new = contents(turns, NEW)[-1]["parts"]
    assert new == [
        {
            "functionResponse": {
                "name": "weather",
                "response": {"result": "(attached: image/png)"},
                "parts": [INLINE_PNG],
            }
        },
        {"functionResponse": {"name": "weather", "response": {"result": "page\nT"}, "parts": [INLINE_PDF]}},
        {"text": "seen"},
    ]
    old = contents(turns, OLD)[-1]["parts"]
    assert [part for part in old if "functionResponse" not in part] == [INLINE_PNG, INLINE_PDF, {"text": "seen"}]
    assert all("parts" not in item for item in responses_of([{"parts": old}]))


def test_a_missing_result_is_made_up_and_told():
    made = translate({"messages": [HI, assistant(use("t1"), use("t2")), user(result("t2"), text("go on"))], **TOOLS})
    assert [item["response"] for item in responses_of(made.request["contents"])] == [
        {"error": "no result"},
        {"result": "sunny"},
    ]
    assert made.warnings == ["tool_result_missing:t1"]


def test_a_result_without_a_call_is_told_as_text():
    made = contents([HI, assistant(text("ok")), user(result("nobody", [text("lost"), image()]))])
    told, picture = made[2]["parts"]
    assert "lost" in told["text"]
    assert picture == INLINE_PNG


def test_a_late_result_finds_its_call():
    made = contents([HI, assistant(use("t1")), user(text("wait")), assistant(text("ok")), user(result("t1", "late"))])
    assert made[2]["parts"] == [
        {"functionResponse": {"name": "weather", "response": {"result": "late"}}},
        {"text": "wait"},
    ]
    assert made[-1]["role"] == "user"


def test_calls_that_nobody_can_answer_any_more_are_dropped():
    made = translate({"messages": [HI, assistant(text("I look"), use("t1"))], **TOOLS})
    assert made.request["contents"] == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "I look"}]},
        {"role": "user", "parts": [{"text": CONTINUE}]},
    ]
    assert made.echo_prefix == "I look"
    assert contents([HI, assistant(use("t1"))], body=TOOLS) == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_prefill():
    turns = [HI, assistant(text("The answer is"))]
    made = translate({"messages": turns}, MID)
    assert (made.request["contents"][-1]["role"], made.echo_prefix) == ("model", "")
    made = translate({"messages": turns}, NEW)
    assert made.request["contents"][-1] == {"role": "user", "parts": [{"text": CONTINUE}]}
    assert made.echo_prefix == "The answer is"


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [WEATHER]},
        {"tools": [SEARCH]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ],
)
def test_prefill_beside_tools_or_structured_output_is_refused(body):
    for content in ("The answer is", [text("The answer is")]):
        error = refusal({"messages": [HI, {"role": "assistant", "content": content}], **body}, MID)
        assert (error.kind, error.param) == ("invalid_request", "messages")


def test_an_empty_final_turn_is_no_prefill():
    for content in ("", []):
        made = translate({"messages": [HI, {"role": "assistant", "content": content}], **TOOLS})
        assert made.request["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_a_summary_of_what_came_before_is_the_users():
    made = contents([HI, assistant({"type": "compaction", "content": "we met"}, text("ok")), HI])
    assert made[0]["parts"] == [{"text": "hi"}, {"text": "summary: we met"}]
    assert made[1] == {"role": "model", "parts": [{"text": "ok"}]}
    (made,) = contents([user({"type": "compaction", "content": "we met"}, text("hi"))])
    assert made["parts"] == [{"text": "summary: we met"}, {"text": "hi"}]


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        ({"type": "mcp_tool_result", "tool_use_id": "m", "content": [text("from mcp")]}, [{"text": "from mcp"}]),
        ({"type": "mcp_tool_use", "id": "m", "name": "n", "input": {}}, []),
        ({"type": "advisor_tool_result", "content": {"type": "advisor_result", "text": "do it"}}, [{"text": "do it"}]),
        ({"type": "fallback", "from": "a", "to": "b"}, []),
        ({"type": "something_new", "text": "words"}, [{"text": "words"}]),
        ({"type": "something_new"}, []),
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}, []),
    ],
)
def test_blocks_of_other_servers_in_the_history(block, wanted):
    made = contents([HI, assistant(text("so"), block), HI])
    assert made[1]["parts"] == [{"text": "so"}, *wanted]


def test_images_that_the_model_drew_come_back_as_images():
    drawn = f"![image](data:image/png;base64,{PNG})"
    made = contents([HI, assistant(text("Here:"), text(drawn), text(f"see {drawn}")), HI])
    assert made[1]["parts"] == [{"text": "Here:"}, INLINE_PNG, {"text": f"see {drawn}"}]


def test_the_users_own_markdown_stays_text():
    drawn = f"![image](data:image/png;base64,{PNG})"
    assert parts(text(drawn)) == [{"text": drawn}]


def _turns_of_one_role(size):
    return [HI] * size


def _calls_that_end_a_conversation(size):
    return [HI, assistant(*(use(f"t{number}") for number in range(size)))]


def _images_in_a_result(size):
    return [HI, assistant(use("t")), user(result("t", [image(PNG[:32] + f"{number:08}") for number in range(size)]))]


@pytest.mark.parametrize("turns", [_turns_of_one_role, _calls_that_end_a_conversation, _images_in_a_result])
def test_a_long_conversation_takes_linear_time(turns):
    def seconds(size):
        asked = turns(size)
        begin = time.thread_time()
        contents(asked)
        return time.thread_time() - begin

    seconds(100)
    gc.disable()  # a collection looks at every object of every test before this one
    try:
        few, many = (min(seconds(size) for _ in range(3)) for size in (1_500, 12_000))
    finally:
        gc.enable()
    assert many < 40 * few  # 8 times as much; its square would be 64
