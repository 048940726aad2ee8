"""The Responses API through the official clients, unmodified: the Python SDK and the Agents SDK."""

import asyncio
import json
import time

import httpx
import openai
import pytest
from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel

from tests.running import Gateway

MODEL = "gemini-3.8-flash"
CARRIED = ["reasoning.encrypted_content"]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


@pytest.fixture
def client(gateway: Gateway, client_key):
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1], max_retries=0) as made:
        yield made


@pytest.fixture
def other_client(gateway: Gateway):
    """Of another account."""
    made = gateway.gwctl("keys", "create", "another account")
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=made["key"], max_retries=0) as other:
        yield other


def directive(**keys):
    return "@emulator " + json.dumps(keys)


def sent(emulator):
    return [record["body"] for record in emulator.requests]


def test_buffered_and_metered(client, gateway, client_key):
    answer = client.responses.create(model=MODEL, input="Say hello.", metadata={"a": "b"}, instructions="Be brief.")
    assert "Say hello." in answer.output_text
    assert (answer.status, answer.model, answer.metadata, answer.instructions) == (
        "completed",
        MODEL,
        {"a": "b"},
        "Be brief.",
    )
    (row,) = gateway.row(client_key[0])
    assert (row["dialect"], row["endpoint"], row["stream"], row["status"]) == (
        "openai_responses",
        "responses",
        False,
        200,
    )
    assert row["input_tokens"] == answer.usage.input_tokens > 0
    assert row["output_tokens"] == answer.usage.output_tokens > 0


