"""Reply events as Anthropic messages: a stream of named events, or one message folded from the same events.

`Message` turns reply events into content blocks; the output that it writes to makes stream events or one message of
them. So a buffered answer equals its stream by construction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from shared.dialects.anthropic_messages.block_writer import BlockWriter
from shared.dialects.anthropic_messages.envelope import Kind, seal
from shared.dialects.anthropic_messages.errors import error_frame
from shared.dialects.anthropic_messages.ids import public_id
from shared.dialects.anthropic_messages.options import MessagesOptions
from shared.dialects.anthropic_messages.outputs import FoldedOutput, Output, StreamOutput
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
    """One candidate's events, written to `output`.

    Nothing leaves before there is something to show, so that an early failure keeps its own status. A tool call and
    what follows it wait for the end: the end may forbid the call, and a search is shown before it. Where only server
    tools were declared, the text waits too, because its sources stand in front of it.
    """

    def __init__(self, options: MessagesOptions, reply: ReplyContext, output: Output) -> None:
        self._options = options
        self._reply = reply
        self._output = output
        self._writer = BlockWriter(output, self._opening, lambda: seal(options.family, "th", "", ""))
        self._text_waits = options.only_server_tools and bool(options.server_tools & {"web_search", "web_fetch"})
        self._shows_thinking = options.thinking_asked and options.show_thinking
        self.held: list[Event] = []  # what waits for the end; where anything does, all text does too
        self._citations: list[Citation] = []
        self._server_parts: list[JsonObject] = []
        self._cited: CitedText | None = None
        self._reasoning = False
        self._calls = 0
        self._codes = 0
        self._code_id = ""
        self._searches = 0
        self._fetches = 0
        self._counted: Usage | None = None
        self._ending: dict[str, Any] | None = None

    def feed(self, event: Event) -> None:
        """Writes what one event shows. An `End` that is no end of an answer raises the `GatewayError` that it means."""
        match event:
            case BlockDelta():  # first, as most are
                if self.held:
                    self.held.append(event)
                else:
                    self._show_text(event.text)
            case Start():
                self._counted = event.usage
            case Logprobs():
                pass
            case Citation():
                self._citations.append(event)
            case ServerTool():
                self._server_parts.append(event.part)
            case End():
                self._end(event)
            case _ if self.held or self._waits(event):
                self.held.append(event)
                self._calls += isinstance(event, ToolCall)
            case _:
                self._show(event)

    @property
    def hides(self) -> bool:
        """Whether the text of the open block is left out."""
        return self._reasoning and not self._shows_thinking

    def close(self, usage: Usage) -> None:
        if self._ending is None:
            raise GatewayError("upstream_truncated", "The upstream's reply ended before it was complete.")
        self._writer.begin()
        self._output.finish(self._ending, final_usage(usage, searches=self._searches, fetches=self._fetches))

    def _opening(self) -> dict[str, Any]:
        return {
            "id": public_id("msg_", self._reply.request_id),
            "type": "message",
            "role": "assistant",
            "model": self._reply.requested_model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": start_usage(self._options, self._counted),
        }

    def _waits(self, event: Event) -> bool:
        match event:
            case ToolCall():
                return True
            case BlockStart(kind="text") | Code() | CodeResult() | Media():
                return self._text_waits
        return False

    def _end(self, end: End) -> None:
        self._ending = ending(end, calls=self._calls)
        self._show_server_tools(end)
        held, self.held = self.held, []
        for event in held:
            if type(event) is BlockDelta:
                self._show_text(event.text)
            else:
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
        for event in self.held:
            if isinstance(event, BlockStart):
                reasoning = event.kind == "reasoning"
            elif isinstance(event, BlockDelta) and not reasoning:
                texts.append(event.text)
        return "".join(texts)

    def _show(self, event: Event) -> None:
        match event:
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
        elif self._shows_thinking:
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
        self._output = StreamOutput()
        self._message = Message(translation.options, reply, self._output)
        self._request_id = reply.error_id
        self._block = -1  # whose text was shown at once by the last event
        self._hidden = -1  # whose text was last left out

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is not BlockDelta:
            self._block = self._hidden = -1
            self._message.feed(event)
            return self._output.take()
        if event.index == self._hidden:
            return b""
        if event.index == self._block:
            return self._output.more(event.text)
        if held := self._message.held:
            held.append(event)
            return b""
        self._message.feed(event)
        frames = self._output.take()
        if frames:
            self._block = event.index
        elif self._message.hides:
            self._hidden = event.index
        return frames

    def close(self, usage: Usage) -> bytes:
        self._message.close(usage)
        return self._output.take()

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._request_id)

    def heartbeat(self) -> bytes:
        return _PING


def renderer(translation: Translation, reply: ReplyContext) -> MessagesRenderer:
    return MessagesRenderer(translation, reply)


def fold(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> dict[str, Any]:
    """The message object. Raises the `GatewayError` that an `End` means which is no end of an answer."""
    output = FoldedOutput()
    message = Message(translation.options, reply, output)
    for event in choices[0]:
        message.feed(event)
    message.close(usage)
    return output.message
