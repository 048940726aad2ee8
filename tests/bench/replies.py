"""What a client asks in each dialect, and what it reads from the reply: text, tool calls, finish, usage."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.bench.bodies import MODELS, Expected
from tests.bench.client import Answer, BadReply

DIALECTS = ("chat", "responses", "messages", "native")
_STAMP = re.compile(r"\[\d{10,20}\]")
_TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked, before a dialect gives it a form."""

    mode: str
    stream: bool
    texts: tuple[str, ...] = ("Tell me something about Zürich.",)  # user and model in turn
    tools: int = 0


def _tools(ask: Ask) -> list[dict[str, Any]]:
    first = [_TOOL] if ask.tools else []
    return first + [{**_TOOL, "name": f"tool_{number}"} for number in range(1, ask.tools)]


def _turns(ask: Ask, model_role: str) -> list[tuple[str, str]]:
    return [(model_role if number % 2 else "user", text) for number, text in enumerate(ask.texts)]


def body_of(dialect: str, ask: Ask) -> dict[str, Any]:
    model, tools = MODELS[ask.mode], _tools(ask)
    if dialect == "native":
        contents = [{"role": role, "parts": [{"text": text}]} for role, text in _turns(ask, "model")]
        return {"contents": contents} | ({"tools": [{"functionDeclarations": tools}]} if tools else {})
    messages = [{"role": role, "content": text} for role, text in _turns(ask, "assistant")]
    body: dict[str, Any] = {"model": model, "stream": ask.stream}
    if dialect == "chat":
        body["messages"] = messages
        if ask.stream:
            body["stream_options"] = {"include_usage": True}
        if tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in tools]
    elif dialect == "responses":
        body |= {"input": messages, "store": False}
        if tools:
            body["tools"] = [{"type": "function", **tool} for tool in tools]
    else:
        body |= {"messages": messages, "max_tokens": 8192}
        if tools:
            body["tools"] = [
                {"name": t["name"], "description": t["description"], "input_schema": t["parameters"]} for t in tools
            ]
    return body


def path_of(dialect: str, ask: Ask) -> str:
    if dialect == "native":
        return f"/v1beta/models/{MODELS[ask.mode]}:" + (
            "streamGenerateContent?alt=sse" if ask.stream else "generateContent"
        )
    return {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}[dialect]


def headers_of(dialect: str, key: str) -> dict[str, str]:
    named = {
        "chat": {"authorization": f"Bearer {key}"},
        "responses": {"authorization": f"Bearer {key}"},
        "messages": {"x-api-key": key, "anthropic-version": "2023-06-01"},
        "native": {"x-goog-api-key": key},
    }[dialect]
    return {"host": "127.0.0.1", "user-agent": "bench", "content-type": "application/json", **named}


def request_bytes(dialect: str, ask: Ask, key: str) -> bytes:
    body = json.dumps(body_of(dialect, ask), ensure_ascii=False).encode()
    lines = [f"POST {path_of(dialect, ask)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers_of(dialect, key).items()]
    lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass(slots=True)
class Read:
    text: str = ""
    calls: int = 0
    finished: bool = False
    usage: bool = False


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    """The `data:` of every server-sent event that is JSON."""
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data: {"):
            yield orjson.loads(line[6:])


def _chat_stream(body: bytes) -> Read:
    read, texts = Read(), []
    for event in _events(body):
        read.usage |= bool(event.get("usage"))
        for choice in event.get("choices", ()):
            delta = choice["delta"]
            texts.append(delta.get("content") or "")
            read.calls += sum(bool(call.get("id")) for call in delta.get("tool_calls") or ())
            read.finished |= choice.get("finish_reason") is not None
    read.text = "".join(texts)
    return read


def _chat_whole(body: bytes) -> Read:
    value = orjson.loads(body)
    choice = value["choices"][0]
    message = choice["message"]
    finished, usage = choice["finish_reason"] is not None, bool(value.get("usage"))
    return Read(message.get("content") or "", len(message.get("tool_calls") or ()), finished, usage)


def _responses_stream(body: bytes) -> Read:
    read, texts = Read(), []
    for event in _events(body):
        kind = event["type"]
        if kind == "response.output_text.delta":
            texts.append(event["delta"])
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            read.calls += 1
        elif kind == "response.completed":
            read.finished, read.usage = True, bool(event["response"].get("usage"))
    read.text = "".join(texts)
    return read


def _responses_whole(body: bytes) -> Read:
    value = orjson.loads(body)
    items = value["output"]
    texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
    calls = sum(item["type"] == "function_call" for item in items)
    return Read("".join(texts), calls, value["status"] == "completed", bool(value.get("usage")))


def _messages_stream(body: bytes) -> Read:
    read, texts = Read(), []
    for event in _events(body):
        kind = event["type"]
        if kind == "content_block_delta" and event["delta"]["type"] == "text_delta":
            texts.append(event["delta"]["text"])
        elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            read.calls += 1
        elif kind == "message_delta":
            read.finished |= event["delta"].get("stop_reason") is not None
            read.usage |= bool(event.get("usage"))
    read.text = "".join(texts)
    return read


def _messages_whole(body: bytes) -> Read:
    value = orjson.loads(body)
    texts = [block["text"] for block in value["content"] if block["type"] == "text"]
    calls = sum(block["type"] == "tool_use" for block in value["content"])
    return Read("".join(texts), calls, value["stop_reason"] is not None, bool(value.get("usage")))


def _native(chunks: list[dict[str, Any]]) -> Read:
    read, texts = Read(), []
    for chunk in chunks:
        read.usage |= "usageMetadata" in chunk
        for candidate in chunk.get("candidates", ()):
            read.finished |= "finishReason" in candidate
            for part in candidate.get("content", {}).get("parts", ()):
                read.calls += "functionCall" in part
                texts.append("" if part.get("thought") else part.get("text", ""))
    read.text = "".join(texts)
    return read


_READERS = {
    ("chat", True): _chat_stream,
    ("chat", False): _chat_whole,
    ("responses", True): _responses_stream,
    ("responses", False): _responses_whole,
    ("messages", True): _messages_stream,
    ("messages", False): _messages_whole,
    ("native", True): lambda body: _native(list(_events(body))),
    ("native", False): lambda body: _native([orjson.loads(body)]),
}


def verify(dialect: str, stream: bool, status: int, body: bytes, expected: Expected) -> None:
    """Raises BadReply unless the reply says exactly what the stub said."""
    if status != 200:
        raise BadReply(f"{dialect}: status {status}: {body[:300]!r}")
    try:
        read = _READERS[dialect, stream](body)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadReply(f"{dialect}: unreadable ({error!r}): {body[:300]!r}") from error
    text = _STAMP.sub("", read.text)
    if text != expected.text:
        at = next((n for n, (a, b) in enumerate(zip(text, expected.text, strict=False)) if a != b), len(expected.text))
        raise BadReply(f"{dialect}: other text at {at}: {text[at:][:60]!r} for {expected.text[at:][:60]!r}")
    if read.calls != expected.calls:
        raise BadReply(f"{dialect}: {read.calls} tool calls for {expected.calls}")
    if not read.finished or not read.usage:
        raise BadReply(f"{dialect}: finish reason or usage is missing")


def verify_answer(dialect: str, ask: Ask, answer: Answer, expected: Expected) -> None:
    verify(dialect, ask.stream, answer.status, answer.body, expected)