def test_streamed_by_the_sdks_accumulator(client, emulator, gateway, client_key):
    emulator.script({"text": "one two three four", "chunks": 4, "thoughts": ["Think first."]})
    with client.responses.stream(model=MODEL, input="count", reasoning={"effort": "low", "summary": "auto"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert sum(event.type == "response.output_text.delta" for event in events) == 4
    assert final.output_text == "one two three four"
    assert final.created_at <= final.completed_at <= time.time()
    assert final.output[0].summary[0].text.strip() == "Think first."
    (row,) = gateway.row(client_key[0])
    assert (row["stream"], row["output_tokens"]) == (True, final.usage.output_tokens)


def test_structured_output_is_parsed(client):
    class City(BaseModel):
        name: str
        people: int

    answer = client.responses.parse(model=MODEL, input="A city.", text_format=City)
    assert isinstance(answer.output_parsed, City)


TURNS = [
    {"call": [{"name": "get_weather", "args": {"city": "Paris"}}, {"name": "get_weather", "args": {"city": "Zürich"}}]},
    {"call": [{"name": "get_weather", "args": {"city": "Rome"}}]},
    {"text": "All dry."},
]


def results_of(answer, cities):
    items = []
    for call in answer.output:
        if call.type == "function_call":
            cities.append(json.loads(call.arguments)["city"])
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": f"dry in {cities[-1]}"})
    return items


@pytest.mark.parametrize("keeping", ["previous response", "all items", "carried items", "conversation"])
@pytest.mark.parametrize("model", ["gemini-2.5-flash", MODEL, "gemini-4-argon"])
def test_a_tool_loop_of_several_rounds(client, emulator, model, keeping):
    """Signatures are enforced upstream; clients rely on our store, or carry everything themselves."""
    task = [{"role": "user", "content": f"Weather, please.\n{directive(turns=TURNS)}"}]
    known, cities, extra = list(task), [], {}
    if keeping == "carried items":
        extra = {"store": False, "include": CARRIED}
    elif keeping == "conversation":
        extra = {"conversation": client.conversations.create().id}
    answer = client.responses.create(model=model, input=task, tools=[WEATHER], **extra)
    for _ in range(3):
        new = results_of(answer, cities)
        if not new:
            break
        known += [item.model_dump(exclude_none=True) for item in answer.output] + new
        if keeping == "previous response":
            extra = {"previous_response_id": answer.id}
        whole = keeping in ("all items", "carried items")
        answer = client.responses.create(model=model, input=known if whole else new, tools=[WEATHER], **extra)
    assert answer.output_text == "All dry."
    assert cities == ["Paris", "Zürich", "Rome"]
    if not model.startswith("gemini-2"):
        assert "thoughtSignature" in json.dumps(sent(emulator)[-1])
    assert "skip_thought_signature_validator" not in json.dumps(sent(emulator))


def test_a_carrier_of_another_account_is_worthless(client, other_client, emulator):
    task = {"role": "user", "content": f"Weather?\n{directive(turns=TURNS)}"}
    first = client.responses.create(model=MODEL, input=[task], tools=[WEATHER], store=False, include=CARRIED)
    items = [task, *(item.model_dump(exclude_none=True) for item in first.output), *results_of(first, [])]
    token = first.output[0].encrypted_content
    second = other_client.responses.create(model=MODEL, input=items, tools=[WEATHER], store=False)
    assert second.input_transformations[0].reason == "organization_mismatch"
    body = json.dumps(sent(emulator)[-1])
    assert "skip_thought_signature_validator" in body
    assert token not in body


def test_kept_responses(client, other_client):
    first = client.responses.create(model=MODEL, input="My name is Ada.")
    second = client.responses.create(model=MODEL, input="And yours?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert client.responses.retrieve(second.id).output_text == second.output_text
    (item,) = client.responses.input_items.list(second.id)
    assert item.content[0].text == "And yours?"
    for theirs in (
        lambda: other_client.responses.retrieve(first.id),
        lambda: other_client.responses.delete(first.id),
        lambda: other_client.responses.input_items.list(first.id),
        lambda: other_client.responses.cancel(first.id),
    ):
        with pytest.raises(openai.NotFoundError):
            theirs()
    with pytest.raises(openai.BadRequestError) as foreign:
        other_client.responses.create(model=MODEL, input="x", previous_response_id=first.id)
    with pytest.raises(openai.BadRequestError) as unknown:
        client.responses.create(model=MODEL, input="x", previous_response_id="resp_none")
    assert foreign.value.code == unknown.value.code == "previous_response_not_found"
    assert foreign.value.param == "previous_response_id"
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL, input="x", previous_response_id=second.id)


def test_what_is_not_to_be_kept_is_not(client):
    answer = client.responses.create(model=MODEL, input="secret", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_the_chain_reaches_the_model_without_earlier_instructions(client, emulator):
    first = client.responses.create(model=MODEL, input="one", instructions="Speak French.")
    with client.responses.stream(model=MODEL, input="two", previous_response_id=first.id) as stream:
        second = stream.get_final_response()
    client.responses.create(model=MODEL, input="three", previous_response_id=second.id)
    last = sent(emulator)[-1]
    words = [part["text"] for turn in last["contents"] for part in turn["parts"]]
    assert words == ["one", "Echo: one", "two", "Echo: two", "three"]
    assert "systemInstruction" not in last


def test_references_and_pages_of_items(client, emulator):
    parts = [{"role": "user", "content": f"part {number}"} for number in range(25)]
    first = client.responses.create(model=MODEL, input=parts)
    client.responses.create(
        model=MODEL,
        input=[{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "again"}],
    )
    assert sent(emulator)[-1]["contents"][-1]["parts"] == [{"text": "again"}]
    listed = client.responses.input_items.list(first.id, limit=10, order="asc")
    assert listed.has_more
    assert [item.content[0].text for item in listed] == [part["content"] for part in parts]
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input=[{"type": "item_reference", "id": "msg_none"}])
    assert caught.value.param == "input[0].id"


def test_large_input_is_kept_whole(client):
    text = "".join(chr(33 + number * 7919 % 90) for number in range(1_500_000))
    answer = client.responses.create(model=MODEL, input=[{"role": "user", "content": text}], instructions="Say ok.")
    (item,) = client.responses.input_items.list(answer.id)
    assert item.content[0].text == text


def test_conversations(client, other_client):
    conversation = client.conversations.create(
        metadata={"topic": "a"}, items=[{"type": "message", "role": "user", "content": "My name is Zed."}]
    )
    client.responses.create(model=MODEL, input="one", conversation=conversation.id, store=False)
    second = client.responses.create(model=MODEL, input="two", conversation={"id": conversation.id}, stream=False)
    assert second.conversation.id == conversation.id
    client.conversations.items.create(conversation.id, items=[{"type": "message", "role": "user", "content": "later"}])
    listed = list(client.conversations.items.list(conversation.id, order="asc"))
    words = [item.content[0].text for item in listed]
    assert [words[0], words[1], words[3], words[5]] == ["My name is Zed.", "one", "two", "later"]
    assert client.conversations.update(conversation.id, metadata={"topic": "b"}).metadata == {"topic": "b"}
    with pytest.raises(openai.BadRequestError, match=r"metadata\.topic"):
        client.conversations.update(conversation.id, metadata={"topic": "x" * 513})
    with pytest.raises(openai.NotFoundError):
        other_client.conversations.retrieve(conversation.id)
    with pytest.raises(openai.NotFoundError):
        other_client.responses.create(model=MODEL, input="x", conversation=conversation.id)
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_what_follows_a_response_of_a_conversation_knows_what_came_before_it(client, emulator):
    conversation = client.conversations.create(items=[{"role": "user", "content": "My name is Zed."}])
    first = client.responses.create(model=MODEL, input="one", conversation=conversation.id)
    client.responses.create(model=MODEL, input="elsewhere", conversation=conversation.id)
    second = client.responses.create(model=MODEL, input="two", previous_response_id=first.id)
    client.responses.create(model=MODEL, input="three", previous_response_id=second.id)
    asked = [content["parts"] for content in sent(emulator)[-1]["contents"] if content["role"] == "user"]
    assert [part["text"] for parts in asked for part in parts] == ["My name is Zed.", "one", "two", "three"]
    client.conversations.delete(conversation.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="four", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"


def test_an_item_of_a_conversation_is_taken_out(client, other_client, emulator):
    """Whether it was put there or came with a response, nobody builds upon it again."""
    conversation = client.conversations.create(items=[{"role": "user", "content": "My name is Zed."}])
    first = client.responses.create(model=MODEL, input="And mine?", conversation=conversation.id)
    items = client.conversations.items
    put, asked, answered = items.list(conversation.id, order="asc")
    assert items.retrieve(answered.id, conversation_id=conversation.id) == answered
    with pytest.raises(openai.NotFoundError):
        other_client.conversations.items.delete(put.id, conversation_id=conversation.id)
    for item in (put, answered):
        assert items.delete(item.id, conversation_id=conversation.id).id == conversation.id
        with pytest.raises(openai.NotFoundError):
            items.delete(item.id, conversation_id=conversation.id)
    assert [item.id for item in items.list(conversation.id)] == [asked.id]
    client.responses.create(model=MODEL, input="Again?", conversation=conversation.id)
    said = [part["text"] for content in sent(emulator)[-1]["contents"] for part in content["parts"]]
    assert said == ["And mine?", "Again?"]
    assert client.responses.retrieve(first.id).output_text  # the response itself stays whole


def finished(client, response):
    end = time.monotonic() + 10
    while response.status in ("queued", "in_progress") and time.monotonic() < end:
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    return response


def test_in_the_background(client, gateway, client_key, emulator):
    queued = client.responses.create(model=MODEL, input="later", background=True)
    assert (queued.status, queued.background, queued.output, queued.completed_at) == ("queued", True, [], None)
    done = finished(client, queued)
    assert (done.status, done.id, done.background) == ("completed", queued.id, True)
    assert "later" in done.output_text
    assert queued.created_at == done.created_at <= done.completed_at <= time.time()
    assert len(gateway.row(client_key[0])) == 1
    emulator.script({"error": {"status": 500}, "times": 3})
    failed = finished(client, client.responses.create(model=MODEL, input="x", background=True))
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    with pytest.raises(openai.BadRequestError):  # refused at once
        client.responses.create(model=MODEL, input="x", background=True, tools=[{"type": "mcp", "server_label": "x"}])
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL, input="x", previous_response_id=failed.id)


def test_a_background_response_is_cancelled(client, gateway, client_key, emulator):
    emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 400})
    queued = client.responses.create(model=MODEL, input="slow", background=True)
    time.sleep(0.6)
    assert client.responses.cancel(queued.id).status == "cancelled"
    gateway.row(client_key[0])  # settled although nobody reads it
    assert client.responses.retrieve(queued.id).status == "cancelled"
    assert client.responses.cancel(queued.id).status == "cancelled"
    plain = client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(plain.id)


