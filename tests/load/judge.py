"""What came back, judged against what was planned."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.sse import SseEvent, SseSplitter
from tests.load.traffic import Ending, Plan

Verdict = Literal["ok", "error", "left"]
# an answer of the gateway itself to trouble that other requests had upstream: cooling credentials, an open breaker
SHARED_TROUBLE = (429, 503, 529)


@dataclass(slots=True)
class Answer:
    """`left`: the client went away first. `status` 0: nothing came at all."""

    plan: Plan
    status: int = 0
    request_id: str = ""
    body: bytes = b""
    seconds: float = 0.0
    left: bool = False
    failure: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.left:
            return "left"
        if self.failure or self.status != 200:
            return "error"
        return "ok" if self.plan.ending == "body" or ended_well(self.plan.ending, self.body) else "error"


def ended_well(ending: Ending, body: bytes) -> bool:
    """Whether a stream has its dialect's own last word and no error."""
    splitter = SseSplitter()
    events = [*splitter.feed(body), *splitter.close()]
    match ending:
        case "chat":
            return (
                bool(events) and events[-1].data == b"[DONE]" and not any("error" in one for one in _read(events[:-1]))
            )
        case "responses":
            return bool(events) and events[-1].event in ("response.completed", "response.incomplete")
        case "messages":
            return bool(events) and events[-1].event == "message_stop" and all(one.event != "error" for one in events)
        case _:
            read = _read(events)
            ended = any(c.get("finishReason") for one in read for c in one.get("candidates", ()))
            blocked = any("promptFeedback" in one for one in read)
            return (ended or blocked) and not any("error" in one for one in read)


def _read(events: Sequence[SseEvent]) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in events]


def objection(answer: Answer) -> str:
    """Why this answer is wrong; empty where it is as planned, or where trouble of the upstream explains it."""
    plan, verdict = answer.plan, answer.verdict
    if verdict == "left":
        return ""
    if answer.status == 0:
        return f"no answer: {answer.failure}"
    if not answer.request_id:
        return "an answer without x-request-id"
    if plan.expected == "refusal":
        return "" if 400 <= answer.status < 500 else f"{answer.status} instead of a refusal"
    if plan.expected == "error":
        return "looks like a success" if verdict == "ok" else ""
    if plan.expected == "ok" and verdict == "error" and not shared_trouble(answer):
        return f"{answer.status} although the upstream did nothing: {answer.failure} {answer.body[-300:]!r}"
    if plan.limited and answer.status not in (200, *SHARED_TROUBLE):
        return f"{answer.status} for a key over its rate"
    return ""


def shared_trouble(answer: Answer) -> bool:
    """A refusal because of what the upstream did to others; counted apart and bounded."""
    return answer.verdict == "error" and answer.plan.expected == "ok" and answer.status in SHARED_TROUBLE
