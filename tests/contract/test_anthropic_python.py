"""The official Python SDK of Anthropic, unmodified, against the running gateway: messages, streams, thinking, media,
search, structured outputs and counting."""

import base64
import json
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest
from pydantic import BaseModel

from tests.running import Gateway
from tests.unit.gif_files import Gif

FLASH, ARGON = "gemini-3.6-flash", "gemini-4-argon"
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
THINKING = {"type": "enabled", "budget_tokens": 2048}


@pytest.fixture
def client(gateway: Gateway, emulator):
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=gateway.client_key, max_retries=0) as made:
        yield made


def say(content, model=FLASH, max_tokens=4096, **more):
    return {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": content}], **more}


def sent(emulator):
    return json.dumps([record["body"] for record in emulator.requests])


def kinds(message):
    return [block.type for block in message.content]


# messages


@pytest.mark.parametrize("model", [FLASH, ARGON, "claude-sonnet-5-5", "claude-gemini-3.6-flash"])
def test_a_buffered_message(client, model):
    answer = client.messages.create(**say("Say hello to the gateway.", model), system="Be brief.")
    assert "Say hello to the gateway." in answer.content[0].text
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert (answer.role, answer.type, answer.model) == ("assistant", "message", model)
    assert answer.id.startswith("msg_")
    assert answer._request_id.startswith("req_")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


def test_a_conversation_with_a_system_turn_in_its_middle(client, emulator):
    turns = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": "third"},
        {"role": "system", "content": "Mind the tone."},
    ]
    answer = client.messages.create(
        model=FLASH, max_tokens=4096, messages=turns, system=[{"type": "text", "text": "S"}]
    )
    assert answer.stop_reason == "end_turn"
    body = emulator.requests[-1]["body"]
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    assert "Mind the tone." in json.dumps(body["contents"][-1])
    assert "Mind the tone." not in json.dumps(body["systemInstruction"])


async def test_the_asynchronous_client(gateway):
    async with anthropic.AsyncAnthropic(base_url=gateway.base_url, api_key=gateway.client_key) as client:
        answer = await client.messages.create(**say("async"))
        assert "async" in answer.content[0].text
        async with client.messages.stream(**say("async stream")) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
    assert "async stream" in text
    assert final.content[0].text == text


def test_a_stream_gives_the_text_as_it_comes_and_the_same_message_at_its_end(client, emulator):
    step = {"text": "one two three four five six", "chunks": 4}
    emulator.script(step, step)
    with client.messages.stream(**say("count")) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) == 4
    assert "".join(pieces) == final.content[0].text == "one two three four five six"
    buffered = client.messages.create(**say("count"))
    assert final.content[0].text == buffered.content[0].text
    assert (final.stop_reason, final.usage) == (buffered.stop_reason, buffered.usage)


def test_the_events_of_a_raw_stream_stand_in_their_order(client, emulator):
    emulator.script({"thoughts": "Hm.", "text": "Well.", "call": {"name": "get_weather", "args": {"city": "Bern"}}})
    events = list(client.messages.create(**say("go"), tools=[WEATHER], thinking=THINKING, stream=True))
    types = [event.type for event in events if event.type != "ping"]
    assert types[0] == "message_start"
    assert types[-2:] == ["message_delta", "message_stop"]
    opened = [event.index for event in events if event.type == "content_block_start"]
    assert opened == list(range(len(opened)))
    assert [event.index for event in events if event.type == "content_block_stop"] == opened
    assert events[-2].usage.input_tokens > 0


# stops


@pytest.mark.parametrize("streamed", [True, False])
def test_the_stop_sequence_that_was_met_is_named(client, emulator, streamed):
    emulator.script({"text": "alpha beta gamma delta", "chunks": 9})
    request = say("go", stop_sequences=["1", "2", "3", "4", "5", "gamma"])
    answer = final(client, request, streamed)
    assert answer.content[0].text == "alpha beta "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "gamma")
    assert "stopSequences" not in sent(emulator)
    emulator.script({"text": "nothing to stop at"})
    answer = final(client, request, streamed)
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)


def final(client, request, streamed):
    if not streamed:
        return client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("streamed", [True, False])
def test_the_limit_of_tokens_reaches_the_upstream_and_ends_the_answer(client, emulator, streamed):
    emulator.script({"text": "word " * 4000, "chunks": 3})
    answer = final(client, say("go", max_tokens=2100, thinking={"type": "disabled"}), streamed)
    assert answer.stop_reason == "max_tokens"
    assert 0 < answer.usage.output_tokens <= 2100
    assert emulator.requests[-1]["body"]["generationConfig"]["maxOutputTokens"] == 2100


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("step", [{"finish": "SAFETY"}, {"block": "PROHIBITED_CONTENT"}])
def test_a_refusal_is_an_answer(client, emulator, streamed, step):
    emulator.script(step)
    answer = final(client, say("go"), streamed)
    assert (answer.stop_reason, answer.content) == ("refusal", [])
    assert next(iter(step.values())) in answer.stop_details.explanation