def test_nobody_else_starts_background_work(gateway):
    for ticket in (None, "gw1.AAAA", 5):
        answer = httpx.post(f"{gateway.base_url}/internal/responses/run", json={"ticket": ticket})
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [{"type": "bogus"}]}, "items[0].type"),
        ({"items": [{"role": "user", "content": "x"}, 5]}, "items[1]"),
        ({"items": [{"role": "robot", "content": "x"}]}, "items[0].role"),
        ({"items": [{"role": "user"}]}, "items[0].content"),
        ({"items": [{"type": "item_reference", "id": "msg_1"}]}, "items[0].id"),
        ({"items": {}}, "items"),
        ({"metadata": "topic"}, "metadata"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
    ],
)
def test_a_conversation_takes_in_nothing_that_would_spoil_it(client, body, param):
    """One bad item would refuse every later response."""
    conversation = client.conversations.create()
    ways = ["/conversations"]
    ways.append(f"/conversations/{conversation.id}" + ("/items" if "items" in body else ""))
    for path in ways:
        with pytest.raises(openai.BadRequestError) as caught:
            client.post(path, body=body, cast_to=object)
        assert caught.value.param == param
    assert client.responses.create(model=MODEL, input="x", conversation=conversation.id).status == "completed"


def test_a_conversation_is_no_previous_response(client):
    conversation = client.conversations.create()
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="x", previous_response_id=conversation.id)
    assert caught.value.code == "previous_response_not_found"


