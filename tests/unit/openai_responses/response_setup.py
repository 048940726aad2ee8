"""What the tests of this dialect share: a translation, a response, a sealer with known randomness."""

import json
from datetime import date
from itertools import count
from typing import Any

import pytest

from shared.dialects.contract import ReplyContext, RequestContext, Translation
from shared.dialects.openai_responses import fold, renderer, to_gemini
from shared.dialects.openai_responses.echo import echoed
from shared.dialects.openai_responses.options import ResponseOptions
from shared.errors import GatewayError
from shared.events import BlockDelta, BlockEnd, BlockStart, End, Event, Start, Usage
from shared.gateway.sealing import Sealer
from shared.gemini.catalog import resolve
from shared.sse import SseSplitter

CREATED = 1_795_000_000
DAY = date(2026, 11, 21)
OLD = "gemini-2.5-flash"
NEW = "gemini-3.8-flash"
IMAGES = "gemini-3-pro-image-preview"
ENCRYPTED = frozenset({"reasoning.encrypted_content"})
USAGE = Usage(prompt_tokens=10, cached_tokens=4, output_tokens=5, reasoning_tokens=3)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}}


def sealer(acct: str = "acct", start: int = 0) -> Sealer:
    numbers = count(start)
    return Sealer(b"pepper", acct, lambda size: next(numbers).to_bytes(size, "big"))


def translate(body: dict[str, Any], model: str = NEW, **known: Any) -> Translation:
    context = RequestContext(resolve(model, DAY), known.pop("signatures", {}), unseal=sealer().unseal, **known)
    return to_gemini({"model": model, "input": "hi", **body}, context)


def request(body: dict[str, Any], model: str = NEW, **known: Any) -> dict[str, Any]:
    return dict(translate(body, model, **known).request)


def contents(items: Any, model: str = NEW, **known: Any) -> list[dict[str, Any]]:
    return request({"input": items}, model, **known)["contents"]


def refusal(body: dict[str, Any], model: str = NEW, **known: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        translate(body, model, **known)
    return caught.value


def text(words: str, signature: str | None = None, index: int = 0) -> list[Event]:
    return [BlockStart(index, "text"), BlockDelta(index, words), BlockEnd(index, signature)]


def thought(words: str, index: int = 0) -> list[Event]:
    return [BlockStart(index, "reasoning"), BlockDelta(index, words), BlockEnd(index)]


def end(finish: Any = "stop", reason: str = "STOP", **more: Any) -> End:
    return End(finish, reason, USAGE, **more)


def spec(**options: Any) -> Translation:
    return Translation(request={}, stream=True, options=ResponseOptions(echo=echoed({}), family="3.8", **options))


def reply() -> ReplyContext:
    """An answer that ends 7 seconds after it was asked for."""
    return ReplyContext("01TESTREQUEST", CREATED, "asked-for", sealer().seal, clock=lambda: CREATED + 7)


def streamed(events: list[Event], **options: Any) -> list[dict[str, Any]]:
    """The stream's events, each checked to say its own name and number."""
    out = renderer(spec(**options), reply())
    raw = b"".join([out.feed(event) for event in [Start("r1", "gemini-3.8-flash"), *events]]) + out.close(USAGE)
    return read(raw)


def read(raw: bytes) -> list[dict[str, Any]]:
    splitter = SseSplitter()
    found = []
    for number, event in enumerate([*splitter.feed(raw), *splitter.close()]):
        data = json.loads(event.data)
        assert event.event == data["type"]
        assert data["sequence_number"] == number
        found.append(data)
    return found


def folded(events: list[Event], **options: Any) -> dict[str, Any]:
    return fold([[Start("r1", "gemini-3.8-flash"), *events]], spec(**options), reply(), USAGE)


def kinds(changes: list[dict[str, Any]]) -> list[str]:
    return [change["type"].removeprefix("response.") for change in changes]
