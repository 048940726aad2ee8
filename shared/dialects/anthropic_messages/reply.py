"""Reply events as Anthropic messages: a stream of named events, or one message folded from the same events.

`Message` turns reply events into (name, data) pairs; `MessagesRenderer` frames them, `fold` merges them the way the
official SDKs' accumulators do. So a buffered answer equals its stream by construction.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.dialects.anthropic_messages.block_writer import BlockWriter, Pair, Piece
from shared.dialects.anthropic_messages.envelope import Kind, seal
from shared.dialects.anthropic_messages.errors import error_frame
from shared.dialects.anthropic_messages.ids import public_id
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.search import (
    CitedText,
    read_searches,
    write_failed_search,
    write_fetches,
    write_searches,
)
from shared.dialects.anthropic_messages.stops import ending
from shared.dialects.anthropic_messages.usage import final_usage, start_usage
from shared.dialects.contract import ReplyContext, Translation
from shared.dialects.running_text import MARK, RunningText, around
from shared.errors import GatewayError
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    End,
    Event,
    JsonObject,
    Logprobs,
    LooseSignature,
    Media,
    ServerTool,
    Start,
    ToolCall,
    Usage,
)
from shared.json_codec import encode
from shared.sse import frame

_PING = frame(encode({"type": "ping"}), "ping")


class Message:
    """One candidate's events as stream events.

    Nothing leaves before there is something to show, so that an early failure keeps its own status. A tool call and
    what follows it wait for the end: the end may forbid the call, and a search is shown before it. Where only server
    tools were declared, the text waits too, because its sources stand in front of it.
    """

    def __init__(self, options: MessagesOptions, reply: ReplyContext) -> None:
        self._options = options
        self._reply = reply
        self._writer = BlockWriter(lambda: seal(options.family, "th", "", ""))
        self._text_waits = options.only_server_tools and bool(options.server_tools & {"web_search", "web_fetch"})
        self._held: list[Event] = []
        self._citations: list[Citation] = []
        self._server_parts: list[JsonObject] = []
        self._cited: CitedText | None = None
        self._reasoning = False
        self._calls = 0
        self._codes = 0
        self._code_id = ""
        self._searches = 0
        self._fetches = 0
        self._started = False
        self._counted: Usage | None = None
        self._ending: dict[str, Any] | None = None

    def feed(self, event: Event) -> list[Pair | Piece]:
        """The pairs of one event. An `End` that is no end of an answer raises the `GatewayError` that it means."""
        match event:
            case BlockDelta():  # first, as most are
                if self._held:
                    self._held.append(event)
                else:
                    self._show_text(event.text)
            case Start():
                self._counted = event.usage
                return []
            case Logprobs():
                return []
            case Citation():
                self._citations.append(event)
            case ServerTool():
                self._server_parts.append(event.part)
            case End():
                self._end(event)
            case _ if self._held or self._waits(event):
                self._held.append(event)
            case _:
                self._show(event)
        return self._opened(self._writer.take())

    def go_on(self, text: str) -> None:
        """More text in the block of the delta just fed, which was shown at once and so is this: the caller frames it
        itself."""
        self._writer.said = text

    def close(self, usage: Usage) -> list[Pair | Piece]:
        if self._ending is None:
            raise GatewayError("upstream_truncated", "The upstream's reply ended before it was complete.")
        counted = final_usage(usage, searches=self._searches, fetches=self._fetches)
        tail: list[Pair | Piece] = [
            ("message_delta", {"type": "message_delta", "delta": self._ending, "usage": counted}),
            ("message_stop", {"type": "message_stop"}),
        ]
        return self._opened(tail)

    def _opened(self, pairs: list[Pair | Piece]) -> list[Pair | Piece]:
        if self._started or not pairs:
            return pairs
        self._started = True
        message: dict[str, Any] = {
            "id": public_id("msg_", self._reply.request_id),
            "type": "message",
            "role": "assistant",
            "model": self._reply.requested_model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": start_usage(self._options, self._counted),
        }
        return [("message_start", {"type": "message_start", "message": message}), *pairs]

    def _waits(self, event: Event) -> bool:
        match event:
            case ToolCall():
                return True
            case BlockStart(kind="text") | Code() | CodeResult() | Media():
                return self._text_waits
        return False

    def _end(self, end: End) -> None:
        calls = sum(isinstance(event, ToolCall) for event in self._held)
        self._ending = ending(end, calls=calls)
        self._show_server_tools(end)
        held, self._held = self._held, []
        for event in held:
            self._show(event)
        self._writer.end()

    def _show_server_tools(self, end: End) -> None:
        options, writer = self._options, self._writer
        if "web_search" in options.server_tools:
            searches = read_searches(end.metadata, self._server_parts, options.blocked_domains)
            self._searches = write_searches(writer, searches, options.family, self._reply)
            alone = options.only_server_tools and options.server_tools == {"web_search"}
            if self._searches and self._text_waits:
                self._cited = CitedText(self._held_text(), self._citations, searches.sources)
            elif alone and not self._searches and end.finish != "blocked" and end.stop_sequence is None:
                write_failed_search(writer, self._reply)
        if "web_fetch" in options.server_tools:
            self._fetches = write_fetches(writer, end.metadata, self._reply)

    def _held_text(self) -> str:
        """The visible text, all of which waits: thoughts among it do not count in a citation's offsets."""
        texts: list[str] = []
        reasoning = False
        for event in self._held:
            if isinstance(event, BlockStart):
                reasoning = event.kind == "reasoning"
            elif isinstance(event, BlockDelta) and not reasoning:
                texts.append(event.text)
        return "".join(texts)

    def _show(self, event: Event) -> None:
        match event:
            case BlockDelta():
                self._show_text(event.text)
            case BlockStart(kind=kind):
                self._reasoning = kind == "reasoning"
            case BlockEnd(signature=str(signature)) if self._reasoning and self._writer.thinking_open:
                self._sign("th", signature)
            case LooseSignature(signature=signature) if self._writer.thinking_open:
                self._sign("text", signature)
            case ToolCall():
                self._show_call(event)
            case Media():
                label = event.mime_type.partition("/")[0] or "media"
                self._writer.text_alone(f"![{label}](data:{event.mime_type};base64,{event.data})")
            case Code():
                self._show_code(event)
            case CodeResult():
                self._show_code_result(event)

    def _show_text(self, text: str) -> None:
        if not self._reasoning:
            if self._cited is None:
                self._writer.text(text)
                return
            for stretch, citations in self._cited.split(text):
                self._writer.text(stretch, citations)
        elif self._options.thinking_asked and self._options.show_thinking:
            self._writer.thinking(text)

    def _show_call(self, call: ToolCall) -> None:
        """The signature of a call travels in the thought before it, in an empty one where none is open."""
        if call.signature and self._options.thinking_asked:
            self._sign("fc", call.signature, call.native_id)
        self._writer.call({"type": "tool_use", "id": call.call_id, "name": call.name}, call.args)

    def _sign(self, kind: Kind, signature: str, native_id: str | None = None) -> None:
        self._writer.sign(seal(self._options.family, kind, native_id or "", signature))

    def _show_code(self, code: Code) -> None:
        if "code_execution" not in self._options.server_tools:
            self._writer.fenced(code.language.lower() or "text", code.code)
            return
        self._code_id = public_id("srvtoolu_", self._reply.request_id, "code", str(self._codes))
        self._codes += 1
        use = {"type": "server_tool_use", "id": self._code_id, "name": "code_execution"}
        self._writer.call(use, {"code": code.code})

    def _show_code_result(self, result: CodeResult) -> None:
        if not self._code_id:
            self._writer.fenced("output", result.output)
            return
        worked = result.outcome == "OUTCOME_OK"
        content: dict[str, Any] = {
            "type": "code_execution_result",
            "stdout": result.output if worked else "",
            "stderr": "" if worked else result.output or result.outcome,
            "return_code": 0 if worked else 1,
            "content": [],
        }
        block = {"type": "code_execution_tool_result", "tool_use_id": self._code_id, "content": content}
        self._writer.whole(block)
        self._code_id = ""