@pytest.mark.parametrize("given", [5, True, {"role": "user"}, [], "", openai.omit])
def test_compaction_refuses_what_is_no_input(client, given):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.compact(model=MODEL, input=given)
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        ({"finish": "SAFETY"}, 400, "content_filter"),
        ({"block": "SAFETY"}, 400, "content_filter"),
        ({"empty": "no_parts", "times": 3}, 502, "no_summary"),
    ],
)
def test_no_conversation_is_compacted_to_nothing(client, emulator, gateway, client_key, step, status, code):
    """What the attempt cost is metered all the same."""
    emulator.script(step)
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.compact(model=MODEL, input="A long plan.")
    assert (caught.value.status_code, caught.value.code) == (status, code)
    (row,) = gateway.row(client_key[0])
    assert row["input_tokens"] > 0


def test_an_id_of_any_length_is_unknown_and_no_failure_of_the_store(client):
    long = "resp_" + "x" * 3_000
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(long)
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.list(long)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=MODEL, input="x", conversation=long)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="x", previous_response_id=long)
    assert caught.value.code == "previous_response_not_found"


@pytest.mark.parametrize("limit", ["0", "101", "x", "9" * 5_000])
def test_a_page_has_a_sensible_size(client, limit):
    made = client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.BadRequestError) as caught:
        client.get(f"/responses/{made.id}/input_items?limit={limit}", cast_to=object)
    assert caught.value.param == "limit"


def test_counting_and_compaction(client, gateway, client_key):
    first = client.responses.create(model=MODEL, input="A long plan for a boat.")
    alone = client.responses.input_tokens.count(model=MODEL, input="Go on.").input_tokens
    after = client.responses.input_tokens.count(model=MODEL, input="Go on.", previous_response_id=first.id).input_tokens
    assert 0 < alone < after
    before = len(gateway.row(client_key[0]))
    compacted = client.responses.compact(model=MODEL, input="And sails.", previous_response_id=first.id)
    assert compacted.output[-1].type == "compaction"
    assert compacted.usage.output_tokens > 0
    assert len(gateway.row(client_key[0], before + 1)) == before + 1
    window = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
    answer = client.responses.create(model=MODEL, input=[*window, {"role": "user", "content": "Now?"}])
    assert "A long plan for a boat." in answer.output_text


