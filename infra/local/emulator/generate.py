"""What the emulated model says: a request and a step -> a Reply, before families and framing come in."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from infra.local.emulator import continuation, grounding, media, usage
from infra.local.emulator.conversation import results_of, role_of, turn_start
from infra.local.emulator.instances import instance
from infra.local.emulator.models import Model
from infra.local.emulator.script import Step, last_user_text
from infra.local.emulator.validate import calling_mode, declarations

type Json = dict[str, Any]

SILENT_FINISHES = frozenset(
    {
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION", "MODEL_ARMOR"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "NO_IMAGE", "IMAGE_OTHER", "OTHER"),
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "FINISH_REASON_UNSPECIFIED", "PUP_LIMITED_DISABLED"),
    }
)
EFFORT_TOKENS = {"MINIMAL": 0, "LOW": 24, "MEDIUM": 72, "HIGH": 180}
DYNAMIC = 72


@dataclass(slots=True)
class Reply:
    """One answer. `groups` are the visible parts in stream order, one group a chunk; signatures come later."""

    groups: list[list[Json]] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    thought_tokens: int = 0
    finish: str = "STOP"
    finish_message: str | None = None
    extra: Json = field(default_factory=dict)  # candidate fields of the last chunk: grounding, logprobs, ratings
    tool_use_tokens: int = 0
    resets: frozenset[int] = frozenset()  # group indices before which the running counters start over
    block: str = ""  # promptFeedback.blockReason: no candidate at all
    shape: str = ""  # no_parts | empty_content | signature_only
    checkpoints: dict[int, str] = field(default_factory=dict)  # group index -> continuationToken
    candidates: int = 1
    reread_tokens: int = 0  # output of earlier hops, which a later hop reads and bills as prompt

    @property
    def has_calls(self) -> bool:
        return any("functionCall" in part for group in self.groups for part in group)

    @property
    def text(self) -> str:
        return "".join(part.get("text", "") for group in self.groups for part in group)

    def output_tokens(self) -> int:
        """Tokens of the visible answer; text counts as a whole, however it is cut into chunks."""
        rest = sum(usage.part_tokens(part) for group in self.groups for part in group if "text" not in part)
        return usage.tokens(self.text) + rest


def plan(body: Json, model: Model, step: Step) -> Reply:
    """The reply to a canonical, validated request."""
    if step.get("block"):
        return Reply(block=str(step["block"]))
    config = body.get("generationConfig") or {}
    reply = Reply(candidates=config.get("candidateCount", 1))
    _think(reply, config.get("thinkingConfig") or {}, model, step)
    if step.get("empty"):
        reply.shape = step["empty"]
        return reply
    parts, given = _scripted_parts(step, body, model)
    finish = step.get("finish", "STOP")
    if not given and finish not in SILENT_FINISHES:
        parts = default_parts(body, model)
    text, rest = _split_text(parts)
    text = _stop(text, config.get("stopSequences") or [])
    text, rest = _limit(text, rest, config.get("maxOutputTokens"), model, reply)
    reply.groups = [*([{"text": piece}] for piece in pieces(text, step.get("chunks"))), *_rest_groups(rest, step)]
    if step.get("code"):
        reply.resets = frozenset(i for i, group in enumerate(reply.groups) if "executableCode" in group[0] and i)
    _finish(reply, step)
    grounding.add(reply.extra, body, model, step, reply.text)
    reply.tool_use_tokens = 116 if "groundingMetadata" in reply.extra or step.get("code") else 0
    if config.get("responseLogprobs") or step.get("logprobs"):
        reply.extra |= logprobs(reply.text, config.get("logprobs", 0))
    if body.get("continuationToken"):
        continuation.hop_of(body)  # a token of another request is refused, whatever the step
    if step.get("continuation"):
        continuation.play(reply, step["continuation"], body)
    return reply


# ---------------------------------------------------------------- thinking


def _think(reply: Reply, config: Json, model: Model, step: Step) -> None:
    if model.thinking is None or model.gemma:
        return
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is None and level is None:
        level = model.thinking.default_level or None
        budget = None if level else model.thinking.default_budget
    if level is not None:
        reply.thought_tokens = EFFORT_TOKENS.get(level, DYNAMIC)
    else:
        reply.thought_tokens = DYNAMIC if budget == -1 else min(int(budget or 0), DYNAMIC)
    given = step.get("thoughts")
    thoughts = [given] if isinstance(given, str) else list(given) if isinstance(given, list) else None
    if thoughts is not None:
        reply.thought_tokens = max(reply.thought_tokens, usage.tokens("".join(thoughts)))
    if config.get("includeThoughts") and (reply.thought_tokens or thoughts):
        reply.thoughts = thoughts or [
            "**Reading the request**\n\nI'm looking at what is asked for.\n\n\n",
            "**Preparing the answer**\n\nI've settled on a reply.\n\n\n",
        ]


# ---------------------------------------------------------------- scripted content


def _scripted_parts(step: Step, body: Json, model: Model) -> tuple[list[Json], bool]:
    """The parts a step names, and whether it named any."""
    parts: list[Json] = []
    if "text" in step:
        parts.append({"text": str(step["text"])})
    if "json" in step:
        parts.append({"text": json.dumps(step["json"], ensure_ascii=False)})
    if step.get("code"):
        parts.extend(_code_parts(step["code"], step))
    if step.get("image"):
        parts.extend(image_parts(body, step["image"]))
    if step.get("audio"):
        parts.append(_audio_part(last_user_text(body["contents"])))
    if step.get("search") and model.generation >= 3 and declarations(body):
        parts.extend(grounding.server_tool_parts(step["search"]))
    parts.extend({"functionCall": {"name": call["name"], "args": call.get("args", {})}} for call in _calls(step))
    return parts, bool(parts)


def _calls(step: Step) -> Iterable[Json]:
    call = step.get("call")
    return [call] if isinstance(call, dict) else call or []


def _code_parts(spec: Any, step: Step) -> list[Json]:
    spec = spec if isinstance(spec, dict) else {}
    code, output = spec.get("code", "print(6 * 7)\n"), spec.get("output", "42\n")
    outcome = spec.get("outcome", "OUTCOME_OK")
    parts: list[Json] = [
        {"executableCode": {"language": "PYTHON", "code": code}},
        {"codeExecutionResult": {"outcome": outcome, "output": output}},
    ]
    return parts if "text" in step else [*parts, {"text": f"The code printed {output.strip()}."}]


def image_parts(body: Json, spec: Any = True) -> list[Json]:
    """A short text (when TEXT is a wanted modality) and a PNG in the aspect ratio of imageConfig."""
    config = body.get("generationConfig") or {}
    aspect = (config.get("imageConfig") or {}).get("aspectRatio", "1:1")
    prompt = last_user_text(body["contents"])
    count = int(spec.get("count", 1)) if isinstance(spec, dict) else 1
    images = [media.inline("image/png", media.png(f"{prompt}{i or ''}", aspect)) for i in range(count)]
    modalities = config.get("responseModalities") or ["TEXT", "IMAGE"]
    return [{"text": "Here is the image."}, *images] if "TEXT" in modalities else list(images)


def _audio_part(text: str) -> Json:
    return media.inline(media.PCM_MIME, media.pcm(text, min(2.0, 0.1 + len(text) / 50)))


# ---------------------------------------------------------------- default content


def default_parts(body: Json, model: Model) -> list[Json]:
    """The answer to a request without a directive."""
    config = body.get("generationConfig") or {}
    modalities = config.get("responseModalities") or []
    if model.kind == "tts":
        return [_audio_part(last_user_text(body["contents"]))]
    if model.kind == "image" and (not modalities or "IMAGE" in modalities):
        return image_parts(body)
    calls = default_calls(body)
    if calls:
        return calls
    return [{"text": default_text(body, config)}]


def default_calls(body: Json) -> list[Json]:
    functions, mode = declarations(body), calling_mode(body)
    if not functions or mode == "NONE":
        return []
    allowed = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("allowedFunctionNames")
    functions = [row for row in functions if not allowed or row["name"] in allowed]
    if mode == "ANY":
        return [_call(functions[0])]
    contents = body["contents"]
    answered = {result["name"] for content in contents[turn_start(contents) :] for result in results_of(content)}
    text = last_user_text(contents)
    mentioned = [row for row in functions if re.search(rf"(?<![\w.-]){re.escape(row['name'])}(?![\w-])", text)]
    return [_call(row) for row in mentioned if row["name"] not in answered]


def _call(declaration: Json) -> Json:
    schema = declaration.get("parametersJsonSchema", declaration.get("parameters"))
    args = instance(schema) if isinstance(schema, dict) else {}
    return {"functionCall": {"name": declaration["name"], "args": args if isinstance(args, dict) else {}}}


def default_text(body: Json, config: Json) -> str:
    schema = next(
        (config[key] for key in ("responseJsonSchema", "_responseJsonSchema", "responseSchema") if key in config), None
    )
    mime = config.get("responseMimeType")
    if mime == "text/x.enum":
        return str(instance(schema))
    if schema is not None:
        return json.dumps(instance(schema), ensure_ascii=False)
    echo = echo_text(body["contents"])
    return json.dumps({"echo": echo}, ensure_ascii=False) if mime == "application/json" else echo


def echo_text(contents: list[Json]) -> str:
    """`Result of f: {...}` after function results, else `Echo: <last user text> [media]`."""
    results = results_of(contents[-1]) if role_of(contents[-1]) == "user" else []
    if results:
        quoted = [
            f"Result of {row['name']}: {json.dumps(row.get('response', {}), ensure_ascii=False)}"
            + "".join(f" {media.describe(part)}" for part in row.get("parts") or [])
            for row in results
        ]
        return "\n".join(quoted)
    words = [last_user_text(contents)]
    last = next((content for content in reversed(contents) if role_of(content) == "user"), contents[-1])
    words += [media.describe(part) for part in last["parts"]]
    return "Echo: " + " ".join(word for word in words if word)


# ---------------------------------------------------------------- limits and chunks


def _split_text(parts: list[Json]) -> tuple[str, list[Json]]:
    """Leading text and the other parts; a text that follows other parts stays where it is."""
    if parts and "text" in parts[0]:
        return parts[0]["text"], parts[1:]
    return "", parts


def _stop(text: str, stops: list[str]) -> str:
    """Cut before the earliest stop sequence; nothing after it is produced."""
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return text[: min(found)] if found else text


def _limit(text: str, rest: list[Json], limit: int | None, model: Model, reply: Reply) -> tuple[str, list[Json]]:
    """maxOutputTokens: thinking eats the budget first; what does not fit is not produced."""
    budget = min(limit, model.limits[1]) if limit is not None else model.limits[1]
    if reply.thought_tokens >= budget:
        reply.thought_tokens, reply.finish = max(0, budget - 3), "MAX_TOKENS"
        reply.shape = "no_parts"
        return "", []
    left = budget - reply.thought_tokens
    needed = usage.tokens(text) + sum(usage.part_tokens(part) for part in rest if "inlineData" not in part)
    if needed <= left:
        return text, rest
    reply.finish = "MAX_TOKENS"
    text = text[: left * usage.CHARS_PER_TOKEN]
    if not text:
        reply.shape = "no_parts"
    return text, []


def pieces(text: str, count: int | None = None) -> list[str]:
    """`text` in `count` chunks, by default the first short and the rest of about 60 characters."""
    if not text:
        return []
    if count:
        count = min(count, len(text))
        edges = [len(text) * i // count for i in range(count + 1)]
        return [text[a:b] for a, b in itertools.pairwise(edges)]
    first = min(len(text), 12)
    return [text[:first], *(text[i : i + 60] for i in range(first, len(text), 60))]


def _rest_groups(rest: list[Json], step: Step) -> list[list[Json]]:
    """Parallel calls share a chunk unless the step splits them; every other part has its own."""
    groups: list[list[Json]] = []
    for part in rest:
        together = "functionCall" in part and groups and "functionCall" in groups[-1][-1] and not step.get("split")
        if together:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _finish(reply: Reply, step: Step) -> None:
    finish = step.get("finish")
    if not finish:
        return
    reply.finish = finish
    if finish in ("SAFETY", "IMAGE_SAFETY"):
        rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        reply.extra["safetyRatings"] = [rating]
    if finish == "MALFORMED_FUNCTION_CALL":
        reply.finish_message = "Malformed function call: print(default_api.f(x=))"
    if "finish_message" in step:
        reply.finish_message = step["finish_message"]
    if not reply.groups and not reply.shape:
        reply.shape = "empty_content"


def logprobs(text: str, top: int) -> Json:
    """avgLogprobs and logprobsResult for `text`, one entry a word."""
    words = re.findall(r"\s*\S+|\s+$", text)
    chosen = [_candidate(word, -0.125) for word in words]
    result: Json = {"chosenCandidates": chosen, "logProbabilitySum": -0.125 * len(chosen)}
    if top:
        rows = [
            {"candidates": [_candidate(word if i == 0 else f"{word}~{i}", -0.125 - i) for i in range(top)]}
            for word in words
        ]
        result = {"topCandidates": rows, **result}
    return {"avgLogprobs": -0.125, "logprobsResult": result}


def _candidate(token: str, logprob: float) -> Json:
    token_id = int.from_bytes(hashlib.sha256(token.encode()).digest()[:2], "big")
    return {"token": token, "tokenId": token_id, "logProbability": logprob}


def response_id(seed: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(seed.encode()).digest()[:16]).decode().rstrip("=")
