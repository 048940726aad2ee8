"""What the tests of the request side share: one call for a translation, one for a refusal."""

from datetime import date
from typing import Any

import pytest

from shared.dialects.anthropic_messages.request import to_gemini
from shared.dialects.contract import RequestContext, Translation
from shared.errors import GatewayError
from shared.gemini.catalog import resolve

DAY = date(2026, 11, 21)
OLD = "gemini-2.5-flash"  # budget, sampling, no signatures demanded, JSON or tools
MID = "gemini-3-flash-preview"  # levels, sampling, prefill, signatures
NEW = "gemini-3.8-flash"  # levels, no sampling, no prefill, signatures

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
SIGNED = "c2lnbmF0dXJl"

HI: dict[str, Any] = {"role": "user", "content": "hi"}
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}


def context(model: str = NEW, **known: Any) -> RequestContext:
    signatures = known.pop("signatures", {})
    return RequestContext(resolve(model, DAY), signatures, **known)


def translate(body: dict[str, Any], model: str = NEW, **known: Any) -> Translation:
    """`body` needs neither model, messages nor max_tokens where a test is not about them."""
    return to_gemini({"model": model, "max_tokens": 8192, "messages": [HI], **body}, context(model, **known))


def request(body: dict[str, Any], model: str = NEW, **known: Any) -> dict[str, Any]:
    return dict(translate(body, model, **known).request)


def config(body: dict[str, Any], model: str = NEW, **known: Any) -> dict[str, Any]:
    return request(body, model, **known).get("generationConfig", {})


def contents(messages: list[dict[str, Any]], model: str = NEW, **known: Any) -> list[dict[str, Any]]:
    body = known.pop("body", {})
    return request({"messages": messages, **body}, model, **known)["contents"]


def functions(body: dict[str, Any], model: str = NEW) -> list[dict[str, Any]]:
    return [item for tool in request(body, model).get("tools", []) for item in tool.get("functionDeclarations", [])]


def refusal(body: dict[str, Any], model: str = NEW, **known: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        translate(body, model, **known)
    return caught.value


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(call_id: str, name: str = "weather", **args: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": args}


def result(call_id: str, content: Any = "sunny", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def image(data: str = PNG, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def pdf(**more: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    return {"type": "document", "source": source, **more}


def calls_of(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for content in contents for part in content["parts"] if "functionCall" in part]


def responses_of(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part["functionResponse"] for item in contents for part in item["parts"] if "functionResponse" in part]
