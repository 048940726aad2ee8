"""What the tests of the request side share: one call for a translation, one for a refusal."""

from datetime import date
from typing import Any

import pytest

from shared.dialects.contract import RequestContext, Translation
from shared.dialects.openai_chat.request import to_gemini
from shared.errors import GatewayError
from shared.gemini.catalog import resolve

DAY = date(2026, 11, 21)
OLD = "gemini-2.5-flash"  # budget, sampling, no signatures demanded, JSON or tools
MID = "gemini-3-flash-preview"  # levels, sampling, prefill, signatures
NEW = "gemini-3.8-flash"  # levels, no sampling, no prefill, signatures

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="

HI: dict[str, Any] = {"role": "user", "content": "hi"}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def context(model: str = NEW, **known: Any) -> RequestContext:
    signatures = known.pop("signatures", {})
    return RequestContext(resolve(model, DAY), signatures, **known)


def translate(body: dict[str, Any], model: str = NEW, **known: Any) -> Translation:
    """`body` needs neither model nor messages where a test is not about them."""
    return to_gemini({"model": model, "messages": [HI], **body}, context(model, **known))


def request(body: dict[str, Any], model: str = NEW, **known: Any) -> dict[str, Any]:
    return dict(translate(body, model, **known).request)


def config(body: dict[str, Any], model: str = NEW, **known: Any) -> dict[str, Any]:
    return request(body, model, **known).get("generationConfig", {})


def contents(messages: list[dict[str, Any]], model: str = NEW, **known: Any) -> list[dict[str, Any]]:
    return request({"messages": messages}, model, **known)["contents"]


def refusal(body: dict[str, Any], model: str = NEW, **known: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        translate(body, model, **known)
    return caught.value


def calls(*entries: tuple[str, str, str], **extra: Any) -> dict[str, Any]:
    """An assistant message with calls (id, name, arguments)."""
    listed = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in entries]
    return {"role": "assistant", "content": None, "tool_calls": listed, **extra}


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}
