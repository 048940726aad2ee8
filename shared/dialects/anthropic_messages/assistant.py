"""An assistant turn of the history as the model's own parts, with their thought signatures.

A signature comes back in the thinking block before what it signs; else the store has it under the call's id, or under
its name and arguments for clients that make ids of their own. What is still missing gets the documented dummy later.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.dialects.anthropic_messages.blocks import BlockReader, spoken
from shared.dialects.anthropic_messages.envelope import Envelope, open_envelope
from shared.dialects.anthropic_messages.fields import optional_string, string
from shared.dialects.anthropic_messages.server_blocks import RESULTS, ServerBlocks
from shared.dialects.anthropic_messages.sources import text_part
from shared.dialects.anthropic_messages.tool_choice import ToolPlan
from shared.dialects.anthropic_messages.tool_results import Call
from shared.gemini.catalog import Capabilities
from shared.gemini.parts import extract_markdown_images
from shared.gemini.signatures import SignatureLookup, call_key, content_key, same_generation, takes_signatures, usable
from shared.gemini.types import FunctionCall, Part

THINKING = ("thinking", "redacted_thinking")
_MEDIA = ("image", "document", "search_result")


def envelope_of(block: Mapping[str, Any]) -> Envelope | None:
    """What a thinking block carries for us; None for thinking of other models."""
    return open_envelope(block.get("signature" if block.get("type") == "thinking" else "data"))


class AssistantReader:
    """Reads the assistant messages of one request, one at a time."""

    def __init__(self, caps: Capabilities, plan: ToolPlan, lookup: SignatureLookup, reader: BlockReader) -> None:
        self._caps = caps
        self._plan = plan
        self._lookup = lookup
        self._blocks = reader

    def parts(self, content: Sequence[tuple[str, Mapping[str, Any]]], calls: Sequence[Call]) -> list[Part]:
        """The parts of one message; `calls` are its `tool_use` blocks in order. Thoughts stand where they stood."""
        turn = _Turn(self, calls)
        for where, block in content:
            turn.add(block, where)
        return turn.finished()

    def envelope(self, block: Mapping[str, Any]) -> Envelope | None:
        """A thinking block's envelope as far as this model can use it: a signature of another family is worthless."""
        found = envelope_of(block)
        if found is None or (same_generation(found.family, self._caps.family) and takes_signatures(self._caps)):
            return found
        return Envelope("", found.kind, found.call_id)

    def call(self, call: Call, carried: Envelope | None, *, leads: bool) -> Part:
        """`leads`: the first of its step. What the store has for a name and arguments may be of any conversation, and
        the upstream signs no other call, so an unsigned parallel one has nothing there."""
        wire = self._plan.names.to_wire(call.name)
        stored = self._lookup.get(call_key(call.call_id)) if call.call_id else None
        if stored is None and leads and self._lookup:  # where nothing was found, no hash is needed
            stored = self._lookup.get(content_key("", call.name, call.args))
        signature = (carried.signature if carried else "") or usable(stored, self._caps)
        if self._caps.call_ids:
            call.native_id = carried.call_id if carried else None
            # Id and name must match upstream, so an id of a call by another name stays away (R47).
            if not call.native_id and stored is not None and stored.name in ("", call.name, wire):
                call.native_id = stored.native_id
        function: FunctionCall = {"name": wire, "args": call.args}
        if call.native_id:
            function = {"id": call.native_id, **function}
        call.part = {"functionCall": function}
        if signature:
            call.part["thoughtSignature"] = signature
        return call.part

    def other(self, block: Mapping[str, Any], where: str) -> Iterator[Part]:
        """Blocks without a meaning of their own here. Unknown ones are other models' inventions: their text is kept."""
        if block.get("type") in _MEDIA:
            return self._blocks.parts(block, where)
        return spoken(block)

    def server_blocks(self) -> ServerBlocks:
        return ServerBlocks(self._plan, self._caps.family)


class _Turn:
    """One assistant message while its blocks go by."""

    def __init__(self, reader: AssistantReader, calls: Sequence[Call]) -> None:
        self._reader = reader
        self._calls = iter(calls)
        self._server = reader.server_blocks()
        self._parts: list[Part] = []
        self._for_call: Envelope | None = None
        self._for_text = ""
        self._leads = True  # the next call is the first

    def add(self, block: Mapping[str, Any], where: str) -> None:
        kind = string(block.get("type"), f"{where}.type")
        if kind == "text":
            self._parts += [self._signed(part) for part in text_part(block, where) for part in _drawn(part)]
        elif kind == "tool_use":
            self._parts.append(self._reader.call(next(self._calls), self._for_call, leads=self._leads))
            self._for_call, self._leads = None, False
        elif kind in THINKING:
            self._think(block, where)
        elif kind == "server_tool_use":
            self._server.use(block)
        elif kind in RESULTS:
            self._parts += self._server.result(block)
        elif kind != "compaction":  # which stands before the turn
            self._parts += self._reader.other(block, where)

    def finished(self) -> list[Part]:
        thoughts = next((at for at, part in enumerate(self._parts) if not part.get("thought")), len(self._parts))
        return [*self._parts[:thoughts], *self._server.restored, *self._parts[thoughts:]]

    def _think(self, block: Mapping[str, Any], where: str) -> None:
        envelope = self._reader.envelope(block)
        if envelope is None:
            return
        text = optional_string(block.get("thinking"), f"{where}.thinking")
        if text and envelope.family:
            thought: Part = {"text": text, "thought": True}
            if envelope.kind == "th" and envelope.signature:
                thought["thoughtSignature"] = envelope.signature
            self._parts.append(thought)
        if envelope.kind == "fc":
            self._for_call = envelope
        elif envelope.kind == "text":
            self._for_text = envelope.signature

    def _signed(self, part: Part) -> Part:
        signature, self._for_text = self._for_text, ""
        return {**part, "thoughtSignature": signature} if signature else part


def _drawn(part: Part) -> list[Part]:
    """A text that is one markdown image and nothing else was an image of the model: the protocol has no other place."""
    pieces = extract_markdown_images(part["text"]) if part["text"].startswith("![") else []
    if len(pieces) == 1 and not isinstance(pieces[0], str):
        return [pieces[0]]
    return [part]
