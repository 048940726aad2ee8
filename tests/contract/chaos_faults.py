"""Everything that can go wrong at the upstream, as steps of the emulator, and what a client must get for each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# one credential's text hidden in an error, as Google's DebugInfo once carried it
LEAKED = "AIzaSyChaosCanaryInDebugInfo00000000000"

# what the outcome is called -> the status in OpenAI's, Anthropic's and Google's dialects and in apigpt's document
STATUS: Mapping[str, tuple[int, int, int, int]] = {
    "bad request": (400, 400, 400, 400),
    "no model": (404, 404, 404, 404),
    "too large": (413, 413, 413, 413),
    "quota": (429, 429, 429, 429),
    "internal": (500, 500, 500, 500),
    "gateway": (502, 502, 502, 500),
    "overloaded": (503, 529, 503, 529),
    "timeout": (504, 504, 504, 500),
    "model's fault": (502, 500, 502, 500),
}
Step = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """`outcome` is a name in STATUS, or "broken": an error after the answer began, for a client that reads a stream.
    `step` gets whether the upstream's answer is a stream. `calls` is how often the upstream must be asked; `streamed`:
    only streams of the upstream can have it; `whole`: only answers in one piece. `everywhere`: worth trying on
    paths that share their way with others; `only`: these paths are enough."""

    name: str
    outcome: str
    step: Callable[[bool], Step]
    calls: int = 1
    streamed: bool = False
    whole: bool = False
    everywhere: bool = False
    only: tuple[str, ...] = ()

    @property
    def retried(self) -> bool:
        return self.outcome in ("internal", "overloaded", "timeout") or (self.outcome == "gateway" and self.calls == 3)


def always(**keys: Any) -> Callable[[bool], Step]:
    return lambda streamed: keys


def error(status: int, **keys: Any) -> Callable[[bool], Step]:
    return always(error={"status": status, **keys})


def raw(body: str, **keys: Any) -> Callable[[bool], Step]:
    """A 200 with this body, as an event or as the whole of it."""

    def step(streamed: bool) -> Step:
        if streamed:
            return {"raw": {"type": "text/event-stream", "body": f"data: {body}\n\n" if body else "", **keys}}
        return {"raw": {"body": body, **keys}}

    return step


def page(status: int, body: str, **headers: str) -> Callable[[bool], Step]:
    return always(raw={"status": status, "type": "text/html", "body": body, "headers": headers})


_HTML = "<html><body>nginx secret-upstream-host</body></html>"
_DEBUG = {
    "error": {
        "code": 401,
        "message": f"Bad credential {LEAKED}",
        "status": "UNAUTHENTICATED",
        "details": [{"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": f"api_key:{LEAKED}"}],
    }
}
_LONG = {"text": "a b c d e f g h", "chunks": 8}


def broken(**keys: Any) -> Callable[[bool], Step]:
    return always(**_LONG, **keys)


BEFORE = (
    Fault("connection reset before the status", "gateway", always(hang_up=True), calls=3, everywhere=True),
    Fault("408", "timeout", error(408), calls=3),
    Fault("500", "internal", error(500), calls=3),
    Fault("502", "gateway", error(502), calls=3),
    Fault("503", "overloaded", error(503), calls=3, everywhere=True),
    Fault("504", "timeout", error(504), calls=3),
    Fault("529", "overloaded", error(529), calls=3),
    Fault("499", "gateway", error(499)),
    Fault("418", "gateway", error(418)),
    Fault("302 to another host", "gateway", page(302, "", location="http://127.0.0.1:9/elsewhere")),
    Fault("502 as HTML", "gateway", page(502, _HTML), calls=3),
    Fault("403 as HTML", "gateway", page(403, _HTML)),
    Fault("pool key invalid", "gateway", error(400, kind="key"), calls=3, everywhere=True),
    Fault("pool key leaked", "gateway", error(403, kind="leaked"), calls=3),
    Fault("pool key forbidden", "gateway", error(403), calls=3),
    Fault(
        "401 with the key in DebugInfo",
        "gateway",
        always(raw={"status": 401, "body": json.dumps(_DEBUG)}),
        calls=3,
        everywhere=True,
    ),
    Fault("400", "bad request", error(400), everywhere=True),
    Fault("404", "no model", error(404)),
    Fault("413", "too large", error(413)),
    Fault("429 with RetryInfo of 25 s", "quota", error(429, retry=25), calls=3),
    Fault("429 without details", "quota", error(429, kind="short"), calls=3),
    Fault("429 of the day", "quota", error(429, kind="per-day"), calls=3, everywhere=True),
    Fault("200 with malformed JSON", "gateway", raw('{"candidates": [{"con'), everywhere=True),
    Fault("200 with an array", "gateway", raw("[1, 2]")),
    Fault("200 with an empty body", "gateway", raw("")),
    Fault("200 as HTML", "gateway", page(200, _HTML)),
    Fault("200 with an error object", "overloaded", raw(json.dumps({"error": {"code": 503, "message": "m"}})), calls=3),
    Fault("200 with a body cut short", "gateway", always(cut_after=1), whole=True, only=("gemini_native", "speech")),
    Fault("200, reset in its body", "gateway", always(reset_after=1), whole=True, only=("gemini_native", "speech")),
    Fault("no answer in time", "timeout", always(raw={"body": "{}"}, silence_ms=4000), calls=3, everywhere=True),
)
DURING = (
    Fault("end before the first chunk", "gateway", broken(cut_after=0), streamed=True),
    Fault("malformed call", "model's fault", always(finish="MALFORMED_FUNCTION_CALL"), calls=2, streamed=True),
    Fault("end without finishReason", "broken", broken(cut_after=2), streamed=True, everywhere=True),
    Fault("connection reset in a chunk", "broken", broken(reset_after=2), streamed=True, everywhere=True),
    Fault("error, bare", "broken", broken(error_after={"chunks": 2, "form": "bare"}), streamed=True),
    Fault("error as an event", "broken", broken(error_after={"chunks": 2, "form": "data"}), streamed=True),
    Fault("error in an array", "broken", broken(error_after={"chunks": 2, "form": "array"}), streamed=True),
    Fault(
        "error after STOP",
        "broken",
        broken(error_after={"chunks": 8, "form": "data", "after_stop": True}),
        streamed=True,
    ),
    Fault("event that is no JSON", "broken", broken(garbage_after={"chunks": 2}), streamed=True, everywhere=True),
    Fault("silence in the middle", "broken", broken(silence_after={"chunks": 2, "ms": 4000}), streamed=True),
)
FAULTS = BEFORE + DURING