# thinking


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("model", [FLASH, ARGON, "gemini-2.5-flash"])
@pytest.mark.parametrize(
    "thinking", [THINKING, {"type": "adaptive"}, {"type": "adaptive", "display": "summarized"}], ids=str
)
def test_thoughts_are_shown_and_signed(client, emulator, model, thinking, streamed):
    emulator.script({"thoughts": ["Let me ", "see."], "text": "42."})
    answer = final(client, say("think", model, thinking=thinking), streamed)
    assert kinds(answer) == ["thinking", "text"]
    assert answer.content[0].thinking.replace("\n", "") == "Let me see."
    assert answer.content[0].signature
    assert answer.usage.output_tokens_details.thinking_tokens > 0


@pytest.mark.parametrize("streamed", [True, False])
def test_omitted_thoughts_are_hidden_and_still_carry_signatures(client, emulator, streamed):
    emulator.script({"thoughts": "Secret.", "call": {"name": "get_weather", "args": {"city": "Rome"}}})
    request = say("go", thinking={"type": "adaptive", "display": "omitted"}, tools=[WEATHER])
    answer = final(client, request, streamed)
    assert kinds(answer) == ["thinking", "tool_use"]
    assert answer.content[0].thinking == ""
    assert answer.content[0].signature.startswith("gem1.")


def test_no_thinking_asked_is_none_shown(client, emulator):
    emulator.script({"thoughts": "Secret.", "text": "42."})
    assert kinds(client.messages.create(**say("go"))) == ["text"]
    for more, level in (({"thinking": {"type": "disabled"}}, "MINIMAL"), ({"output_config": {"effort": "low"}}, "LOW")):
        emulator.script({"thoughts": "Secret.", "text": "42."})
        assert kinds(client.messages.create(**say("go", **more))) == ["text"]
        thinking = emulator.requests[-1]["body"]["generationConfig"]["thinkingConfig"]
        assert thinking["thinkingLevel"] == level
        assert not thinking.get("includeThoughts")


# structured outputs


class Step(BaseModel):
    explanation: str
    output: str


class Solution(BaseModel):
    steps: list[Step]
    right: bool


@pytest.mark.parametrize("model", [FLASH, ARGON, "gemini-2.5-flash"])
def test_an_answer_in_a_json_schema(client, emulator, model):
    answer = client.messages.parse(**say("Solve 8x + 7 = -23.", model), output_format=Solution)
    assert isinstance(answer.parsed_output, Solution)
    assert emulator.requests[-1]["body"]["generationConfig"]["responseMimeType"] == "application/json"
    with client.messages.stream(**say("Solve it again.", model), output_format=Solution) as stream:
        assert isinstance(stream.get_final_message().parsed_output, Solution)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    plain = client.messages.create(
        **say("A number.", model), output_config={"format": {"type": "json_schema", "schema": schema}}
    )
    assert isinstance(json.loads(plain.content[0].text)["n"], int)


# media


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width * 3 for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    made = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(made).decode()


def image(width=7, height=5):
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png(width, height)}}


PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()


def test_images_and_documents_as_input(client, emulator):
    document = {"type": "document", "title": "Report", "source": {}}
    pdf = {**document, "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    plain = {**document, "source": {"type": "text", "media_type": "text/plain", "data": "A plain report."}}
    answer = client.messages.create(**say([image(), pdf, plain, {"type": "text", "text": "What are these?"}]))
    assert "image/png" in answer.content[0].text
    assert "7x5" in answer.content[0].text
    assert "application/pdf" in answer.content[0].text
    assert {"Report", "A plain report."} <= set(sent(emulator).replace("\\n", '"').split('"'))


def test_a_gif_reaches_the_model_as_png_and_a_broken_one_is_refused(client, emulator):
    picture = Gif(6, 4, [0, 1] * 12, palette=b"\xff\0\0\0\0\xff").data
    block = image()
    block["source"] = {"type": "base64", "media_type": "image/gif", "data": base64.b64encode(picture).decode()}
    answer = client.messages.create(**say([block], model="gemini-2.5-flash"))
    assert "image/png" in answer.content[0].text
    assert "6x4" in answer.content[0].text
    block["source"]["data"] = base64.b64encode(picture[:30]).decode()
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**say([block]))
    assert caught.value.body["error"]["message"].startswith("messages.0.content.0.source.data: ")


def test_public_urls_are_left_to_the_upstream(client, emulator):
    photo = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.webp"}}
    paper = {"type": "document", "source": {"type": "url", "url": "https://example.com/b.pdf"}}
    assert client.messages.create(**say([photo, paper])).stop_reason == "end_turn"
    parts = emulator.requests[-1]["body"]["contents"][0]["parts"]
    assert [(part["fileData"]["fileUri"], part["fileData"]["mimeType"]) for part in parts] == [
        ("https://example.com/a.webp", "image/webp"),
        ("https://example.com/b.pdf", "application/pdf"),
    ]


