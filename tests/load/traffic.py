"""What is asked: requests of every dialect, and what the emulator is told to do to each of them."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MARKER = "canary-prompt-8c1f2e"  # stands in every prompt; must stand in no log
MODELS = ("gemini-3.8-flash", "gemini-3-flash-preview", "gemini-2.5-flash-lite")
Expected = Literal["ok", "error", "either", "refusal"]
Ending = Literal["chat", "responses", "messages", "native", "body"]

# how an answer may end; `error`: must not look like a success
FAULTS: tuple[tuple[str, Mapping[str, Any], Expected], ...] = (
    ("refused once", {"error": {"status": 503}, "times": 1}, "either"),
    ("internal once", {"error": {"status": 500}, "times": 1}, "either"),
    ("refused always", {"error": {"status": 503}}, "error"),
    ("cut", {"chunks": 4, "cut_after": 2}, "error"),
    ("reset", {"chunks": 4, "reset_after": 1}, "error"),
    ("error inside", {"chunks": 4, "error_after": {"chunks": 2}}, "error"),
    ("empty", {"empty": "no_parts"}, "either"),
    ("malformed call", {"finish": "MALFORMED_FUNCTION_CALL"}, "either"),
    ("blocked", {"block": "SAFETY"}, "either"),
    ("finished by safety", {"finish": "SAFETY", "text": "until here"}, "either"),
    ("no usage", {"usage": "missing"}, "ok"),
    ("odd bytes", {"awkward": True}, "ok"),
    ("late finish", {"late_finish": True}, "ok"),
    ("doubled finish", {"doubled_finish": True}, "ok"),
    ("slow start", {"silence_ms": 400}, "ok"),
    ("paced", {"chunks": 20, "pace_ms": 30}, "ok"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One request. `kind` names the row of the table; `leave_after_s` is when an impatient client goes."""

    kind: str
    method: str
    path: str
    body: bytes
    ending: Ending
    expected: Expected
    fault: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    leave_after_s: float | None = None
    limited: bool = False  # with the key that has a small allowance


class Traffic:
    """Endless plans; the same seed gives the same ones."""

    def __init__(self, seed: int, *, faults: float, aborts: float) -> None:
        self._chance = random.Random(seed)
        self._faults, self._aborts = faults, aborts
        self._number = 0

    def plan(self) -> Plan:
        self._number += 1
        roll = self._chance.random()
        if roll < 0.06:
            return self._hostile()
        if roll < 0.16:
            return self._plain()
        return self._generation()

    def _generation(self) -> Plan:
        chance = self._chance
        step: dict[str, Any] = {}
        fault, expected = "", "ok"
        if chance.random() < self._faults:
            fault, found, expected = chance.choice(FAULTS)
            step = json.loads(json.dumps(found))
            if "error" in step:  # a directive's own text tells how often it has been played
                step["error"]["message"] = f"trouble {self._number}"
        elif chance.random() < 0.2:
            step = {"chunks": chance.choice((2, 10, 40))}
        leave = chance.uniform(0.0, 0.4) if chance.random() < self._aborts else None
        if leave is not None and not fault:
            step = {"chunks": 20, "pace_ms": 30}  # long enough to be left in the middle
        prompt = f"{MARKER} {self._number} " + "words " * chance.choice((1, 20, 400))
        if step:
            prompt += f"\n@emulator {json.dumps(step)}"
        kind = chance.choice(("chat", "chat", "responses", "messages", "native", "vendor"))
        stream = chance.random() < 0.6
        if kind == "native" and not stream and fault == "error inside":
            expected = "either"  # this form is not streamed upstream either: its answer has no inside
        path, body, ending, headers = _generation(kind, chance.choice(MODELS), prompt, stream=stream)
        return Plan(
            f"{kind} {'stream' if stream else 'whole'}",
            "POST",
            path,
            json.dumps(body).encode(),
            ending if stream else "body",
            expected,  # type: ignore[arg-type]
            fault,
            headers,
            leave,
        )

    def _plain(self) -> Plan:
        text = f"{MARKER} {self._number}"
        kind, method, path, body = self._chance.choice(
            (
                ("embeddings", "POST", "/v1/embeddings", {"model": "gemini-embedding-001", "input": [text, "b"]}),
                (
                    "native embedding",
                    "POST",
                    "/v1beta/models/gemini-embedding-001:embedContent",
                    {"content": {"parts": [{"text": text}]}},
                ),
                ("image", "POST", "/v1/images/generations", {"model": "gemini-2.5-flash-image", "prompt": text}),
                (
                    "speech",
                    "POST",
                    "/v1/audio/speech",
                    {
                        "model": "gemini-2.5-flash-preview-tts",
                        "input": text,
                        "voice": "alloy",
                        "response_format": "wav",
                    },
                ),
                (
                    "count",
                    "POST",
                    "/v1/messages/count_tokens",
                    {"model": MODELS[0], "messages": [{"role": "user", "content": text}]},
                ),
                ("models", "GET", "/v1/models", None),
                ("usage", "GET", "/v1/usage", None),
            )
        )
        return Plan(kind, method, path, b"" if body is None else json.dumps(body).encode(), "body", "ok")

    def _hostile(self) -> Plan:
        """What a gateway must refuse by itself: no upstream call, no row."""
        chat = "/v1/chat/completions"
        asked = {"model": MODELS[0], "messages": [{"role": "user", "content": MARKER}]}
        kind, path, body, headers, limited = self._chance.choice(
            (
                ("broken JSON", chat, b'{"model": ' + MARKER.encode(), {}, False),
                ("deep JSON", "/v1/messages", b"[" * 5_000, {}, False),
                ("unknown model", "/v1/responses", json.dumps({"model": "none", "input": MARKER}).encode(), {}, False),
                ("bad field", chat, json.dumps({**asked, "max_tokens": -1}).encode(), {}, False),
                ("unknown path", "/v1/nothing", b"{}", {}, False),
                ("over its rate", chat, json.dumps(asked).encode(), {}, True),
            )
        )  # fmt: skip
        expected: Expected = "either" if limited else "refusal"
        return Plan(kind, "POST", path, body, "body", expected, "", headers, None, limited)


def _generation(kind: str, model: str, prompt: str, *, stream: bool) -> tuple[str, Any, Ending, Mapping[str, str]]:
    said = [{"role": "user", "content": prompt}]
    match kind:
        case "chat":
            return "/v1/chat/completions", {"model": model, "messages": said, "stream": stream}, "chat", {}
        case "vendor":
            body = {"model": model, "messages": said, "stream": stream}
            return "/v1beta/openai/chat/completions", body, "chat", {}
        case "responses":
            return "/v1/responses", {"model": model, "input": prompt, "stream": stream}, "responses", {}
        case "messages":
            body = {"model": model, "messages": said, "max_tokens": 4096, "stream": stream}
            return "/v1/messages", body, "messages", {"anthropic-version": "2023-06-01"}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    native = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    return f"/v1beta/models/{model}:{verb}", native, "native", {}
