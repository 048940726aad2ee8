"""The official Python SDK, unmodified, against the running gateway: what its users do, and what each request costs."""

import base64
import json
import struct
import zlib
from datetime import date
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from tests.running import Gateway

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(gateway: Gateway, client_key):
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1], max_retries=0) as made:
        yield made


def say(text, model="gemini-3.6-flash", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def directive(**keys):
    return "@emulator " + json.dumps(keys)


def usage_of(emulator_usage):
    return emulator_usage["prompt_tokens"], emulator_usage["completion_tokens"]


def test_a_buffered_chat(client, gateway, client_key):
    answer = client.chat.completions.create(**say("Say hello to the gateway."))
    assert "Say hello to the gateway." in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gemini-3.6-flash"
    (row,) = gateway.row(client_key[0])
    assert row["input_tokens"] == answer.usage.prompt_tokens > 0
    assert row["output_tokens"] == answer.usage.completion_tokens > 0
    assert row["reasoning_tokens"] == answer.usage.completion_tokens_details.reasoning_tokens
    factor = 2 if date.today() >= date(2027, 1, 1) else 1  # Google's announced price of this model
    assert row["cost_nano_usd"] == factor * (row["input_tokens"] * 750 + row["output_tokens"] * 3750)
    assert (row["status"], row["stream"], row["dialect"], row["finish_reason"]) == (200, False, "openai_chat", "STOP")


def test_a_stream(client, gateway, client_key, emulator):
    emulator.script({"text": "one two three four five six", "chunks": 4})
    stream = client.chat.completions.create(**say("count"), stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "one two three four five six"
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) == 4
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == (
        chunks[-1].usage.prompt_tokens,
        chunks[-1].usage.completion_tokens,
    )
    assert row["stream"] is True


@pytest.mark.parametrize("keeping", ["the message object", "ids only", "new ids"])
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.6-flash", "gemini-4-argon"])
def test_a_tool_loop_of_two_rounds(client, emulator, model, keeping):
    """Signatures are enforced upstream from 3 on; clients keep the message, or only what OpenAI defines, or not even
    the ids."""
    turns = [
        {
            "call": [
                {"name": "get_weather", "args": {"city": "Paris"}},
                {"name": "get_weather", "args": {"city": "Zürich"}},
            ]
        },
        {"call": [{"name": "get_weather", "args": {"city": "Rome"}}]},
        {"text": "All dry."},
    ]
    messages = [{"role": "user", "content": f"Weather, please.\n{directive(turns=turns)}"}]
    cities = []
    for _ in range(3):
        answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER]).choices[0]
        if answer.finish_reason == "stop":
            break
        assert answer.finish_reason == "tool_calls"
        calls = answer.message.tool_calls
        if keeping == "the message object":
            messages.append(answer.message)
        else:
            messages.append(
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": named(call.id, keeping), "type": "function", "function": call.function.model_dump()}
                        for call in calls
                    ],
                }
            )
        for call in calls:
            cities.append(json.loads(call.function.arguments)["city"])
            messages.append(
                {"role": "tool", "tool_call_id": named(call.id, keeping), "content": f"dry in {cities[-1]}"}
            )
    assert answer.message.content == "All dry."
    assert cities == ["Paris", "Zürich", "Rome"]
    assert all(len(call.id) <= 40 for call in calls)
    sent = json.dumps([record["body"] for record in emulator.requests])
    if model.startswith("gemini-2"):
        return
    assert "thoughtSignature" in sent
    assert "skip_thought_signature_validator" not in sent  # the real one was found each time


def named(call_id, keeping):
    if keeping == "ids only" or keeping == "the message object":
        return call_id
    return "own_" + call_id[-8:]


def test_streamed_tool_calls_accumulate(client, emulator):
    calls = [{"name": "get_weather", "args": {"city": city}} for city in ("Oslo", "Bern", "Rom")]
    for split in (False, True):
        emulator.script({"thoughts": "Hm.", "call": calls, "split": split})
        with client.chat.completions.stream(**say("go"), tools=[WEATHER], reasoning_effort="low") as stream:
            final = stream.get_final_completion().choices[0]
        assert final.finish_reason == "tool_calls"
        assert [json.loads(call.function.arguments)["city"] for call in final.message.tool_calls] == [
            "Oslo",
            "Bern",
            "Rom",
        ]
        assert final.message.reasoning_content == "Hm."
        assert len({call.id for call in final.message.tool_calls}) == 3


def png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width * 3 for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_an_image_question(client, emulator):
    url = "data:image/png;base64," + base64.b64encode(png(7, 5)).decode()
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = client.chat.completions.create(model="gemini-3.6-flash", messages=[{"role": "user", "content": content}])
    assert "image/png" in answer.choices[0].message.content
    assert "7" in answer.choices[0].message.content
    assert "5" in answer.choices[0].message.content


class Step(BaseModel):
    explanation: str
    output: str


class Solution(BaseModel):
    steps: list[Step]
    verdict: Literal["right", "wrong"]
    score: int


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.6-flash"])
def test_an_answer_in_a_json_schema(client, model):
    answer = client.chat.completions.parse(**say("Solve 8x + 7 = -23.", model), response_format=Solution)
    assert isinstance(answer.choices[0].message.parsed, Solution)