class MessagesRenderer:
    """Frames of one streamed message. This dialect has one choice only."""

    def __init__(self, translation: Translation, reply: ReplyContext) -> None:
        self._message = Message(translation.options, reply)
        self._request_id = reply.error_id
        self._running = RunningText(-1, b"", b"")
        self._block = -1  # what the last event brought text of

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is not BlockDelta:
            self._block = -1
            return self._frames(self._message.feed(event))
        if event.index == self._block:
            self._message.go_on(event.text)
            return self._running.frame(event.text)
        pairs = self._message.feed(event)
        if pairs and isinstance(pairs[-1], Piece):
            self._block = event.index
        return self._frames(pairs)

    def close(self, usage: Usage) -> bytes:
        return self._frames(self._message.close(usage))

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._request_id)

    def heartbeat(self) -> bytes:
        return _PING

    def _frames(self, pairs: Iterable[Pair | Piece]) -> bytes:
        return b"".join([self._piece(pair) if isinstance(pair, Piece) else _frame(*pair) for pair in pairs])

    def _piece(self, piece: Piece) -> bytes:
        if piece.index != self._running.index:
            sample = Piece(piece.index, piece.kind, MARK)
            self._running = RunningText(piece.index, *around(_frame(*sample.pair)))
        return self._running.frame(piece.text)


def renderer(translation: Translation, reply: ReplyContext) -> MessagesRenderer:
    return MessagesRenderer(translation, reply)


def fold(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> dict[str, Any]:
    """The message object. Raises the `GatewayError` that an `End` means which is no end of an answer."""
    state = Message(translation.options, reply)
    pairs = [pair for event in choices[0] for pair in state.feed(event)]
    return merged([*pairs, *state.close(usage)])


def merged(pairs: Iterable[Pair | Piece]) -> dict[str, Any]:
    """The message that an accumulator makes of stream events in their order."""
    message: dict[str, Any] = {}
    pieces: list[str] = []
    for pair in pairs:
        if isinstance(pair, Piece):
            pieces.append(pair.text)
            continue
        name, data = pair
        match name:
            case "message_start":
                message = {**data["message"], "content": []}
            case "content_block_start":
                message["content"].append(dict(data["content_block"]))
            case "content_block_delta":
                _merge_delta(message["content"][-1], data["delta"], pieces)
            case "content_block_stop":
                _settle(message["content"][-1], pieces)
                pieces.clear()
            case "message_delta":
                message |= {**data["delta"], "usage": {**message["usage"], **data["usage"]}}
    return message


def _merge_delta(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    match delta["type"]:
        case "input_json_delta":
            pieces.append(delta["partial_json"])
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*block["citations"], delta["citation"]]


def _settle(block: dict[str, Any], pieces: list[str]) -> None:
    match block["type"]:
        case "text" | "thinking":
            block[block["type"]] = "".join(pieces)
        case "tool_use" | "server_tool_use":
            block["input"] = json.loads("".join(pieces))


def _frame(name: str, data: Mapping[str, Any]) -> bytes:
    return frame(encode(data), name)
