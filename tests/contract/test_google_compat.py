"""Google's own OpenAI prefix as a drop-in: the official SDK with Google's base URL path, and each thing that Google's
endpoint gets wrong."""

import json

import httpx
import openai
import pytest

from tests.contract.test_openai_python import WEATHER, directive, say
from tests.running import Gateway

CALLS = [{"name": "get_weather", "args": {"city": city}} for city in ("Oslo", "Bern")]


@pytest.fixture
def client(gateway: Gateway):
    base_url = f"{gateway.base_url}/v1beta/openai/"  # as Google's page writes it
    with openai.OpenAI(base_url=base_url, api_key=gateway.client_key, max_retries=0) as made:
        yield made


def config(emulator):
    return emulator.requests[-1]["body"]["generationConfig"]


def test_a_chat_and_its_row(gateway, client_key):
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1beta/openai", api_key=client_key[1], max_retries=0) as client:
        answer = client.chat.completions.create(**say("hello", "models/gemini-3.6-flash"))
    assert answer.choices[0].message.content == "Echo: hello"
    (row,) = gateway.row(client_key[0])
    assert (row["dialect"], row["endpoint"], row["model"]) == ("google_compat", "chat", "gemini-3.6-flash")


@pytest.fixture
def cache(gateway, emulator):
    """The name of a prompt that the client's account keeps at Google."""
    body = {"model": "models/gemini-3.6-flash", "contents": [{"role": "user", "parts": [{"text": "a long text"}]}]}
    headers = {"x-goog-api-key": gateway.client_key}
    return httpx.post(f"{gateway.base_url}/v1beta/cachedContents", headers=headers, json=body).json()["name"]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("camel", [True, False])
def test_the_extra_body_in_every_spelling(client, emulator, cache, nested, camel):
    thinking = {"thinkingLevel": "low", "includeThoughts": True}
    google = {"thinkingConfig": thinking, "cachedContent": cache}
    if not camel:
        google = {"thinking_config": {"thinking_level": "low", "include_thoughts": True}, "cached_content": cache}
    extra = {"extra_body": {"google": google}} if nested else {"google": google}
    answer = client.chat.completions.create(**say("think"), extra_body=extra)
    assert config(emulator)["thinkingConfig"] == {"thinkingLevel": "LOW", "includeThoughts": True}
    assert emulator.requests[-1]["body"]["cachedContent"] == cache
    assert answer.choices[0].message.reasoning_content
    assert "<thought>" not in answer.choices[0].message.content


@pytest.mark.parametrize("stream", [True, False])
def test_a_cached_content_of_another_account_is_an_unknown_one(gateway, client_key, emulator, cache, stream):
    refusals = []
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1], max_retries=0) as stranger:
        for name in (cache, "cachedContents/none"):
            extra = {"google": {"cached_content": name}}
            asked = len(emulator.requests)
            with pytest.raises(openai.NotFoundError) as refused:
                stranger.chat.completions.create(**say("what is it about?"), stream=stream, extra_body=extra)
            with pytest.raises(openai.NotFoundError):
                stranger.responses.create(model="gemini-3.6-flash", input="q", stream=stream, extra_body=extra)
            assert len(emulator.requests) == asked
            refusals.append((refused.value.param, refused.value.message.partition(" (request id")[0]))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == "google.cached_content"


def test_what_googles_chat_ignores_or_lacks_in_the_extra_body(client, emulator):
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    google = {"safety_settings": safety, "tools": [{"google_search": {}}, {"url_context": {}}]}
    client.chat.completions.create(**say("search"), extra_body={"extra_body": {"google": google}})
    body = emulator.requests[-1]["body"]
    assert body["safetySettings"] == safety
    assert body["tools"] == [{"googleSearch": {}}, {"urlContext": {}}]


def test_an_effort_beside_googles_own_thinking_is_no_error(client, emulator):
    google = {"thinking_config": {"thinking_level": "high"}}
    client.chat.completions.create(**say("x"), reasoning_effort="low", extra_body={"google": google})
    assert config(emulator)["thinkingConfig"]["thinkingLevel"] == "HIGH"


def test_the_fields_that_google_refuses(client):
    given = {"frequency_penalty": 0.1, "metadata": {"a": "b"}, "store": False, "parallel_tool_calls": True}
    assert client.chat.completions.create(**say("hi"), tools=[WEATHER], **given).choices[0].message.content


def test_streamed_calls_have_indexes_ids_and_the_right_end(client, emulator):
    emulator.script({"call": CALLS, "split": True})
    usages = {"include_usage": True}
    chunks = list(client.chat.completions.create(**say("go"), tools=[WEATHER], stream=True, stream_options=usages))
    heads = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or [] if call.id]
    assert [head.index for head in heads] == [0, 1]
    assert len({head.id for head in heads}) == 2
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_a_signature_may_come_back_in_googles_place_and_need_not(client, emulator):
    asked = {"role": "user", "content": directive(turns=[{"call": CALLS}, {"text": "Dry."}])}
    first = client.chat.completions.create(model="gemini-3.6-flash", messages=[asked], tools=[WEATHER])
    message = first.choices[0].message
    signature = message.tool_calls[0].extra_content["google"]["thought_signature"]
    for keep in (True, False):
        calls = [call.model_dump() for call in message.tool_calls]
        if not keep:
            calls = [{name: value for name, value in call.items() if name != "extra_content"} for call in calls]
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "dry"} for call in calls]
        history = [asked, {"role": "assistant", "tool_calls": calls}, *results]
        answer = client.chat.completions.create(model="gemini-3.6-flash", messages=history, tools=[WEATHER])
        assert answer.choices[0].message.content == "Dry."
        (step,) = [content for content in emulator.requests[-1]["body"]["contents"] if content["role"] == "model"]
        assert step["parts"][0]["thoughtSignature"] == signature


def test_errors_are_openais_object(gateway, client):
    answer = httpx.post(
        f"{gateway.base_url}/v1beta/openai/chat/completions",
        json=say("x", "no-such-model"),
        headers={"authorization": f"Bearer {gateway.client_key}"},
    )
    assert answer.status_code == 404
    assert set(json.loads(answer.text)["error"]) == {"message", "type", "param", "code"}
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(**say("x", "no-such-model"))
    assert unknown.value.code == "model_not_found"


def test_the_models(client):
    listed = [model.id for model in client.models.list()]
    assert "gemini-3.8-flash" in listed
    assert not any(name.startswith("models/") for name in listed)
    for name in ("gemini-3.8-flash", "models/gemini-3.8-flash"):
        assert client.models.retrieve(name).id == "gemini-3.8-flash"
    for name in ("no-such-model", "gemini-99-pro"):  # the second has no price, and a request for it is refused
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)


def test_embeddings_and_images_under_the_prefix(client):
    vectors = client.embeddings.create(model="gemini-embedding-001", input=["a", "b"]).data
    assert [item.index for item in vectors] == [0, 1]
    assert all(item.embedding for item in vectors)
    image = client.images.generate(model="gemini-3.1-flash-image", prompt="a cat", response_format="b64_json").data[0]
    assert image.b64_json


def test_the_responses_that_googles_prefix_lacks(client):
    first = client.responses.create(model="gemini-3.6-flash", input="hello")
    assert first.output_text == "Echo: hello"
    assert client.responses.retrieve(first.id).output_text == "Echo: hello"
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
