"""The official Python SDK of Anthropic, unmodified, with tools of its own: signatures are enforced upstream, and find
their way back however a client keeps its history."""

import json

import anthropic
import pytest
from anthropic import beta_tool

from tests.running import Gateway

FLASH, ARGON = "gemini-3.6-flash", "gemini-4-argon"
SENTINEL = "skip_thought_signature_validator"
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
THINKING = {"type": "enabled", "budget_tokens": 2048}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKMSAwIG9iajw8L1R5cGUvQ2F0YWxvZz4+ZW5kb2JqCnRyYWlsZXI8PC9Sb290IDEgMCBSPj4KJSVFT0YK"


@pytest.fixture
def client(gateway: Gateway, emulator):
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=gateway.client_key, max_retries=0) as made:
        yield made


def say(content, model=FLASH, max_tokens=4096, **more):
    return {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": content}], **more}


def directive(**keys):
    return "@emulator " + json.dumps(keys)


def sent(emulator):
    return json.dumps([record["body"] for record in emulator.requests])


CITIES = ["Paris", "Zürich", "Rome", "Oslo"]
ROUNDS = [
    {"thoughts": "Two at once.", "call": [{"name": "get_weather", "args": {"city": city}} for city in CITIES[:2]]},
    {"thoughts": "One more.", "text": "So far dry.", "call": {"name": "get_weather", "args": {"city": "Rome"}}},
    {"call": [{"name": "get_weather", "args": {"city": "Oslo"}}, {"name": "get_time", "args": {}}]},
    {"text": "All dry."},
]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("thinking", [None, THINKING, {"type": "adaptive", "display": "omitted"}], ids=str)
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_the_tool_runner_runs_three_rounds(client, emulator, model, thinking, streamed):
    """The upstream refuses calls without their signature, and no round makes do with a stand-in."""
    asked = []

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"dry in {city}"

    @beta_tool
    def get_time() -> str:
        """The time of day."""
        asked.append("time")
        return "noon"

    request = say(f"Weather, please.\n{directive(turns=ROUNDS)}", model)
    if thinking:
        request["thinking"] = thinking
    runner = client.beta.messages.tool_runner(**request, tools=[get_weather, get_time], stream=streamed)
    if streamed:
        answers = [turn.get_final_message() for turn in runner]
    else:
        answers = list(runner)
    assert [answer.stop_reason for answer in answers] == ["tool_use", "tool_use", "tool_use", "end_turn"]
    assert answers[-1].content[-1].text == "All dry."
    assert sorted(asked) == sorted([*CITIES, "time"])
    ids = [block.id for answer in answers for block in answer.content if block.type == "tool_use"]
    assert len(set(ids)) == 5
    assert all(len(one) <= 40 for one in ids)
    assert_signatures_came_back(emulator)


def assert_signatures_came_back(emulator):
    assert [record["status"] for record in emulator.requests] == [200] * len(emulator.requests)
    assert "thoughtSignature" in json.dumps(emulator.requests[-1]["body"]["contents"])
    assert SENTINEL not in sent(emulator)
    calls, results = [], []
    for content in emulator.requests[-1]["body"]["contents"]:
        calls += [part["functionCall"].get("id") for part in content["parts"] if "functionCall" in part]
        results += [part["functionResponse"].get("id") for part in content["parts"] if "functionResponse" in part]
    assert calls == results


def converse(clients, model, keeping, **more):
    """Four rounds without the runner; each request goes out by the next of the clients."""
    messages = [{"role": "user", "content": f"Weather, please.\n{directive(turns=ROUNDS)}"}]
    tools = [WEATHER, {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}]
    for number in range(4):
        client = clients[number % len(clients)]
        answer = client.messages.create(model=model, max_tokens=4096, messages=messages, tools=tools, **more)
        if answer.stop_reason == "end_turn":
            break
        calls = [block for block in answer.content if block.type == "tool_use"]
        messages.append({"role": "assistant", "content": keeping(answer.content)})
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "dry"} for call in calls]
        messages.append({"role": "user", "content": results})
    assert answer.content[-1].text == "All dry."


def ids_only(content):
    return [
        {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
        for block in content
        if block.type == "tool_use"
    ]


@pytest.mark.parametrize("thinking", [None, THINKING], ids=str)
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_calls_rebuilt_from_their_ids_find_their_signatures_in_the_store(client, emulator, model, thinking):
    converse([client], model, ids_only, **({"thinking": thinking} if thinking else {}))
    assert_signatures_came_back(emulator)


@pytest.mark.parametrize("display", ["summarized", "omitted"])
@pytest.mark.parametrize("model", [FLASH, ARGON])
def test_the_envelope_alone_carries_the_signatures(client, gateway, client_key, emulator, model, display):
    """Two keys take turns: what one of them stored, the other cannot read."""
    thinking = {"type": "enabled", "budget_tokens": 2048, "display": display}
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=client_key[1], max_retries=0) as other:
        converse([client, other], model, lambda content: content, thinking=thinking)
    assert "thoughtSignature" in sent(emulator)
    assert SENTINEL not in sent(emulator)


def test_a_foreign_signature_is_no_reason_to_fail(client, emulator):
    content = [
        {"type": "thinking", "thinking": "Elsewhere.", "signature": "ErUBCkYIBRgCIkD" * 9},
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix" * 3},
        {"type": "tool_use", "id": "toolu_01" + "A" * 22, "name": "get_weather", "input": {"city": "Rome"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "toolu_01" + "A" * 22, "content": "dry", "is_error": True}
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(model=FLASH, max_tokens=4096, messages=turns, tools=[WEATHER], thinking=THINKING)
    assert answer.stop_reason == "end_turn"
    assert "Elsewhere." not in sent(emulator)
    assert SENTINEL in sent(emulator)


def test_the_choice_of_tools(client, emulator):
    forced = client.messages.create(**say("go"), tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"})
    assert [block.name for block in forced.content if block.type == "tool_use"] == ["get_weather"]
    emulator.script({"call": [{"name": "get_weather", "args": {"city": city}} for city in CITIES]})
    one = client.messages.create(
        **say("go"), tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    )
    assert [block.type for block in one.content] == ["tool_use"]


@pytest.mark.parametrize("model", [FLASH, "gemini-2.5-flash"])
def test_tool_results_with_an_image_and_a_document(client, emulator, model):
    ask = say(f"Look.\n{directive(call={'name': 'get_weather', 'args': {'city': 'Rome'}})}", model, tools=[WEATHER])
    answer = client.messages.create(**ask)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    content = [{"type": "text", "text": "a picture"}, image, document]
    result = {"type": "tool_result", "tool_use_id": answer.content[-1].id, "content": content}
    ask["messages"] += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**ask).stop_reason == "end_turn"
    contents = json.dumps(emulator.requests[-1]["body"]["contents"][-1])
    assert "a picture" in contents
    assert PIXEL in contents
    assert PDF in contents
