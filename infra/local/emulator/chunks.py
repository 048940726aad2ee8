"""A Reply as the chunks its model family streams, or as one unary body.

2.0: text, the last text with STOP; a call with STOP in one chunk; no thoughts; `index` left out.
2.5: thought chunks, then text with STOP on the last; calls, signature and STOP in one chunk.
3.x and 4: thought chunks with prompt counters only, text, then an empty text part with the signature and STOP;
a signed call without finishReason, then an empty text part with STOP.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from infra.local.emulator import signatures
from infra.local.emulator.generate import Reply
from infra.local.emulator.models import Model
from infra.local.emulator.usage import Block, Prompt, modality, part_tokens, tokens

type Json = dict[str, Any]

CALLED = "Model generated function call(s)."


@dataclass(frozen=True, slots=True)
class Frame:
    """What every chunk of one answer repeats."""

    model: Model
    prompt: Prompt
    model_version: str
    response_id: str
    tier: str = "standard"
    signed: bool = True

    @property
    def family(self) -> str:
        if self.model.generation >= 3:
            return "3"
        return "2.5" if self.model.generation >= 2.5 else "2.0"

    def wrap(self, candidate: Json | None, usage: Block) -> Json:
        out: Json = {"candidates": [candidate]} if candidate is not None else {}
        out["usageMetadata"] = usage.render()
        return out | {"modelVersion": self.model_version, "responseId": self.response_id}

    def signature(self, bound_to: str, number: int) -> str:
        return signatures.sign(bound_to, f"{self.response_id}{number}", self.model.generation)


def content(parts: list[Json] | None) -> Json:
    return {"role": "model"} if parts is None else {"parts": parts, "role": "model"}


def blocked(frame: Frame, reason: str) -> Json:
    """A blocked prompt: promptFeedback, prompt and total counters, no candidate."""
    usage = Block(frame.prompt, None, tier=frame.tier).render()
    return {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": usage,
        "modelVersion": frame.model_version,
        "responseId": frame.response_id,
    }


def sign_parts(reply: Reply, frame: Frame) -> list[list[Json]]:
    """Copies of the groups with call ids and with signatures where the family puts them."""
    groups = copy.deepcopy(reply.groups)
    may_sign = frame.signed and frame.model.signs
    wants = may_sign and (frame.family == "3" or reply.thought_tokens > 0)
    first_call, number = True, 0
    for group in groups:
        for part in group:
            number += 1
            if "functionCall" in part:
                if frame.model.returns_call_ids:
                    part["functionCall"]["id"] = call_id(f"{frame.response_id}{number}")
                if wants and first_call:
                    part["thoughtSignature"] = frame.signature(f"call:{part['functionCall']['name']}", number)
                first_call = False
            elif wants and frame.family == "3" and not _is_plain_text(part):
                kind = next(iter(part))
                if "toolType" in part[kind]:
                    part[kind] = {"id": call_id(f"{frame.response_id}tool{kind[:4]}"), **part[kind]}
                part["thoughtSignature"] = frame.signature(kind, number)
    return groups


def _is_plain_text(part: Json) -> bool:
    return "text" in part


def call_id(seed: str) -> str:
    """Eight characters, as the upstream issues them."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(alphabet[byte % 36] for byte in hashlib.sha256(seed.encode()).digest()[:8])


def candidate(parts: list[Json] | None, frame: Frame, *, finish: str = "", message: str | None = None) -> Json:
    out: Json = {"content": content(parts)}
    if finish:
        out["finishReason"] = finish
    if frame.family != "2.0":
        out["index"] = 0
    if message:
        out["finishMessage"] = message
    return out


def stream(reply: Reply, frame: Frame) -> list[Json]:
    """The chunks of a streamed answer, in order."""
    if reply.block:
        return [blocked(frame, reply.block)]
    if reply.shape:
        return [*_thought_chunks(reply, frame), _shaped(reply, frame)]
    if frame.model.kind == "tts":
        reply = replace(reply, groups=[piece for group in reply.groups for piece in _audio_pieces(group)])
    return [*_thought_chunks(reply, frame), *_visible_chunks(reply, frame)]


def _audio_pieces(group: list[Json]) -> list[list[Json]]:
    """A streamed voice arrives in pieces of 0.4 s: 19,200 bytes of PCM."""
    if len(group) != 1 or "inlineData" not in group[0]:
        return [group]
    blob = group[0]["inlineData"]
    size = 25_600  # base64 characters of one piece
    starts = range(0, len(blob["data"]), size)
    return [[{"inlineData": blob | {"data": blob["data"][at : at + size]}}] for at in starts]


def _thought_chunks(reply: Reply, frame: Frame) -> list[Json]:
    out, seen = [], 0
    for i, thought in enumerate(reply.thoughts):
        last = i == len(reply.thoughts) - 1
        seen = reply.thought_tokens if last else min(reply.thought_tokens, seen + tokens(thought))
        part = {"text": thought, "thought": True}
        counted = 0 if frame.family == "3" else seen
        out.append(frame.wrap(candidate([part], frame), Block(frame.prompt, None, counted, tier=frame.tier)))
    return out


