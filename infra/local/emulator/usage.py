"""Token counts: a deterministic tokenizer of about four characters a token, and usageMetadata.

The identity of the upstream holds in every block that is not overridden by a step:
total = prompt + candidates + thoughts + toolUsePrompt; cached is a part of prompt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from infra.local.emulator import signatures
from infra.local.emulator.models import Model
from infra.local.emulator.parsing import decode_bytes

type Json = dict[str, Any]

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 258
RESTORED = 64  # prompt tokens that one returned signature brings back, visible in the last chunk only
CACHED_CONTENT = 4_096  # tokens of any cachedContents/x


def tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def modality(mime: str) -> str:
    head = mime.split("/")[0]
    return {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO", "application": "DOCUMENT"}.get(head, "TEXT")


@dataclass(slots=True)
class Prompt:
    """Prompt tokens by modality; `restored` is what returned signatures add at the end of the answer."""

    by_modality: dict[str, int] = field(default_factory=dict)
    restored: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        return sum(self.by_modality.values())

    def add(self, kind: str, count: int) -> None:
        if count:
            self.by_modality[kind] = self.by_modality.get(kind, 0) + count


def count_prompt(body: Json, model: Model) -> Prompt:
    """Prompt tokens of a canonical GenerateContentRequest (or of anything with `contents`)."""
    prompt = Prompt()
    contents = [*(body.get("contents") or [])]
    if body.get("systemInstruction"):
        contents.append(body["systemInstruction"])
    for content in contents:
        for part in content.get("parts") or []:
            _count_part(part, prompt)
            if model.generation >= 3 and signatures.is_real(part.get("thoughtSignature", "")):
                prompt.restored += RESTORED
    if body.get("cachedContent"):
        prompt.cached = CACHED_CONTENT
        prompt.add("TEXT", CACHED_CONTENT)
    if body.get("tools"):
        prompt.add("TEXT", tokens(json.dumps(body["tools"], separators=(",", ":"))))
    return prompt


def _count_part(part: Json, prompt: Prompt) -> None:
    if part.get("text"):
        prompt.add("TEXT", tokens(part["text"]))
    for key in (
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    ):
        if key in part:
            prompt.add("TEXT", tokens(json.dumps(part[key], separators=(",", ":"))))
    if "inlineData" in part:
        blob = part["inlineData"]
        kind = modality(blob.get("mimeType", ""))
        size = len(decode_bytes(blob.get("data", "")))
        prompt.add(kind, IMAGE_TOKENS if kind in ("IMAGE", "DOCUMENT") else max(1, size // 1000))
    if "fileData" in part:
        prompt.add(modality(part["fileData"].get("mimeType", "")), IMAGE_TOKENS)


def part_tokens(part: Json) -> int:
    """Output tokens of one part of an answer."""
    if "text" in part:
        return tokens(part["text"])
    if "inlineData" in part:
        blob = part["inlineData"]
        is_image = modality(blob["mimeType"]) == "IMAGE"
        return 1290 if is_image else max(1, len(blob["data"]) // 2560)
    for key in ("functionCall", "executableCode", "codeExecutionResult"):
        if key in part:
            return tokens(json.dumps(part[key], separators=(",", ":")))
    return 0


def details(by_modality: dict[str, int]) -> list[Json]:
    return [{"modality": kind, "tokenCount": count} for kind, count in by_modality.items()]


@dataclass(frozen=True, slots=True)
class Block:
    """One usageMetadata: None leaves a counter out, as the upstream does with counters it has not got yet."""

    prompt: Prompt
    candidates: int | None
    thoughts: int = 0
    tool_use: int = 0
    prompt_shift: int = 0
    candidate_details: dict[str, int] | None = None
    tier: str = "standard"

    def render(self) -> Json:
        prompt = self.prompt.total + self.prompt_shift
        out: Json = {"promptTokenCount": prompt}
        if self.candidates:
            out["candidatesTokenCount"] = self.candidates
        out["totalTokenCount"] = prompt + (self.candidates or 0) + self.thoughts + self.tool_use
        if self.prompt.cached:
            out["cachedContentTokenCount"] = self.prompt.cached
        by_modality = dict(self.prompt.by_modality)
        if self.prompt_shift:
            by_modality["TEXT"] = by_modality.get("TEXT", 0) + self.prompt_shift
        out["promptTokensDetails"] = details(by_modality)
        if self.prompt.cached:
            out["cacheTokensDetails"] = details({"TEXT": self.prompt.cached})
        if self.candidate_details:
            out["candidatesTokensDetails"] = details(self.candidate_details)
        if self.tool_use:
            out["toolUsePromptTokenCount"] = self.tool_use
            out["toolUsePromptTokensDetails"] = details({"TEXT": self.tool_use})
        if self.thoughts:
            out["thoughtsTokenCount"] = self.thoughts
        out["serviceTier"] = self.tier
        return out
