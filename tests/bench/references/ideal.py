"""Reference I: an OpenAI chat translator with nothing but the translation. Raw asyncio on both sides, orjson, and a
prebuilt template into which only the text is encoded. No authentication, validation, metering, limits or retries.

Serves PORT, asks UPSTREAM (host:port). Do not improve it: that would move the goals.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from typing import Any

import orjson

_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_BEFORE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":'
)
_AFTER = b'},"logprobs":null,"finish_reason":null}]}\n\n'
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ROLES = {"user": "user", "assistant": "model"}


def gemini_body(body: dict[str, Any]) -> bytes:
    contents = [
        {"role": _ROLES.get(message["role"], "user"), "parts": [{"text": message["content"]}]}
        for message in body["messages"]
    ]
    return orjson.dumps({"contents": contents})


def chat_chunk(chunk: dict[str, Any]) -> bytes:
    """One server-sent event, or several where the chunk has several parts."""
    candidate = chunk["candidates"][0]
    out = b""
    for part in candidate["content"]["parts"]:
        if "functionCall" in part:
            call = part["functionCall"]
            function = {"name": call["name"], "arguments": orjson.dumps(call["args"]).decode()}
            calls = [{"index": 0, "id": call["id"], "type": "function", "function": function}]
            out += _event({"tool_calls": calls}, None)
        elif part.get("thought"):
            out += _event({"reasoning_content": part["text"]}, None)
        else:
            out += _BEFORE + orjson.dumps(part["text"]) + _AFTER
    if "finishReason" in candidate:
        out += _event({}, "stop", _usage(chunk)) + b"data: [DONE]\n\n"
    return out


def _event(delta: dict[str, Any], finish: str | None, usage: dict[str, Any] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(value | ({"usage": usage} if usage else {})) + b"\n\n"


def chat_body(reply: dict[str, Any]) -> bytes:
    candidate = reply["candidates"][0]
    text = "".join(part["text"] for part in candidate["content"]["parts"])
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    value = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return orjson.dumps({**value, "usage": _usage(reply)})


def _usage(chunk: dict[str, Any]) -> dict[str, Any]:
    usage = chunk["usageMetadata"]
    return {
        "prompt_tokens": usage["promptTokenCount"],
        "completion_tokens": usage["candidatesTokenCount"],
        "total_tokens": usage["totalTokenCount"],
    }


type _Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_idle: list[_Connection] = []


async def _upstream(body: dict[str, Any], stream: bool) -> _Connection:
    """A kept or new connection on which the request is sent and the answer's head is read."""
    host, _, port = os.environ["UPSTREAM"].partition(":")
    reader, writer = _idle.pop() if _idle else await asyncio.open_connection(host, int(port))
    content = gemini_body(body)
    method = b"streamGenerateContent?alt=sse" if stream else b"generateContent"
    writer.write(
        b"POST /v1beta/models/%b:%b HTTP/1.1\r\nhost: upstream\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (body["model"].encode(), method, len(content), content)
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _pieces(reader: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """What has arrived of a chunked body, dechunked."""
    buffer = bytearray()
    while data := await reader.read(65_536):
        buffer += data
        pieces, at = [], 0
        while (line := buffer.find(b"\r\n", at)) >= 0:
            size = int(buffer[at:line], 16)
            if len(buffer) < line + 4 + size:
                break
            if size == 0:
                yield b"".join(pieces)
                return
            pieces.append(buffer[line + 2 : line + 2 + size])
            at = line + 4 + size
        del buffer[:at]
        yield b"".join(pieces)


async def _stream(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    connection = await _upstream(body, True)
    writer.write(_HEAD)
    rest = b""
    async for piece in _pieces(connection[0]):
        *events, rest = (rest + piece).split(b"\r\n\r\n")
        out = b"".join([chat_chunk(orjson.loads(event[6:])) for event in events])
        if out:
            writer.write(b"%x\r\n%b\r\n" % (len(out), out))
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    _idle.append(connection)


async def _buffered(body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    connection = await _upstream(body, False)
    whole = b"".join([piece async for piece in _pieces(connection[0])])
    answer = chat_body(orjson.loads(whole))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
    writer.write(head + answer)
    _idle.append(connection)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = orjson.loads(await reader.readexactly(int(length[1]) if length else 0))
            await (_stream if body.get("stream") else _buffered)(body, writer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has left
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
