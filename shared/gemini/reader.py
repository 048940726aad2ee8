"""Upstream chunks to reply events: one reader for one candidate, over all hops of a long decode.

Chunks are cumulative in nothing but their usage: each brings new parts, and the last word counts for everything else.
The finish reason may stand on an early chunk, on an extra chunk without content, or twice; so the end of the bytes ends
the answer, and the end without a finish reason is a failure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import GatewayError
from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockKind,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    Draft,
    End,
    Event,
    Finish,
    Logprobs,
    LooseSignature,
    Media,
    ServerTool,
    Start,
    ToolCall,
    Usage,
)
from shared.gemini.errors import from_chunk
from shared.gemini.finish import LANGUAGE_NUMBERS, OUTCOME_NUMBERS, enum_word, finish_class
from shared.gemini.grounding import TextMap, citations
from shared.gemini.plain_text import Counters, PlainText, TextPart, as_object
from shared.gemini.told import IN_BETWEEN, Told, ToldHop
from shared.gemini.usage import has_counters, read_usage

# Shown by extensions only, the last of each that is not empty.
_METADATA = ("groundingMetadata", "citationMetadata", "urlContextMetadata", "safetyRatings")


class _Hop(ToldHop):
    """With what it has said: every call has numbers and offsets of its own."""

    def __init__(self, text_offset: int) -> None:
        super().__init__()
        self.text_offset = text_offset  # characters of visible text in earlier hops
        self.text: list[str] = []
        self.part_starts: list[int | None] = []
        self.text_length = 0
        self.thought_length = 0
        self.usage_metadata: Mapping[str, Any] | Counters | None = None
        self.message: str | None = None


class ReplyReader(Told):
    """`feed` every chunk, then `close`. Function calls are held until a finish reason, because a parsed call may come
    with the reason that forbids running it; what follows a held call waits with it, so that order is kept. `drafts`
    asks for the pictures among the thoughts, which are left out otherwise.
    """

    _hop: _Hop

    def __init__(self, *, drafts: bool = False) -> None:
        super().__init__()
        self._drafts = drafts
        self._identified = False  # nothing more to learn of who answers
        self._next_index = 0
        self._open_kind: BlockKind | None = None  # of the block that more text belongs to, if one is open
        self._open_index = 0
        self._held: list[Mapping[str, Any] | TextPart] = []
        self._hop = _Hop(0)
        self._first_metadata: Mapping[str, Any] | Counters | None = None  # of the chunk that started the answer
        self._first_usage: Usage | None = None
        self._earlier_citations: list[Citation] = []
        self._metadata: dict[str, Any] = {}

    @property
    def hop_output_seen(self) -> bool:
        return bool(self._hop.part_starts)

    def feed(self, chunk: Mapping[str, Any] | PlainText) -> list[Event]:
        """The events of one chunk. An error object raises the `GatewayError` that it means: its own kind before
        anything was read, `upstream_interrupted` with the finer word as `reason` after."""
        events: list[Event] = []
        self.feed_all((chunk,), events)
        return events

    def feed_all(self, chunks: Iterable[Mapping[str, Any] | PlainText], events: list[Event]) -> None:
        """The same for chunks that came together; on a failure `events` has what was said before it."""
        self._usage = None
        for chunk in chunks:
            if type(chunk) is PlainText:
                self._read_plain_text(chunk, events)
            else:
                self._read_chunk(chunk, events)

    def _read_plain_text(self, chunk: PlainText, events: list[Event]) -> None:
        """What `_read_chunk` would do with it."""
        hop, part = self._hop, chunk.candidates[0].content.parts[0]
        if not self._identified:
            self._begin(chunk.modelVersion, chunk.responseId, chunk.usageMetadata, events)
        hop.usage_metadata = chunk.usageMetadata
        hop.chunk_seen = hop.candidate_seen = hop.usage_is_last = True
        hop.token_is_fresh = False
        if self._held:
            self._held.append(part)
        elif part.text:
            self._read_text(part.text, "reasoning" if part.thought else "text", None, events)

    def _read_chunk(self, chunk: Mapping[str, Any], events: list[Event]) -> None:
        if not isinstance(chunk, dict):
            raise GatewayError("upstream_invalid_response", "A chunk of the upstream's reply is no object.")
        if "error" in chunk:
            raise from_chunk(chunk["error"], begun=self.started)
        self._hop.chunk_seen = True
        if not self._identified:
            self._begin(chunk.get("modelVersion"), chunk.get("responseId"), chunk.get("usageMetadata"), events)
        candidates = chunk.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict) and not candidate.get("index"):  # none means 0
                self._read_candidate(candidate, events)
                break
        if "promptFeedback" in chunk:
            self._hop.read_feedback(chunk["promptFeedback"])
        metadata = chunk.get("usageMetadata")
        if has_counters(metadata):
            self._hop.usage_metadata, self._hop.usage_is_last = metadata, True

    def next_hop(self) -> list[Event]:
        """Continue with the chunks of another upstream call: a long decode goes on, or a broken stream resumes. The
        finish of the hop so far is suppressed and its usage kept; block numbers and text offsets run on. The events are
        of parts that waited for a finish, and that the other call will not repeat."""
        events: list[Event] = []
        if self._held and self.token_covers_output:
            self._release("continuation", events)
        self._held.clear()  # what came after the last token is made anew, and half an answer's calls must not run
        self.earlier_usages.append(self.hop_usage)
        self._usage = None
        self._earlier_citations += self._citations()
        self._hop = _Hop(self._hop.text_offset + self._hop.text_length)
        return events

    def close(self) -> list[Event]:
        """The last events, `End` among them. Raises upstream_truncated when the upstream never said how it ended."""
        hop = self._hop
        finish, reason = hop.end()
        events: list[Event] = []
        self._usage = None
        self._release(finish, events)
        self._close_block(events)
        events += self._earlier_citations + self._citations()
        blocked = hop.prompt_blocked
        events.append(End(finish, reason, self.usage, hop.message, prompt_blocked=blocked, metadata=self._metadata))
        return events

    def _begin(self, version: Any, response_id: Any, metadata: Any, events: list[Event]) -> None:
        """The first chunk starts the answer; who gives it may be told by a later one."""
        self._identify(version, response_id)
        self._identified = bool(self.model_version and self.response_id)
        if not self.started:
            self.started = True
            if type(metadata) is Counters or has_counters(metadata):
                self._first_metadata, self._first_usage = metadata, _read_usage(metadata, 0, 0)
            events.append(Start(self.response_id, self.model_version, self._first_usage))

    def _read_candidate(self, candidate: Mapping[str, Any], events: list[Event]) -> None:
        hop = self._hop
        hop.candidate_seen = True
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict):
                hop.usage_is_last = hop.token_is_fresh = False
                if self._held or "functionCall" in part:
                    self._held.append(part)
                else:
                    self._read_part(part, events)
        if candidate.keys() <= IN_BETWEEN:
            return
        if isinstance(message := candidate.get("finishMessage"), str) and message:
            hop.message = message
        for name in _METADATA:
            if candidate.get(name):
                self._metadata[name] = candidate[name]
        if hop.read_ending(candidate):
            self._release(finish_class(hop.finish), events)
        if isinstance(candidate.get("logprobsResult"), dict):
            events.append(_logprobs(candidate["logprobsResult"]))

    @property
    def hop_usage(self) -> Usage:
        hop, first = self._hop, self._first_usage
        counted, text, thoughts = None, hop.text_length, hop.thought_length
        if hop.usage_metadata is not None:
            if first is not None and not first.estimated and hop.usage_metadata is self._first_metadata:
                counted = first
            else:
                counted = _read_usage(hop.usage_metadata, text, thoughts)
        return hop.usage(counted, text, thoughts)

    def _release(self, finish: Finish, events: list[Event]) -> None:
        """Let the held parts go; a fault of the model forbids its calls, not what it said."""
        held, self._held = self._held, []
        void = finish in ("fault", "account")
        for part in held:
            if type(part) is TextPart:
                if part.text:
                    self._read_text(part.text, "reasoning" if part.thought else "text", None, events)
            elif not (void and "functionCall" in part):
                self._read_part(part, events)

    def _read_part(self, part: Mapping[str, Any], events: list[Event]) -> None:
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) and signature else None
        text = part.get("text")
        if isinstance(text, str) and text:
            self._read_text(text, "reasoning" if part.get("thought") is True else "text", signature, events)
            return
        event = self._read_other(part, signature)
        if not isinstance(text, str):
            self._hop.part_starts.append(None)
        if event is not None:
            self._close_block(events)
            self._next_index += 1
            events.append(event)
        elif signature and self._open_kind == "text":
            self._close_block(events, signature)
        elif signature and part.get("thought") is not True:
            events.append(LooseSignature(signature))

    def _read_text(self, text: str, kind: BlockKind, signature: str | None, events: list[Event]) -> None:
        hop = self._hop
        if self._open_kind != kind:
            self._close_block(events)
            self._open_index, self._open_kind = self._next_index, kind
            self._next_index += 1
            hop.part_starts.append(hop.text_length if kind == "text" else None)
            events.append(BlockStart(self._open_index, kind))
        elif not hop.part_starts:  # a block that runs on from the hop before
            hop.part_starts.append(0 if kind == "text" else None)
        events.append(BlockDelta(self._open_index, text))
        if kind == "text":
            hop.text.append(text)
            hop.text_length += len(text)
        else:
            hop.thought_length += len(text)
        if signature:
            self._close_block(events, signature)

    def _read_other(self, part: Mapping[str, Any], signature: str | None) -> Event | None:
        """The event of a part that is no text; None for one that shows nothing: a draft image among the thoughts, or a
        piece of a call, which only Vertex AI sends, and which must not run."""
        index = self._next_index
        if isinstance(call := part.get("functionCall"), dict) and _is_whole(call):
            return ToolCall(index, call["name"], _arguments(call.get("args")), _id(call), signature)
        thought = part.get("thought") is True
        if isinstance(blob := part.get("inlineData"), dict) and (self._drafts or not thought):
            data = _text(blob.get("data"))
            kind = Draft if thought else Media
            return kind(index, _text(blob.get("mimeType")), data, signature) if data else None
        if isinstance(code := part.get("executableCode"), dict):
            language = enum_word(code.get("language"), LANGUAGE_NUMBERS)
            return Code(index, language, _text(code.get("code")), _id(code), signature)
        if isinstance(result := part.get("codeExecutionResult"), dict):
            outcome = enum_word(result.get("outcome"), OUTCOME_NUMBERS)
            return CodeResult(index, outcome, _text(result.get("output")), _id(result), signature)
        if "toolCall" in part or "toolResponse" in part:
            return ServerTool(index, part)
        return None

    def _close_block(self, events: list[Event], signature: str | None = None) -> None:
        if self._open_kind is not None:
            events.append(BlockEnd(self._open_index, signature))
            self._open_kind = None

    def _citations(self) -> list[Citation]:
        hop = self._hop
        if not hop.grounding.get("groundingSupports"):
            return []
        return citations(hop.grounding, TextMap("".join(hop.text), hop.part_starts, hop.text_offset))


def _read_usage(metadata: Mapping[str, Any] | Counters, text: int, thoughts: int) -> Usage:
    counted = as_object(metadata) if type(metadata) is Counters else metadata
    return read_usage(counted, text_characters=text, thought_characters=thoughts)


def _logprobs(result: Mapping[str, Any]) -> Logprobs:
    ranked = [row.get("candidates") for row in _objects(result.get("topCandidates"))]
    return Logprobs(_objects(result.get("chosenCandidates")), tuple(_objects(row) for row in ranked))


def _objects(listed: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(item for item in listed if isinstance(item, dict)) if isinstance(listed, list) else ()


def _is_whole(call: Mapping[str, Any]) -> bool:
    return isinstance(call.get("name"), str) and not call.get("willContinue") and "partialArgs" not in call


def _arguments(args: Any) -> Mapping[str, Any]:
    """Calls without parameters come with `{}`, once with nothing at all."""
    if isinstance(args, dict):
        return args
    return {} if args is None else {"value": args}


def _id(part: Mapping[str, Any]) -> str | None:
    value = part.get("id")
    return value if isinstance(value, str) and value else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
