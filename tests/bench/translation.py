"""Goal 4: microseconds per chunk of translation alone, per dialect, beside dict + the standard library's JSON.

`python -m tests.bench.translation` prints {"baseline": us, "chat": us, ...}. A chunk goes the gateway's whole way from
the upstream's bytes to the client's: split, parse, read, shape, render. The baseline does the least that is right.
"""

import json
import time
from collections.abc import Callable
from datetime import date
from typing import Any

from shared.dialects import anthropic_messages, openai_chat, openai_responses
from shared.dialects.contract import ReplyContext, RequestContext
from shared.events import Usage
from shared.gateway.shaping import Shaper
from shared.gemini.catalog import resolve
from shared.gemini.reader import ReplyReader
from shared.gemini.upstream_stream import read_chunk
from shared.sse import SseSplitter
from tests.bench import bodies
from tests.bench.replies import Ask, body_of

_DIALECTS: dict[str, Any] = {"chat": openai_chat, "responses": openai_responses, "messages": anthropic_messages}
_REPEATS = 7


def _baseline() -> int:
    size = 0
    for event in bodies.stream_events("fast"):
        text = json.loads(event[6:])["candidates"][0]["content"]["parts"][0]["text"]
        choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        size += len(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    return size


def _through(name: str) -> Callable[[], int]:
    dialect = _DIALECTS[name]
    model = resolve(bodies.MODELS["fast"], date(2026, 1, 1))
    context = RequestContext(
        model=model,
        signatures={},
        strict=False,
        safety_off=False,
        max_output_tokens=None,
        api_version="",
        strict_version=False,
        fast_as_priority=False,
    )
    translation = dialect.to_gemini(body_of(name, Ask("fast", stream=True)), context)

    def run() -> int:
        splitter, reader = SseSplitter(), ReplyReader()
        shaper = Shaper(translation, lambda: "call_1")
        renderer = dialect.renderer(translation, ReplyContext("0" * 26, 1, "m", seal=None, shown_id="x"))
        size = 0
        for wire in bodies.stream_events("fast"):
            for event in splitter.feed(wire):
                for shaped in shaper.feed_all(reader.feed(read_chunk(event))):
                    size += len(renderer.feed(shaped, 0))
        for shaped in shaper.feed_all(reader.close()):
            size += len(renderer.feed(shaped, 0))
        return size + len(renderer.close(Usage()))

    return run


def _best_us(work: Callable[[], int]) -> float:
    """Of several runs the quickest: what disturbs a run only ever adds."""
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.process_time_ns()
        for _ in range(5):
            work()
        best = min(best, (time.process_time_ns() - began) / 5)
    return best / bodies.CHUNKS / 1e3


def main() -> None:
    figures = {"baseline": _best_us(_baseline)}
    figures |= {name: _best_us(_through(name)) for name in _DIALECTS}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
