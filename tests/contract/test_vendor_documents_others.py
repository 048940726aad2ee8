"""The requests of a vendor's document that are in Anthropic's language (AIStudioToAPI, API usage examples), sent to the
running gateway as they stand there, spaces included: only host and key are filled in."""

import json

import anthropic
import httpx
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from tests.running import Gateway

PATH = "/v1/messages"
CHAT = """{
    "model": "gemini-2.5-flash-lite",
    "max_tokens": 1024,
    "messages": [
      {
        "role": "user",
        "content": "你好,最近怎么样?"
      }
    ],
    "stream": false
  }"""
STREAM = """{
    "model": "gemini-2.5-flash-lite",
    "max_tokens": 1024,
    "messages": [
      {
        "role": "user",
        "content": "写一首关于秋天的诗"
      }
    ],
    "stream": true
  }"""
EVENT = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
def post(gateway: Gateway, client_key):
    """Sends a sample's body with the headers that the document gives."""

    def posted(text, key=client_key[1]):
        headers = {"Content-Type": "application/json", "x-api-key": key, "anthropic-version": "2023-06-01"}
        return httpx.post(gateway.base_url + PATH, content=text.encode(), headers=headers, timeout=30)

    return posted


def frames(answer):
    """(name, data) of every event; the name stands in the data too."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert [name for name, _ in found] == [data["type"] for _, data in found]
    return found


def assert_metered(gateway, kid, usage, stream):
    (row,) = gateway.row(kid)
    assert (row["dialect"], row["endpoint"], row["stream"], row["status"]) == (
        "anthropic_messages",
        "messages",
        stream,
        200,
    )
    assert (row["input_tokens"], row["output_tokens"]) == (usage.input_tokens, usage.output_tokens)
    assert row["cost_nano_usd"] > 0


def test_the_studios_message(post, gateway, client_key, emulator):
    answer = post(CHAT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    message = Message.model_validate(answer.json())
    assert [block.text for block in message.content] == ["Echo: 你好,最近怎么样?"]
    assert (message.type, message.role, message.model) == ("message", "assistant", "gemini-2.5-flash-lite")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    (record,) = emulator.requests
    assert record["body"]["contents"] == [{"role": "user", "parts": [{"text": "你好,最近怎么样?"}]}]
    assert record["body"]["generationConfig"]["maxOutputTokens"] == 1024
    assert record["credentials"] == [("x-goog-api-key", "test-upstream-key")]
    assert_metered(gateway, client_key[0], message.usage, stream=False)


def test_the_studios_streamed_message(post, gateway, client_key, emulator):
    emulator.script({"text": "秋 天 的 诗", "chunks": 4})
    answer = post(STREAM)
    events = [EVENT.validate_python(data) for name, data in frames(answer) if name != "ping"]
    names = [event.type for event in events]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names.count("content_block_delta") == 4
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta") == "秋 天 的 诗"
    assert (events[0].message.model, events[-2].delta.stop_reason) == ("gemini-2.5-flash-lite", "end_turn")
    assert_metered(gateway, client_key[0], events[-2].usage, stream=True)


@pytest.mark.parametrize("text", [CHAT, STREAM], ids=["message", "streamed message"])
def test_the_documents_placeholder_is_no_key(post, emulator, text):
    answer = post(text, key="your-api-key-1")
    assert answer.status_code == 401
    assert (answer.json()["type"], answer.json()["error"]["type"]) == ("error", "authentication_error")
    assert emulator.requests == []


@pytest.mark.parametrize("text", [CHAT, STREAM], ids=["message", "streamed message"])
def test_the_studios_messages_are_the_same_streamed_and_whole_to_the_official_sdk(gateway, emulator, text):
    request = json.loads(text)
    del request["stream"]
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=gateway.client_key, max_retries=0) as client:
        whole = client.messages.create(**request)
        with client.messages.stream(**request) as stream:
            streamed = stream.get_final_message()
    assert [block.text for block in whole.content] == [f"Echo: {request['messages'][0]['content']}"]
    assert [block.text for block in streamed.content] == [block.text for block in whole.content]
    assert (streamed.stop_reason, streamed.usage) == (whole.stop_reason, whole.usage)
    first, second = (record["body"] for record in emulator.requests)
    assert first == second
