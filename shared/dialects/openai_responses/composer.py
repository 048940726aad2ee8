"""Reply events as a response that grows: what happens to it, and what it is in the end.

Streams and buffered answers are both made here: a buffered answer is the response of the last lifecycle event. One item
is open at a time; its place in the output is the number of finished ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from shared.dialects.contract import ReplyContext
from shared.dialects.openai.answers import served_tier
from shared.dialects.openai_responses.call_items import call_item, item_prefix
from shared.dialects.openai_responses.echo import ENCRYPTED, visible, visible_response
from shared.dialects.openai_responses.encrypted import item_key, seal_signatures
from shared.dialects.openai_responses.errors import response_error
from shared.dialects.openai_responses.message_item import MessageItem
from shared.dialects.openai_responses.options import ResponseOptions, ToolKind
from shared.dialects.openai_responses.reasoning_item import ReasoningItem
from shared.dialects.openai_responses.server_items import (
    code_outputs,
    queries_of,
    searches_of,
    sources_of,
    web_search_item,
)
from shared.dialects.openai_responses.text_part import Say, TextPart
from shared.dialects.openai_responses.usage import response_usage
from shared.errors import GatewayError
from shared.events import (
    BlockEnd,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    End,
    Event,
    Logprobs,
    LooseSignature,
    Media,
    ServerTool,
    Start,
    ToolCall,
    Usage,
)
from shared.gemini.signatures import FoundSignature, call_key, text_key

_FUNCTION = ToolKind()
_INCOMPLETE = {"length": "max_output_tokens", "continuation": "max_output_tokens", "blocked": "content_filter"}
_ON_THE_WAY = ("reasoning", "web_search_call", "code_interpreter_call")


class Composer:
    """`feed` and `close` (or `fail`) tell `say` what happens. Text is not fed: who has it adds it to the `part` of its
    block, and tells of it. `response` is the whole object as of the last lifecycle event, with members that `include`
    did not ask for. Without `say` only `response` matters."""

    def __init__(self, options: ResponseOptions, reply: ReplyContext, say: Say | None = None) -> None:
        self._options = options
        self._reply = reply
        self._quiet = say is None
        self._say = say or _say_nothing
        self._tag = reply.request_id.lower()
        self._carries = ENCRYPTED in options.include and reply.seal is not None  # signatures, to the client and back
        self._model = reply.requested_model
        self._opened = False
        self._output: list[dict[str, Any]] = []
        self._message: MessageItem | None = None
        self._reasoning: ReasoningItem | None = None
        self._code: dict[str, Any] | None = None
        self._blocks: dict[int, str] = {}
        self._characters = 0  # of visible text in finished messages
        self._calls = 0
        self._end: End | None = None
        self.response: dict[str, Any] | None = None

    def feed(self, event: Event) -> None:
        if isinstance(event, Start):
            self._model = event.model_version or self._model
        if not self._opened:
            self._open()
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(self, event)

    def part(self, block: int) -> TextPart | None:
        """The open part that the text of a block is to be added to; None for a thought that is not shown."""
        if not self._opened:
            self._open()
        if self._blocks.get(block) != "reasoning":
            return self._speak().text_part()
        return self._reasoning.part if self._reasoning is not None else None

    def beat(self) -> None:
        """Something to say while nothing happens: the response is still in progress."""
        if self._opened:
            self._lifecycle("in_progress", "response.in_progress")
        self._open()

    def close(self, usage: Usage) -> None:
        """The terminal event; `usage` is what the whole answer used."""
        self._open()
        end = self._end or End("stop", "", usage)
        if end.finish in ("fault", "account"):
            error = GatewayError("upstream_fault", f"The model's answer was unusable ({end.reason}).")
            self.fail(error, usage)
            return
        reason = self._incomplete(end)
        self._close_items("incomplete" if reason else "completed")
        members: dict[str, Any] = {"usage": response_usage(usage), "service_tier": served_tier(usage)}
        if reason:
            members["incomplete_details"] = {"reason": reason}
        status = "incomplete" if reason else "completed"
        self._lifecycle(status, f"response.{status}", **members)

    def fail(self, error: GatewayError, usage: Usage | None = None) -> None:
        self._open()
        self._close_items("incomplete")
        used = response_usage(usage) if usage else None
        self._lifecycle("failed", "response.failed", error=response_error(error), usage=used)

    # --- the response around its items

    def _open(self) -> None:
        if not self._opened:
            self._opened = True
            if not self._quiet:
                self._lifecycle("in_progress", "response.created", "response.in_progress")

    def _lifecycle(self, status: str, *kinds: str, **members: Any) -> None:
        self.response = {
            "id": response_id(self._reply.request_id),
            "object": "response",
            "created_at": self._reply.created,
            "completed_at": self._reply.now if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": [dict(item) for item in self._output],
            "service_tier": self._options.service_tier or "default",
            "usage": None,
            **self._options.echo,
            **members,
        }
        if self._options.transformations:
            self.response["input_transformations"] = list(self._options.transformations)
        if not self._quiet:
            self._say({"response": visible_response(self.response, self._options.include)}, *kinds)

    def _incomplete(self, end: End) -> str | None:
        """Why the answer is not whole. A tool call is a whole answer whatever ended the text after it."""
        if end.finish == "no_output":
            return None if self._answered() else "content_filter"
        if end.finish in ("length", "continuation") and self._calls:
            return None
        return _INCOMPLETE.get(end.finish)

    def _answered(self) -> bool:
        """Whether there is anything besides what the model did on its way to an answer."""
        return self._message is not None or any(item["type"] not in _ON_THE_WAY for item in self._output)

    # --- one item after the other

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self._tag}{len(self._output):02d}"

    def _add(self, item: Mapping[str, Any]) -> None:
        shown = visible(item, self._options.include)
        self._say({"output_index": len(self._output), "item": shown}, "response.output_item.added")

    def _done(self, item: dict[str, Any]) -> None:
        shown = visible(item, self._options.include)
        self._say({"output_index": len(self._output), "item": shown}, "response.output_item.done")
        self._output.append(item)

    def _think(self) -> ReasoningItem:
        """The open reasoning item, or a new one after whatever was open."""
        if self._reasoning is None:
            self._close_items("completed")
            self._reasoning = ReasoningItem(self._new_id("rs"), len(self._output), self._say)
            self._add(self._reasoning.head())
        return self._reasoning

    def _close_items(self, status: str) -> None:
        self._close_reasoning(status)
        self._close_message(status)
        self._close_code(status)

    def _close_reasoning(self, status: str = "completed", signed: Mapping[str, FoundSignature] | None = None) -> None:
        if self._reasoning is None:
            return
        # also where nothing is signed: Vercel's SDK warns of a reasoning item without it
        sealed = self._sealed(signed or {}) if self._carries else None
        item, self._reasoning = self._reasoning.close(status, sealed), None
        self._done(item)

    def _close_message(self, status: str) -> None:
        if self._message is None:
            return
        message, self._message = self._message, None
        text = message.text
        self._characters += len(text)
        self._done(message.close(status, text))
        if message.signature and text and self._carries:
            self._carry({text_key("", text): self._found(message.signature)})

    def _close_code(self, status: str) -> None:
        if self._code is not None:
            item, self._code = self._code, None
            at = {"output_index": len(self._output), "item_id": item["id"]}
            self._say(at, "response.code_interpreter_call.completed")
            self._done({**item, "status": status})

    # --- signatures

    def _found(self, signature: str, native_id: str | None = None, name: str = "") -> FoundSignature:
        return FoundSignature(signature, native_id, name, self._options.family)

    def _carry(self, signed: Mapping[str, FoundSignature]) -> None:
        """A reasoning item that brings these signatures to the client and back: the open one, or one made for them."""
        self._think()
        self._close_reasoning(signed=signed)

    def _sealed(self, signed: Mapping[str, FoundSignature]) -> str | None:
        if self._reply.seal is None:
            return None
        return seal_signatures(self._options.family, signed, self._reply.seal)

    # --- events

    def _block_start(self, event: BlockStart) -> None:
        self._blocks[event.index] = event.kind
        if event.kind == "reasoning" and self._options.show_reasoning:
            self._think().begin_part()

    def _add_logprobs(self, event: Logprobs) -> None:
        if self._options.logprobs and self._message is not None:
            self._message.add_logprobs(event)

    def _loose_signature(self, event: LooseSignature) -> None:
        if self._message is not None:
            self._message.signature = event.signature

    def _speak(self) -> MessageItem:
        if self._message is None:
            self._close_items("completed")
            self._message = MessageItem(self._new_id("msg"), len(self._output), self._characters, self._say)
            self._add(self._message.head())
        return self._message

    def _block_end(self, event: BlockEnd) -> None:
        if self._blocks.get(event.index) == "reasoning":
            if self._reasoning is not None:
                self._reasoning.end_part()
        elif event.signature and self._message is not None:
            self._message.signature = event.signature

    def _call(self, call: ToolCall) -> None:
        self._close_message("completed")
        self._close_code("completed")
        self._calls += 1
        if call.signature and self._carries:
            self._carry({call_key(call.call_id): self._found(call.signature, call.native_id, call.name)})
        self._close_reasoning()
        kind = self._options.kinds.get(call.name, _FUNCTION)
        item = call_item(call, kind, self._new_id(item_prefix(kind)))
        at = {"output_index": len(self._output), "item_id": item["id"]}
        if item["type"] == "function_call":
            self._add({**item, "arguments": "", "status": "in_progress"})
            self._say({**at, "delta": item["arguments"]}, "response.function_call_arguments.delta")
            done = {"name": item["name"], "arguments": item["arguments"]}
            self._say({**at, **done}, "response.function_call_arguments.done")
        elif item["type"] == "custom_tool_call":
            self._add({**item, "input": ""})
            if item["input"]:
                self._say({**at, "delta": item["input"]}, "response.custom_tool_call_input.delta")
            self._say({**at, "input": item["input"]}, "response.custom_tool_call_input.done")
        else:
            self._add({**item, "status": "in_progress"})
        self._done({**item, "status": "completed"})

    def _media(self, media: Media) -> None:
        if not media.mime_type.startswith("image/"):
            return
        self._close_items("completed")
        self._carry_for("ig", media.signature)
        item_id = self._new_id("ig")
        at = {"output_index": len(self._output), "item_id": item_id}
        item: dict[str, Any] = {"id": item_id, "type": "image_generation_call", "status": "in_progress", "result": None}
        self._sign(item, media.signature)
        self._add(item)
        words = ("in_progress", "generating", "completed")
        self._say(at, *(f"response.image_generation_call.{word}" for word in words))
        self._done({**item, "status": "completed", "result": media.data})

    def _carry_for(self, prefix: str, signature: str | None) -> None:
        """The signature, if any, of an item that follows its carrier and whose id is known from its place."""
        if signature and self._carries:
            key = item_key(f"{prefix}_{self._tag}{len(self._output) + 1:02d}")
            self._carry({key: self._found(signature)})

    def _sign(self, item: dict[str, Any], signature: str | None) -> None:
        """Where no carrier goes to the client, the kept item is its own; no client is shown this member of it."""
        if signature and not self._carries and self._reply.seal is not None:
            item["encrypted_content"] = self._sealed({item_key(item["id"]): self._found(signature)})

    def _interpreter(self, event: Code | CodeResult) -> None:
        if isinstance(event, Code):
            self._close_items("completed")
            self._carry_for("ci", event.signature)
            self._start_code(event.code, event.signature)
            return
        if self._code is None:
            self._close_items("completed")
            self._start_code("")
        if self._code is not None:
            self._code["outputs"] = code_outputs(event)
        self._close_code("completed" if event.outcome in ("OUTCOME_OK", "") else "failed")

    def _start_code(self, code: str, signature: str | None = None) -> None:
        item: dict[str, Any] = {
            "id": self._new_id("ci"),
            "type": "code_interpreter_call",
            "container_id": f"cntr_{self._tag}",
            "code": code,
            "outputs": None,
            "status": "in_progress",
        }
        self._sign(item, signature)
        at = {"output_index": len(self._output), "item_id": item["id"]}
        self._add({**item, "code": ""})
        self._say(at, "response.code_interpreter_call.in_progress")
        if code:
            self._say({**at, "delta": code}, "response.code_interpreter_call_code.delta")
        self._say({**at, "code": code}, "response.code_interpreter_call_code.done")
        self._say(at, "response.code_interpreter_call.interpreting")
        self._code = item

    def _server_tool(self, event: ServerTool) -> None:
        queries = queries_of(event.part)
        if queries is not None:
            self._close_items("completed")
            self._search(queries, [])

    def _search(self, queries: list[str], sources: list[dict[str, str]]) -> None:
        item = web_search_item(self._new_id("ws"), queries, sources)
        at = {"output_index": len(self._output), "item_id": item["id"]}
        self._add({**item, "status": "in_progress"})
        words = ("in_progress", "searching", "completed")
        self._say(at, *(f"response.web_search_call.{word}" for word in words))
        self._done(item)

    def _cite(self, citation: Citation) -> None:
        """Citations come last. The text of a finished message can no longer change for those who follow the stream, so
        its citations stand in the whole response only."""
        if self._message is not None and citation.end > self._characters:
            self._message.cite(citation)
            return
        offset = 0
        for item in self._output:
            text = item["content"][0].get("text", "") if item["type"] == "message" else ""
            if offset <= citation.start < offset + len(text):
                item["content"][0]["annotations"].append(MessageItem.annotation(citation, offset))
                return
            offset += len(text)

    def _finish(self, end: End) -> None:
        """What the end says besides its usage: the search behind the answer, a refusal."""
        self._end = end
        if grounding := end.metadata.get("groundingMetadata"):
            self._show_grounding(grounding, "incomplete" if self._incomplete(end) else "completed")
        if end.finish == "blocked" and not self._answered():
            refusal = f"blocked: {end.reason}" if end.prompt_blocked else end.message or f"blocked: {end.reason}"
            self._speak().refuse(refusal)

    def _show_grounding(self, grounding: object, status: str) -> None:
        sources = sources_of(grounding)
        searches = [item for item in self._output if item["type"] == "web_search_call"]
        for item in searches:
            item["action"] = {**item["action"], "sources": sources}
        queries = searches_of(grounding)
        if queries and not searches:
            self._close_items(status)
            self._search(queries, sources)
            if self._quiet:
                self._output.insert(self._first_message(), self._output.pop())

    def _first_message(self) -> int:
        """Where a search of a buffered answer stands, as in OpenAI's: pydantic-ai takes text before a search for a
        thought and asks again. A stream tells of the search when it learns of it, after the text."""
        return next((at for at, item in enumerate(self._output) if item["type"] == "message"), len(self._output) - 1)

    _handlers: ClassVar[Mapping[type, Callable[["Composer", Any], None]]] = {
        BlockStart: _block_start,
        BlockEnd: _block_end,
        ToolCall: _call,
        Media: _media,
        Code: _interpreter,
        CodeResult: _interpreter,
        ServerTool: _server_tool,
        Citation: _cite,
        Logprobs: _add_logprobs,
        LooseSignature: _loose_signature,
        End: _finish,
    }


def _say_nothing(members: Mapping[str, Any], *kinds: str) -> None:
    pass


def response_id(request_id: str) -> str:
    return f"resp_{request_id.lower()}"