# search

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


@pytest.mark.parametrize("streamed", [True, False])
def test_a_web_search_is_shown_with_its_sources_and_citations(client, emulator, streamed):
    answer = final(client, say("What is new in Zürich?", tools=[SEARCH]), streamed)
    assert kinds(answer)[:2] == ["server_tool_use", "web_search_tool_result"]
    use, results, *texts = answer.content
    assert (use.name, results.tool_use_id) == ("web_search", use.id)
    assert use.input["query"]
    assert [result.title for result in results.content] == ["example.com", "example.org"]
    citations = [citation for text in texts for citation in text.citations or []]
    assert {citation.url for citation in citations} == {result.url for result in results.content}
    assert "".join(text.text for text in texts).startswith("Echo: What is new in Zürich?")
    assert answer.usage.server_tool_use.web_search_requests == 1
    assert answer.stop_reason == "end_turn"
    turns = [
        {"role": "user", "content": "What is new in Zürich?"},
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": "And in Bern?"},
    ]
    more = client.messages.create(model=FLASH, max_tokens=4096, messages=turns, tools=[SEARCH])
    assert more.content[0].type == "server_tool_use"


def test_a_search_beside_a_function(client, emulator):
    emulator.script({"search": {"queries": ["weather rome"]}, "text": "It is dry."})
    answer = client.messages.create(**say("go", tools=[SEARCH, WEATHER]))
    assert {"server_tool_use", "web_search_tool_result", "text"} <= set(kinds(answer))
    use = next(block for block in answer.content if block.type == "server_tool_use")
    assert use.input == {"query": "weather rome"}


# counting and models


def test_tokens_are_counted_for_a_model_that_google_has_closed(client, emulator):
    emulator.set_state("gemini-2.5-flash-lite", "closed")
    messages = [{"role": "user", "content": "closed"}]
    for _ in range(2):
        assert client.messages.count_tokens(model="gemini-2.5-flash-lite", messages=messages).input_tokens > 0
    assert [row["status"] for row in emulator.requests] == [404, 200]  # and once only, as equal requests are


def test_counts_follow_system_and_tools(client, emulator):
    plain = client.messages.count_tokens(model=FLASH, messages=[{"role": "user", "content": "foo"}])
    full = client.messages.count_tokens(
        model=FLASH, messages=[{"role": "user", "content": "foo"}], system="word " * 100, tools=[WEATHER]
    )
    assert full.input_tokens > plain.input_tokens + 100
    assert plain.input_tokens > 0
    assert client.messages.create(**say("foo")).usage.input_tokens == plain.input_tokens


def test_a_burst_of_equal_counts_asks_the_upstream_once_and_costs_nothing(gateway, client_key, emulator):
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=client_key[1], max_retries=0) as client:

        def count(_):
            tools = [{**WEATHER, "description": "Asked by many at once."}]
            return client.messages.count_tokens(model=FLASH, messages=[{"role": "user", "content": "foo"}], tools=tools)

        with ThreadPoolExecutor(26) as pool:
            counts = {answer.input_tokens for answer in pool.map(count, range(26))}
    assert len(counts) == 1
    assert len(emulator.requests) == 1
    time.sleep(0.5)  # a row would follow its answer
    assert gateway.rows(client_key[0]) == []


def test_a_busy_upstream_still_gives_a_count(client, emulator):
    emulator.script({"error": {"status": 503}, "times": 9, "match": {"method": "countTokens"}})
    words = "word " * 400
    estimate = client.messages.count_tokens(model="gemini-3.5-flash", messages=[{"role": "user", "content": words}])
    assert 200 < estimate.input_tokens < 2000


def test_models_are_listed_paged_and_found(client):
    listed = list(client.models.list(limit=3))  # follows every page
    ids = [model.id for model in listed]
    assert len(ids) == len(set(ids)) > 6
    assert {FLASH, ARGON, "claude-gemini-3.6-flash"} <= set(ids)
    assert [model.id for model in client.models.list(limit=1000)] == ids
    assert not [name for name in ids if name.startswith("claude-") and "tts" in name]  # they do not write
    with pytest.raises(anthropic.BadRequestError):
        client.get(f"/v1/models?limit={'9' * 5_000}", cast_to=object)
    one = client.models.retrieve(FLASH)
    assert (one.id, one.type, one.lifecycle) == (FLASH, "model", "active")
    assert one.display_name
    assert one.max_input_tokens == 1_048_576
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("no-such-model")
    with pytest.raises(anthropic.NotFoundError):  # nor is it served: it has no price
        client.models.retrieve("gemini-9.9-flash")