def test_several_choices_are_one_request_and_the_sum_of_their_costs(client, gateway, client_key, emulator):
    emulator.script({"text": "first"}, {"text": "second"}, {"text": "third"})
    answer = client.chat.completions.create(**say("give three"), n=3)
    assert sorted(choice.message.content for choice in answer.choices) == ["first", "second", "third"]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    (row,) = gateway.row(client_key[0])
    assert row["output_tokens"] == answer.usage.completion_tokens
    emulator.script({"text": "a", "chunks": 1}, {"text": "b", "chunks": 1})
    with client.chat.completions.stream(**say("give two"), n=2) as stream:
        final = stream.get_final_completion()
    assert sorted(choice.message.content for choice in final.choices) == ["a", "b"]


def test_more_stops_than_the_upstream_takes(client, emulator):
    emulator.script({"text": "alpha beta gamma delta", "chunks": 5})
    answer = client.chat.completions.create(**say("go"), stop=["1", "2", "3", "4", "5", "gamma"])
    assert answer.choices[0].message.content == "alpha beta "
    assert answer.choices[0].finish_reason == "stop"


def test_logprobs_where_the_model_has_them_and_null_where_not(client):
    with_them = client.chat.completions.create(**say("hi", "gemini-2.5-flash-lite"), logprobs=True, top_logprobs=2)
    assert with_them.choices[0].logprobs.content[0].bytes
    without = client.chat.completions.create(**say("hi", "gemini-3.6-flash"), logprobs=True, top_logprobs=2)
    assert without.choices[0].logprobs is None
    assert without.choices[0].message.content


def test_what_gemini_lacks_is_ignored_and_named(client):
    raw = client.chat.completions.with_raw_response.create(
        **say("hi"), frequency_penalty=0.5, logit_bias={"1": 1}, temperature=0.3, store=True, metadata={"a": "b"}
    )
    warnings = raw.headers["x-gateway-warnings"]
    assert {"ignored:frequency_penalty", "ignored:logit_bias", "ignored:temperature"} <= set(warnings.split(","))
    assert "metadata" not in warnings
    assert raw.parse().choices[0].message.content


def test_errors_have_openais_classes_codes_and_params(gateway, client, client_key):
    with pytest.raises(openai.AuthenticationError) as wrong_key:
        openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key="sk-wrong", max_retries=0).chat.completions.create(
            **say("x")
        )
    assert wrong_key.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as no_model:
        client.chat.completions.create(**say("x", "gpt-nonsense"))
    assert (no_model.value.code, no_model.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad_part:
        client.chat.completions.create(
            model="gemini-3.6-flash", messages=[{"role": "user", "content": [{"type": "smell"}]}]
        )
    assert bad_part.value.param == "messages[0].content[0].type"
    with pytest.raises(openai.BadRequestError) as range_error:
        client.chat.completions.create(**say("x"), temperature=7)
    assert range_error.value.param == "temperature"
    assert wrong_key.value.request_id
    assert gateway.rows(client_key[0]) == []  # nothing charged


@pytest.mark.parametrize(
    ("step", "error", "status"),
    [
        ({"error": {"status": 503}}, openai.InternalServerError, 503),
        ({"error": {"status": 500}}, openai.InternalServerError, 500),
        ({"error": {"status": 429, "kind": "per-day"}}, openai.RateLimitError, 429),
    ],
)
def test_upstream_failures_keep_their_status_and_cost_nothing(
    client, gateway, client_key, emulator, step, error, status
):
    emulator.script({**step, "times": 3})
    with pytest.raises(error) as caught:  # a model of its own: a spent quota makes the credential rest for it
        client.chat.completions.create(**say("x", "gemini-3.1-pro-preview"))
    assert caught.value.status_code == status
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["cost_nano_usd"]) == (status, 0)


def test_a_short_quota_wait_is_waited_out(client, emulator):
    emulator.script({"error": {"status": 429, "kind": "per-minute", "retry": 1}})
    assert client.chat.completions.create(**say("patience", "gemini-3.8-flash")).choices[0].message.content
    assert len(emulator.requests) == 2


def test_an_upstream_that_breaks_in_the_middle_is_an_error_never_an_answer(client, gateway, client_key, emulator):
    for step in ({"cut_after": 2}, {"reset_after": 2}, {"error_after": {"chunks": 2, "form": "bare", "status": 503}}):
        emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 20, **step})
        seen = ""
        with pytest.raises(openai.APIError):
            for chunk in client.chat.completions.create(**say("x"), stream=True):
                seen += chunk.choices[0].delta.content or ""
                assert chunk.choices[0].finish_reason is None
        assert seen
    assert len(gateway.row(client_key[0], 3)) == 3
    assert all(row["cost_nano_usd"] > 0 for row in gateway.rows(client_key[0]))


async def test_the_asynchronous_client_streams_too(gateway, client_key):
    async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1]) as client:
        stream = await client.chat.completions.create(**say("async"), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert "async" in text


def test_long_decode_hops_are_one_answer(client, gateway, client_key, emulator):
    emulator.script({"text": "part one and part two", "continuation": {"hops": 2, "token": "new"}})
    answer = client.chat.completions.create(**say("long", "gemini-4-argon"))
    assert answer.choices[0].finish_reason == "stop"
    assert len([record for record in emulator.requests if "continuationToken" in record["body"]]) >= 1
    (row,) = gateway.row(client_key[0])
    assert row["output_tokens"] == answer.usage.completion_tokens


def test_one_credential_and_no_client_key_reach_the_upstream(client, emulator, client_key):
    client.chat.completions.create(**say("secret"))
    (record,) = emulator.requests
    headers = {name.lower(): value for name, value in record["headers"].items()}
    assert headers["x-goog-api-key"] == "test-upstream-key"
    assert "authorization" not in headers
    assert client_key[1] not in json.dumps(record)
    assert "key=" not in str(record.get("query", ""))