def test_search_and_code(client, emulator):
    emulator.script({"text": "Found it.", "search": {"queries": ["boats"]}})
    found = client.responses.create(
        model=MODEL, input="x", tools=[{"type": "web_search"}], include=["web_search_call.action.sources"]
    )
    search = next(item for item in found.output if item.type == "web_search_call")
    assert search.action.queries == ["boats"]
    assert search.action.sources
    message = next(item for item in found.output if item.type == "message")
    assert message.content[0].annotations[0].url.startswith("https://")
    emulator.script({"code": {"code": "print(1)", "output": "1\n"}, "text": "It is 1."})
    ran = client.responses.create(
        model=MODEL,
        input="x",
        tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
        include=["code_interpreter_call.outputs"],
    )
    code = next(item for item in ran.output if item.type == "code_interpreter_call")
    assert (code.code, code.outputs[0].logs) == ("print(1)", "1\n")
    client.responses.create(model=MODEL, input="and?", previous_response_id=ran.id)
    assert "executableCode" in json.dumps(sent(emulator)[-1])


def test_images(client):
    answer = client.responses.create(
        model="gemini-3-pro-image-preview", input="Draw.", tools=[{"type": "image_generation"}]
    )
    image = next(item for item in answer.output if item.type == "image_generation_call")
    assert image.result.startswith("iVBOR")
    again = client.responses.create(
        model="gemini-3-pro-image-preview",
        input="Bluer.",
        previous_response_id=answer.id,
        tools=[{"type": "image_generation"}],
    )
    assert again.status == "completed"


def test_an_early_failure_is_a_status_and_a_late_one_an_event(client, gateway, client_key, emulator):
    emulator.script({"error": {"status": 503}, "times": 3})
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model=MODEL, input="x", stream=True)
    for step in ({"cut_after": 2}, {"error_after": {"chunks": 2, "form": "bare", "status": 503}}):
        emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 20, **step})
        events = list(client.responses.create(model=MODEL, input="x", stream=True))
        assert events[-1].type == "response.failed"
        assert events[-1].response.error.code == "server_error"
        assert client.responses.retrieve(events[-1].response.id).status == "failed"
    assert [row["cost_nano_usd"] > 0 for row in gateway.row(client_key[0], 3)] == [False, True, True]


def test_an_answer_cut_short_is_incomplete(client, emulator):
    emulator.script({"text": "half an", "finish": "MAX_TOKENS"})
    answer = client.responses.create(model=MODEL, input="x")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    emulator.script({"block": "SAFETY"})
    blocked = client.responses.create(model=MODEL, input="x")
    assert (blocked.status, blocked.incomplete_details.reason) == ("incomplete", "content_filter")
    assert blocked.output[0].content[0].type == "refusal"


def test_a_websocket_is_told_to_use_events(gateway):
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    headers["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    for given in (headers, {}):
        answer = httpx.get(f"{gateway.base_url}/v1/responses", headers=given)
        assert answer.status_code == 426
        assert answer.json()["error"]["code"] == "websocket_not_supported"


@pytest.mark.parametrize("carried", [False, True])
async def test_the_agents_sdk_runs_a_task_of_several_rounds(gateway, client_key, emulator, carried):
    from agents import ModelSettings

    set_tracing_disabled(True)
    asked = []

    @function_tool
    async def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        await asyncio.sleep(0)
        return f"dry in {city}"

    settings = ModelSettings(store=False, response_include=CARRIED) if carried else ModelSettings()
    async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1], max_retries=0) as client:
        agent = Agent(
            name="weather",
            instructions="Answer with the weather.",
            model=OpenAIResponsesModel(model=MODEL, openai_client=client),
            tools=[get_weather],
            model_settings=settings,
        )
        result = await Runner.run(agent, f"Weather, please.\n{directive(turns=TURNS)}")
        assert result.final_output == "All dry."
        streamed = Runner.run_streamed(agent, f"Weather, please.\n{directive(turns=TURNS)}")
        kinds = [event.type async for event in streamed.stream_events()]
    assert streamed.final_output == "All dry."
    assert "run_item_stream_event" in kinds
    assert sorted(asked) == sorted(["Paris", "Zürich", "Rome"] * 2)
    assert "skip_thought_signature_validator" not in json.dumps(sent(emulator))
