"""Steps: what a test can make the next answer be, written in the prompt or sent to the control endpoint.

The README of this package documents every key; `KEYS` is the closed list.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

from infra.local.emulator.conversation import results_of, role_of, turns_of
from infra.local.emulator.errors import invalid

type Step = dict[str, Any]
type Json = dict[str, Any]

KEYS = frozenset(
    {
        # what is said
        *("text", "thoughts", "call", "split", "json", "image", "audio", "search", "code", "chunks", "logprobs"),
        *("finish", "finish_message", "block", "empty", "continuation", "turns"),
        # how it is written
        *("error", "cut_after", "reset_after", "error_after", "pace_ms", "silence_ms", "silence_after", "awkward"),
        *("raw", "hang_up", "garbage_after"),
        *("usage", "drop", "doubled_finish", "late_finish", "model_version", "service_tier", "unsigned"),
        # when it applies
        *("times", "match"),
    }
)

GENERATING = ("generateContent", "streamGenerateContent")
_MARK = "@emulator"


def checked(step: Any) -> Step:
    """The step itself; a TypeError or ValueError says what is wrong with it."""
    if not isinstance(step, dict):
        raise TypeError("a step is a JSON object")
    unknown = sorted(set(step) - KEYS)
    if unknown:
        raise ValueError(f"unknown step key: {', '.join(unknown)}")
    for turn in step.get("turns", []):
        checked(turn)
    return step


def last_user_text(contents: list[Json]) -> str:
    """Text of the last user content that is not only function results, without directives."""
    for content in reversed(contents):
        if role_of(content) == "user":
            text = text_of(content)
            if text.strip() or not results_of(content):
                return strip(text)
    return ""


def text_of(content: Json) -> str:
    return "\n".join(
        part["text"] for part in content.get("parts") or [] if part.get("text") and not part.get("thought")
    )


def strip(text: str) -> str:
    """`text` without its directive."""
    found = _locate(text)
    if not found:
        return text
    start, end, _ = found
    return (text[:start].rstrip() + " " + text[end:].lstrip()).strip()


def _locate(text: str) -> tuple[int, int, Step | Exception] | None:
    start = text.find(_MARK)
    if start < 0:
        return None
    at = start + len(_MARK)
    rest = text[at:]
    lead = len(rest) - len(rest.lstrip())
    if rest.lstrip().startswith("{"):
        try:
            step, length = json.JSONDecoder().raw_decode(rest.lstrip())
            return start, at + lead + length, checked(step)
        except (TypeError, ValueError) as exc:
            return start, len(text), exc
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    try:
        return start, line_end, words(text[at:line_end])
    except (TypeError, ValueError) as exc:
        return start, line_end, exc


_SECONDS = r"(\d+(?:\.\d+)?)\s*s"
_FORMS: list[tuple[str, Callable[[re.Match[str]], Step]]] = [
    (
        r"call (?:tool )?(?P<name>[\w.:-]+)(?: with)?(?: args)?(?P<args>\s*\{.*\})?",
        lambda m: {"call": [{"name": m["name"], "args": json.loads(m["args"] or "{}")}]},
    ),
    (r"say (?P<text>.+)", lambda m: {"text": m["text"].strip().strip('"')}),
    (
        rf"fail with (?P<status>\d{{3}})(?: (?P<kind>(?!retry)[a-z][\w-]*))?(?: retry(?:info)? (?P<retry>{_SECONDS}))?",
        lambda m: {
            "error": {"status": int(m["status"])}
            | ({"kind": m["kind"]} if m["kind"] else {})
            | ({"retry": float(m["retry"].rstrip("s "))} if m["retry"] else {})
        },
    ),
    (r"cut after (?P<n>\d+)(?: chunks?)?", lambda m: {"cut_after": int(m["n"])}),
    (r"reset after (?P<n>\d+)(?: chunks?)?", lambda m: {"reset_after": int(m["n"])}),
    (r"pace (?P<n>\d+)(?: ?ms)?", lambda m: {"pace_ms": int(m["n"])}),
    (r"(?:silence|wait) (?P<n>\d+)(?: ?ms)?", lambda m: {"silence_ms": int(m["n"])}),
    (r"(?P<n>\d+) chunks", lambda m: {"chunks": int(m["n"])}),
    (r"finish (?P<why>[A-Z_]+)", lambda m: {"finish": m["why"]}),
    (r"block (?P<why>[A-Z_]+)", lambda m: {"block": m["why"]}),
    (r"(?P<word>awkward|unsigned|search|code|image|audio)", lambda m: {m["word"]: True}),
]


def words(line: str) -> Step:
    """The short natural forms, separated by `;`: `call get_weather {"city":"Paris"}; pace 200 ms`."""
    step: Step = {}
    for form in filter(None, (part.strip().rstrip(".") for part in line.split(";"))):
        for pattern, build in _FORMS:
            match = re.fullmatch(pattern, form, re.IGNORECASE if "finish" not in pattern else 0)
            if match:
                made = build(match)
                made["call"] = [*step.get("call", []), *made["call"]] if "call" in made else None
                step |= {key: value for key, value in made.items() if value is not None}
                break
        else:
            raise ValueError(f"directive not understood: {form!r}")
    return step


def directive(contents: list[Json]) -> tuple[Step, str] | None:
    """The step the prompt asks for and the directive's text.

    A directive holds for the answer right after it. With `turns` it holds for the whole conversation after it: the
    k-th model turn plays turns[k], with the directive's other keys as defaults.
    """
    for i in range(len(contents) - 1, -1, -1):
        found = _locate(text_of(contents[i])) if role_of(contents[i]) == "user" else None
        if not found:
            continue
        start, end, step = found
        if isinstance(step, Exception):
            raise invalid(f"emulator: {step}")
        played = sum(1 for turn in turns_of(contents[i + 1 :]) if turn.role == "model")
        text = text_of(contents[i])[start:end]
        if "turns" in step:
            base = {key: value for key, value in step.items() if key != "turns"}
            return (base | step["turns"][played], text) if played < len(step["turns"]) else None
        return (step, text) if played == 0 else None
    return None


class Script:
    """The queue of steps sent to the control endpoint, and how often each prompt directive has been played."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Step] = []
        self._played: dict[str, int] = {}

    def add(self, steps: list[Step]) -> None:
        with self._lock:
            self._queue.extend(dict(checked(step)) for step in steps)

    def clear(self) -> None:
        with self._lock:
            self._queue.clear()
            self._played.clear()

    @property
    def waiting(self) -> int:
        with self._lock:
            return len(self._queue)

    def take(self, method: str, model: str, contents: list[Json]) -> Step:
        """The step for this request: the first queued one whose `match` fits, else the prompt's, else {}.

        A queued step without `match.method` waits for a generateContent or streamGenerateContent.
        """
        last = last_user_text(contents)
        with self._lock:
            for i, step in enumerate(self._queue):
                if _fits(step.get("match") or {}, method, model, last):
                    left = int(step.get("times", 1)) - 1
                    if left > 0:
                        step["times"] = left
                    else:
                        del self._queue[i]
                    return step
        found = directive(contents)
        if not found:
            return {}
        step, key = found
        if "times" in step and not self._first(key, int(step["times"])):
            return {}
        return step

    def _first(self, key: str, times: int) -> bool:
        with self._lock:
            self._played[key] = self._played.get(key, 0) + 1
            return self._played[key] <= times


def _fits(match: Json, method: str, model: str, text: str) -> bool:
    default = method if method in GENERATING else ""
    return (
        match.get("method", default) == method
        and match.get("model", model) == model
        and str(match.get("text", "")) in text
    )
