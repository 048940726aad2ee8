"""Frames and answers as the official SDK reads them: its whole client, with the network replaced."""

import json
from collections.abc import Mapping
from typing import Any

import anthropic
import httpx2
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from pydantic import TypeAdapter

from shared.sse import SseSplitter

_EVENT = TypeAdapter(RawMessageStreamEvent)
_BETA_EVENT = TypeAdapter(BetaRawMessageStreamEvent)
ASK: dict[str, Any] = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


def client(
    status: int, content: bytes, headers: Mapping[str, str], seen: list[Any] | None = None, retries: int = 0
) -> anthropic.Anthropic:
    """An SDK client whose every request, noted in `seen`, gets this answer."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if seen is not None:
            seen.append(request)
        return httpx2.Response(status, content=content, headers=dict(headers))

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key="k", base_url="http://gateway.invalid", http_client=http, max_retries=retries)


def streaming(raw: bytes) -> anthropic.Anthropic:
    return client(200, raw, {"content-type": "text/event-stream; charset=utf-8"})


def read_by_sdk(raw: bytes) -> Message:
    with streaming(raw) as sdk, sdk.messages.stream(**ASK) as stream:
        return stream.get_final_message()


def read_by_beta_sdk(raw: bytes) -> BetaMessage:
    with streaming(raw) as sdk, sdk.beta.messages.stream(**ASK) as stream:
        return stream.get_final_message()


def plain(message: Message | BetaMessage) -> dict[str, Any]:
    """What was on the wire, without the fields that the accumulator adds by itself."""
    shown = message.to_dict(mode="json", exclude_unset=True)
    for block in shown["content"]:
        block.pop("parsed_output", None)
    if shown.get("stop_details") is None:
        shown.pop("stop_details", None)
    return shown


def pairs_of(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(event name, data) of every frame; each is valid under the SDK's own types."""
    splitter = SseSplitter()
    found = []
    for event in [*splitter.feed(raw), *splitter.close()]:
        data = json.loads(event.data)
        assert data["type"] == event.event
        if event.event not in ("ping", "error"):
            _EVENT.validate_python(data)
            _BETA_EVENT.validate_python(data)
        found.append((event.event, data))
    return found


def check_order(pairs: list[tuple[str, dict[str, Any]]]) -> None:
    """The order that accumulators rely on: one start, blocks without gaps and one at a time, one end, nothing after."""
    names = [name for name, _ in pairs]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert all(names.count(name) == 1 for name in ("message_start", "message_delta", "message_stop"))
    following, opened, kind = 0, None, ""
    for name, data in pairs[1:-2]:
        if name == "content_block_start":
            assert opened is None
            assert data["index"] == following
            opened, following, kind = data["index"], following + 1, data["content_block"]["type"]
        else:
            assert opened is not None
            assert data["index"] == opened
        if name == "content_block_stop":
            opened = None
        if name == "content_block_delta":
            assert data["delta"]["type"] in DELTAS[kind]
            assert all(data["delta"].values()), "a delta brings something"
    assert opened is None


DELTAS = {
    "text": ("text_delta", "citations_delta"),
    "thinking": ("thinking_delta", "signature_delta"),
    "tool_use": ("input_json_delta",),
    "server_tool_use": ("input_json_delta",),
}
