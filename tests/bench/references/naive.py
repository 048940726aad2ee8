"""Reference N: the gateway everybody would write first. FastAPI, httpx, and pydantic models both ways.

Serves PORT with uvicorn (asyncio, h11), asks UPSTREAM (host:port). Do not improve it: that would move the goals.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Message(BaseModel):
    role: str
    content: str | None = None


class ChatRequest(BaseModel):
    model: str
    messages: list[Message]
    stream: bool = False
    tools: list[dict[str, Any]] | None = None


class FunctionCall(BaseModel):
    id: str | None = None
    name: str
    args: dict[str, Any] = {}


class Part(BaseModel):
    text: str | None = None
    thought: bool = False
    functionCall: FunctionCall | None = None
    thoughtSignature: str | None = None


class Content(BaseModel):
    parts: list[Part] = []
    role: str = "model"


class Candidate(BaseModel):
    content: Content = Content()
    finishReason: str | None = None
    index: int = 0


class UsageMetadata(BaseModel):
    promptTokenCount: int = 0
    candidatesTokenCount: int = 0
    totalTokenCount: int = 0


class GeminiReply(BaseModel):
    candidates: list[Candidate] = []
    usageMetadata: UsageMetadata = UsageMetadata()
    modelVersion: str = ""
    responseId: str = ""


class Function(BaseModel):
    name: str
    arguments: str


class ToolCall(BaseModel):
    index: int
    id: str
    type: str = "function"
    function: Function


class Delta(BaseModel):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChunkChoice(BaseModel):
    index: int = 0
    delta: Delta
    logprobs: None = None
    finish_reason: str | None = None


class ChatChunk(BaseModel):
    id: str
    object: str = "chat.completion.chunk"
    created: int = 1
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class Answer(BaseModel):
    role: str = "assistant"
    content: str


class Choice(BaseModel):
    index: int = 0
    message: Answer
    logprobs: None = None
    finish_reason: str = "stop"


class ChatReply(BaseModel):
    id: str
    object: str = "chat.completion"
    created: int = 1
    model: str
    choices: list[Choice]
    usage: Usage


app = FastAPI()
client = httpx.AsyncClient(timeout=60)


def gemini_request(request: ChatRequest) -> dict[str, Any]:
    return {
        "contents": [
            {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content or ""}]}
            for message in request.messages
        ]
    }


def usage_of(reply: GeminiReply) -> Usage:
    counts = reply.usageMetadata
    return Usage(
        prompt_tokens=counts.promptTokenCount,
        completion_tokens=counts.candidatesTokenCount,
        total_tokens=counts.totalTokenCount,
    )


def chat_chunks(reply: GeminiReply, identifier: str, model: str) -> list[ChatChunk]:
    chunks = []
    candidate = reply.candidates[0]
    for part in candidate.content.parts:
        if part.functionCall is not None:
            call = part.functionCall
            function = Function(name=call.name, arguments=json.dumps(call.args))
            delta = Delta(tool_calls=[ToolCall(index=0, id=call.id or uuid.uuid4().hex, function=function)])
        elif part.thought:
            delta = Delta(reasoning_content=part.text)
        else:
            delta = Delta(content=part.text)
        chunks.append(ChatChunk(id=identifier, model=model, choices=[ChunkChoice(delta=delta)]))
    if candidate.finishReason is not None:
        choice = ChunkChoice(delta=Delta(), finish_reason="stop")
        chunks.append(ChatChunk(id=identifier, model=model, choices=[choice], usage=usage_of(reply)))
    return chunks


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/chat/completions", response_model=None)
async def chat(request: ChatRequest) -> Any:
    url = f"http://{os.environ['UPSTREAM']}/v1beta/models/{request.model}"
    identifier = f"chatcmpl-{uuid.uuid4().hex}"
    body = gemini_request(request)
    if request.stream:
        frames = streamed(url, body, identifier, request.model)
        return StreamingResponse(frames, media_type="text/event-stream")
    answer = await client.post(f"{url}:generateContent", json=body)
    reply = GeminiReply.model_validate(answer.json())
    text = "".join(part.text or "" for part in reply.candidates[0].content.parts)
    choice = Choice(message=Answer(content=text))
    return ChatReply(id=identifier, model=request.model, choices=[choice], usage=usage_of(reply))


async def streamed(url: str, body: dict[str, Any], identifier: str, model: str) -> AsyncIterator[str]:
    async with client.stream("POST", f"{url}:streamGenerateContent?alt=sse", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                reply = GeminiReply.model_validate_json(line[6:])
                for chunk in chat_chunks(reply, identifier, model):
                    yield f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="asyncio", http="h11", access_log=False)