def _final_usage(reply: Reply, frame: Frame) -> Block:
    shift = frame.prompt.restored if frame.family == "3" else 0
    return Block(
        frame.prompt,
        reply.output_tokens(),
        reply.thought_tokens,
        reply.tool_use_tokens,
        shift,
        output_details(reply, frame),
        frame.tier,
    )


def output_details(reply: Reply, frame: Frame) -> dict[str, int] | None:
    """candidatesTokensDetails appears on 1.5, 2.0 and wherever an answer holds media."""
    media: dict[str, int] = {}
    for group in reply.groups:
        for part in group:
            kind = modality(part["inlineData"]["mimeType"]) if "inlineData" in part else "TEXT"
            if kind != "TEXT":
                media[kind] = media.get(kind, 0) + part_tokens(part)
    if not media and frame.family != "2.0":
        return None
    rest = reply.output_tokens() - sum(media.values())
    return ({"TEXT": rest} if rest > 0 else {}) | media or None


def _shaped(reply: Reply, frame: Frame) -> Json:
    """The one visible chunk of an empty answer."""
    out = candidate(None, frame, finish=reply.finish, message=reply.finish_message)
    if reply.shape == "empty_content":
        out["content"] = {}
    if reply.shape == "signature_only":
        out["content"] = content([{"text": "", "thoughtSignature": frame.signature("text", 0)}])
    return frame.wrap(out | reply.extra, _final_usage(reply, frame))


def _visible_chunks(reply: Reply, frame: Frame) -> list[Json]:
    groups = sign_parts(reply, frame)
    closing = _closing_part(reply, frame)
    if closing is not None:
        groups.append([closing])
    elif _signs_25_text(reply, frame):
        groups[0][0]["thoughtSignature"] = frame.signature("text", 0)
    running, text = 0, ""
    out: list[Json] = []
    for i, group in enumerate(groups):
        if i in reply.resets:
            running, text = 0, ""
        text += "".join(part.get("text", "") for part in group)
        plain = reply.groups[i] if i < len(reply.groups) else group  # before ids, which cost no tokens
        running += sum(part_tokens(part) for part in plain if "text" not in part)
        if i == len(groups) - 1:
            out.append(_last_chunk(group, reply, frame))
            continue
        made = candidate(group, frame)
        if i in reply.checkpoints:
            made["continuationToken"] = reply.checkpoints[i]
        if "groundingMetadata" in reply.extra:
            made["groundingMetadata"] = {}  # seen on every chunk but the last
        out.append(frame.wrap(made, _running_usage(tokens(text) + running, reply, frame)))
    return out


def _running_usage(count: int, reply: Reply, frame: Frame) -> Block:
    if frame.family == "2.0":
        return Block(frame.prompt, None, prompt_shift=2, tier=frame.tier)  # provisional; drops at the end
    return Block(frame.prompt, count, reply.thought_tokens, tier=frame.tier)


def _closing_part(reply: Reply, frame: Frame) -> Json | None:
    """The empty text part that ends a 3.x stream (signed after text), and a 2.5 stream with search."""
    grounded = bool(reply.extra.get("groundingMetadata"))
    if frame.family == "2.5":
        return {"text": ""} if grounded and not reply.has_calls else None
    if frame.family != "3":
        return None
    part: Json = {"text": ""}
    if frame.signed and frame.model.signs and not reply.has_calls:
        part["thoughtSignature"] = frame.signature("text", 0)
    return part


def _signs_25_text(reply: Reply, frame: Frame) -> bool:
    """2.5 signs a text answer only when it thought visibly (seen: the first text part carries it)."""
    if frame.family != "2.5" or not frame.signed or not reply.thoughts or reply.has_calls:
        return False
    return bool(reply.groups) and "text" in reply.groups[0][0]


def _last_chunk(group: list[Json], reply: Reply, frame: Frame) -> Json:
    message = reply.finish_message
    if message is None and reply.has_calls and frame.family == "2.5":
        message = CALLED
    made = candidate(group, frame, finish=reply.finish, message=message)
    return frame.wrap(made | reply.extra, _final_usage(reply, frame))


def unary(reply: Reply, frame: Frame) -> Json:
    """The whole answer as one body: adjacent text joined, the signature of a 3.x text on the text itself."""
    if reply.block:
        return blocked(frame, reply.block)
    if reply.shape:
        return _shaped(reply, frame)
    parts: list[Json] = []
    if reply.thoughts:
        parts.append({"text": "".join(reply.thoughts), "thought": True})
    for part in (part for group in sign_parts(reply, frame) for part in group):
        if _is_plain_text(part) and parts and _is_plain_text(parts[-1]) and not parts[-1].get("thought"):
            parts[-1]["text"] += part["text"]
        else:
            parts.append(part)
    text_only = bool(parts) and _is_plain_text(parts[-1]) and not reply.has_calls
    if text_only and frame.signed and ((frame.family == "3" and frame.model.signs) or _signs_25_text(reply, frame)):
        parts[-1]["thoughtSignature"] = frame.signature("text", 0)
    message = reply.finish_message or (CALLED if reply.has_calls and reply.finish == "STOP" else None)
    made = candidate(parts or None, frame, finish=reply.finish, message=message) | reply.extra
    made.setdefault("index", 0)
    out = frame.wrap(made, _final_usage(reply, frame))
    out["candidates"] += [made | {"index": i} for i in range(1, reply.candidates)]
    return out
