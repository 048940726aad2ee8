"""What the smoke test asks in each dialect, and how it knows a good answer. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# generous: a model that thinks spends from it before its first word
_MAX_TOKENS = 1000

Headers = Mapping[str, str]
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """`endpoint` is the name in usage rows; `text` of a buffered reply, empty where there is none; `ended` says whether
    a stream's events are complete; `refusal` whether a body is this dialect's error for a bad key."""

    name: str
    endpoint: str
    path: str
    stream_path: str
    headers: Callable[[str], Headers]
    body: Callable[[str, str, bool], Body]
    text: Callable[[Any], str]
    ended: Callable[[Sequence[Any]], bool]
    refusal: Callable[[Any], bool]


def bearer(key: str) -> Headers:
    return {"authorization": f"Bearer {key}"}


def _anthropic(key: str) -> Headers:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def _google(key: str) -> Headers:
    return {"x-goog-api-key": key}


def openai_refusal(body: Any) -> bool:
    return bool(body["error"]["code"] == "invalid_api_key" and body["error"]["message"])


def _chat_body(model: str, prompt: str, stream: bool) -> Body:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "max_completion_tokens": _MAX_TOKENS, "stream": stream}


def _responses_body(model: str, prompt: str, stream: bool) -> Body:
    return {"model": model, "input": prompt, "max_output_tokens": _MAX_TOKENS, "stream": stream, "store": False}


def _messages_body(model: str, prompt: str, stream: bool) -> Body:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "max_tokens": _MAX_TOKENS, "stream": stream}


def _native_body(model: str, prompt: str, stream: bool) -> Body:
    contents = [{"role": "user", "parts": [{"text": prompt}]}]
    return {"contents": contents, "generationConfig": {"maxOutputTokens": _MAX_TOKENS}}


def _responses_text(body: Any) -> str:
    parts = [part for item in body["output"] for part in item.get("content", ())]
    return "".join(part.get("text", "") for part in parts)


def _native_text(body: Any) -> str:
    return "".join(part.get("text", "") for part in body["candidates"][0]["content"]["parts"])


def _native_refusal(body: Any) -> bool:
    # the second is Google's own, where the deployment was told to speak like it
    return body["error"]["status"] in ("UNAUTHENTICATED", "INVALID_ARGUMENT")


DIALECTS = (
    Dialect(
        "chat",
        "chat",
        "/v1/chat/completions",
        "/v1/chat/completions",
        bearer,
        _chat_body,
        lambda body: str(body["choices"][0]["message"]["content"] or ""),
        lambda events: events[-1] == "[DONE]",
        openai_refusal,
    ),
    Dialect(
        "responses",
        "responses",
        "/v1/responses",
        "/v1/responses",
        bearer,
        _responses_body,
        _responses_text,
        lambda events: events[-1]["type"] == "response.completed",
        openai_refusal,
    ),
    Dialect(
        "messages",
        "messages",
        "/v1/messages",
        "/v1/messages",
        _anthropic,
        _messages_body,
        lambda body: "".join(block.get("text", "") for block in body["content"]),
        lambda events: events[-1]["type"] == "message_stop",
        lambda body: bool(body["error"]["type"] == "authentication_error"),
    ),
    Dialect(
        "native",
        "native",
        "/v1beta/models/{model}:generateContent",
        "/v1beta/models/{model}:streamGenerateContent?alt=sse",
        _google,
        _native_body,
        _native_text,
        lambda events: any("finishReason" in choice for choice in events[-1]["candidates"]),
        _native_refusal,
    ),
)

# path, headers, and the member of the body that lists models
MODEL_LISTS: tuple[tuple[str, str, Callable[[str], Headers], str], ...] = (
    ("models, OpenAI", "/v1/models", bearer, "data"),
    ("models, Anthropic", "/v1/models", _anthropic, "data"),
    ("models, Google", "/v1beta/models", _google, "models"),
)
EMBEDDINGS_PATH = "/v1/embeddings"


def embeddings_body(model: str) -> Body:
    return {"model": model, "input": "smoke"}
