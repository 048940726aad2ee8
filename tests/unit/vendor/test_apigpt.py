"""Gemini-shaped contents answered with one text: what the vendor's document asks, and what its reply cannot hold."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.contract import ReplyContext, RequestContext, Translation
from shared.dialects.vendor import apigpt
from shared.errors import ERROR_KINDS, GatewayError
from shared.events import BlockDelta, BlockEnd, BlockStart, Citation, Code, CodeResult, End, Media, Start, Usage
from shared.gemini.catalog import resolve

DAY = date(2026, 11, 21)
NEW, OLD, IMAGE, SPEECH = "gemini-3.8-flash", "gemini-2.5-flash", "gemini-3.1-flash-lite-image", "gemini-3.8-flash-tts"
JPEG = "/9j/4AAQSkZJRgABAQEASABIAAD/2Q=="
HI = [{"parts": [{"text": "hi"}]}]
REPLY = ReplyContext(request_id="01TEST", created=1_795_000_000, requested_model="gemini-pro")
USAGE = Usage(prompt_tokens=3, output_tokens=5)


def translate(body, model=NEW, **known):
    return apigpt.to_gemini(body, RequestContext(resolve(model, DAY), {}, **known))


def config(body, model=NEW, **known):
    return translate({"contents": HI, **body}, model, **known).request["generationConfig"]


def refusal(body, model=NEW, **known):
    with pytest.raises(GatewayError) as caught:
        translate(body, model, **known)
    return caught.value


def end(finish="stop", reason="STOP", **more):
    return End(finish=finish, reason=reason, usage=USAGE, **more)


# The request


@pytest.mark.parametrize(
    ("contents", "model"),
    [
        (HI, "gemini-pro"),
        ([{"parts": [{"text": "x"}, {"inline_data": {"mime_type": "image/jpeg", "data": JPEG}}]}], "gemini-pro-vision"),
        ({"parts": {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}}}, "gemini-pro-vision"),
        ([{"parts": [{"fileData": {"fileUri": "https://example.com/a.jpg"}}]}, *HI], "gemini-pro-vision"),
        ([3, {"parts": "x"}, {"parts": [None]}, {}], "gemini-pro"),
        ("x", "gemini-pro"),
    ],
)
def test_a_body_without_a_model_gets_one_by_its_media(contents, model):
    assert apigpt.requested_model({"contents": contents}) == model
    assert apigpt.requested_model({"contents": contents, "model": None}) == model
    assert apigpt.requested_model({"contents": contents, "model": OLD}) == OLD
    assert apigpt.requested_model({"contents": contents, "model_id": OLD}) == OLD


def test_messages_need_their_model():
    with pytest.raises(GatewayError) as caught:
        apigpt.requested_model({"messages": []})
    assert (caught.value.kind, caught.value.param) == ("invalid_request", "model")


def test_both_shapes_in_one_body_are_refused():
    both = {"contents": HI, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(GatewayError) as caught:
        apigpt.requested_model(both)
    assert (caught.value.kind, caught.value.param) == ("invalid_request", "contents")
    assert refusal(both).param == "contents"


@pytest.mark.parametrize("role", [None, "user"])
def test_contents_of_either_case_and_without_a_role(role):
    contents = [{"role": role, "parts": [{"text": "x"}, {"inline_data": {"mime_type": "image/jpeg", "data": JPEG}}]}]
    camel = [{"role": role, "parts": [{"text": "x"}, {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}}]}]
    (made,) = translate({"contents": contents}).request["contents"]
    assert made["role"] == "user"
    assert made["parts"][1] == {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}}
    assert translate({"contents": camel}).request["contents"] == [made]


@pytest.mark.parametrize(
    ("contents", "param"),
    [
        ([{"role": "system", "parts": [{"text": "x"}]}], "contents[0].role"),
        (
            [{"parts": [{"text": "x", "inline_data": {"mime_type": "image/jpeg", "data": JPEG}}]}],
            "contents[0].parts[0]",
        ),
        (
            [{"parts": [{"inline_data": {"mime_type": "image/jpeg", "data": "%"}}]}],
            "contents[0].parts[0].inline_data.data",
        ),
        ([], "contents"),
        ("x", "contents"),
    ],
)
def test_what_the_document_forbids_is_refused_by_its_place(contents, param):
    error = refusal({"contents": contents})
    assert (error.kind, error.param) == ("invalid_request", param)


def test_the_default_limit_is_the_documents():
    assert config({})["maxOutputTokens"] == 4096
    assert config({"max_tokens": 7})["maxOutputTokens"] == 7
    assert config({"max_completion_tokens": 8})["maxOutputTokens"] == 8
    assert config({"generationConfig": {"maxOutputTokens": 9}})["maxOutputTokens"] == 9
    assert config({"generation_config": {"max_output_tokens": 9}})["maxOutputTokens"] == 9
    assert config({"extra_body": {"google": {"generation_config": {"maxOutputTokens": 9}}}})["maxOutputTokens"] == 9


def test_the_default_limit_keeps_below_the_keys_and_the_models_without_a_warning():
    below = translate({"contents": HI}, max_output_tokens=100)
    assert below.request["generationConfig"]["maxOutputTokens"] == 100
    assert below.warnings == []
    assert translate({"contents": HI}, IMAGE).warnings == []


def test_only_contents_get_the_default_limit():
    assert "generationConfig" not in translate({"messages": [{"role": "user", "content": "x"}]}).request


@pytest.mark.parametrize("body", [{"contents": HI}, {"messages": [{"role": "user", "content": "x"}]}])
def test_filters_are_off_unless_the_client_sets_them(body):
    settings = translate(body).request["safetySettings"]
    assert len(settings) == 4
    assert {item["threshold"] for item in settings} == {"OFF"}
    assert not any("CIVIC" in item["category"] for item in settings)
    own = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert translate({**body, "safety_settings": own}).request["safetySettings"] == own
    assert translate({**body, "safetySettings": own}).request["safetySettings"] == own


def test_an_answer_that_is_no_text_is_refused_before_it_is_paid_for():
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    error = refusal({"contents": HI, "tools": [function]})
    assert (error.kind, error.param) == ("unsupported_parameter", "tools")
    assert refusal({"contents": HI}, SPEECH).param == "model"
    messages = [{"role": "user", "content": "x"}]
    assert translate({"messages": messages, "tools": [function]}).declared_tools == {"f"}
    assert translate({"messages": messages}, SPEECH).options.audio_format == "wav"


def test_the_models_own_tools_answer_in_text():
    clothed = {"type": "function", "function": {"name": "codeExecution"}}
    assert translate({"contents": HI, "tools": [clothed]}).request["tools"] == [{"codeExecution": {}}]


def test_what_the_reply_has_no_place_for_is_ignored_and_named():
    wanted = {"n": 3, "logprobs": True, "stream_options": {"include_usage": True}, "stream": True}
    made = translate({"contents": HI, **wanted}, OLD)
    assert made.choices == 1
    assert made.warnings == ["ignored:n", "ignored:logprobs", "ignored:stream_options"]
    assert made.stream is True
    assert translate({"contents": HI, "n": 1, "stream_options": {}}).warnings == []
    assert refusal({"contents": HI, "n": 2}, strict=True).kind == "unsupported_parameter"


@given(
    st.dictionaries(
        st.sampled_from(["contents", "messages", "model", "max_tokens", "n", "stream", "tools", "generation_config"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["role", "parts", "text", "inline_data", "type"]), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    )
)
def test_any_body_is_translated_or_refused(body):
    for verb in (apigpt.requested_model, apigpt.wants_stream, translate):
        try:
            verb(body)
        except GatewayError as error:
            assert apigpt.render_error(error, "r")[0] == 400
    assert isinstance(apigpt.signature_keys(body), list)


# The reply

CONTENTS = Translation(request={}, options=apigpt.MessageOptions())
ANSWERS = {
    "text": ([BlockStart(0, "text"), BlockDelta(0, "Hel"), BlockDelta(0, "lo\n"), BlockEnd(0), end()], "Hello\n"),
    "thoughts stay out": (
        [
            BlockStart(0, "reasoning"),
            BlockDelta(0, "Hm."),
            BlockEnd(0),
            BlockStart(1, "text"),
            BlockDelta(1, "A"),
            end(),
        ],
        "A",
    ),
    "an image": ([Media(0, "image/png", "aW1n"), end()], "![image](data:image/png;base64,aW1n)"),
    "code that ran": (
        [Code(0, "PYTHON", "print(1)"), CodeResult(1, "OUTCOME_OK", "1\n"), end()],
        "```python\nprint(1)\n```\n```output\n1\n```\n",
    ),
    "sources stay out": ([BlockStart(0, "text"), BlockDelta(0, "A"), Citation(0, 1, "https://a.b", "t"), end()], "A"),
    "the limit came first": ([end("length", "MAX_TOKENS")], ""),
    "nothing at all": ([end()], ""),
    "blocked after some text": ([BlockStart(0, "text"), BlockDelta(0, "A"), end("blocked", "SAFETY")], "A"),
}


def stream(events):
    renderer = apigpt.renderer(CONTENTS, REPLY)
    return b"".join([*(renderer.feed(event) for event in events), renderer.close(USAGE)])


def fragments(data):
    *events, done, tail = data.decode().split("\n\n")
    assert (done, tail) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


@pytest.mark.parametrize(("events", "text"), ANSWERS.values(), ids=ANSWERS)
def test_buffered_and_streamed_say_the_same_and_nothing_else(events, text):
    events = [Start("r1", NEW), *events]
    assert apigpt.fold([events], CONTENTS, REPLY, USAGE) == {"message": text}
    sent = fragments(stream(events))
    assert all(set(fragment) == {"message"} for fragment in sent)
    assert "".join(fragment["message"] for fragment in sent) == text


def test_each_fragment_holds_new_text_only():
    events, _ = ANSWERS["text"]
    assert fragments(stream(events)) == [{"message": "Hel"}, {"message": "lo\n"}]


BLOCKED = [
    end("blocked", "SAFETY", message="m"),
    end("blocked", "PROHIBITED_CONTENT", prompt_blocked=True),
    end("no_output", "OTHER"),
]


@pytest.mark.parametrize("last", BLOCKED)
def test_a_block_before_any_text_is_an_error_that_names_the_reason(last):
    thought = [BlockStart(0, "reasoning"), BlockDelta(0, "Hm."), BlockEnd(0)]
    with pytest.raises(GatewayError) as caught:
        apigpt.fold([[*thought, last]], CONTENTS, REPLY, USAGE)
    status, body, _ = apigpt.render_error(caught.value, "r")
    assert (status, body["error"]["code"]) == (400, "content_filter")
    assert last.reason in body["error"]["message"]
    renderer = apigpt.renderer(CONTENTS, REPLY)
    assert b"".join(renderer.feed(event) for event in [Start("r1", NEW), *thought]) == b""  # the status still waits
    with pytest.raises(GatewayError):
        renderer.feed(last)


def test_an_error_frame_ends_a_stream_without_done():
    data = apigpt.renderer(CONTENTS, REPLY).fail(GatewayError("upstream_interrupted", "Broken."))
    assert data.startswith(b"data: ")
    assert set(json.loads(data.removeprefix(b"data: "))) == {"error"}


def test_messages_are_answered_as_openai_would():
    made = translate({"messages": [{"role": "user", "content": "x"}]})
    events, _ = ANSWERS["text"]
    assert apigpt.fold([events], made, REPLY, USAGE)["object"] == "chat.completion"
    assert b'"chat.completion.chunk"' in apigpt.renderer(made, REPLY).feed(events[1])


def test_the_statuses_are_those_of_the_vendors_list():
    listed = {400, 401, 403, 404, 429, 500, 529}
    of_http_itself = {405, 409, 413, 415, 422}
    statuses = {kind: apigpt.render_error(GatewayError(kind, "m"), "r")[0] for kind in ERROR_KINDS}
    assert set(statuses.values()) <= listed | of_http_itself
    assert statuses["upstream_overloaded"] == 529
    assert statuses["upstream_auth"] == statuses["upstream_timeout"] == statuses["upstream_internal"] == 500
    assert statuses["rate_limited"] == 429
    assert statuses["endpoint_not_allowed"] == 403


def test_an_overload_still_says_when_to_come_back():
    error = GatewayError("upstream_overloaded", "m", retry_after=2.5)
    _, body, headers = apigpt.render_error(error, "r")
    assert headers["retry-after"] == "3"
    assert body["error"]["type"] == "server_error"
