"""Reply events as Chat Completions: a stream of chunks, or one object folded from the same deltas.

`Choice` turns events into deltas; `ChatRenderer` wraps each delta in a chunk, `fold` merges them the way the official
SDK's accumulator does. So a buffered answer equals its stream by construction.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from shared.dialects.contract import ReplyContext, Translation
from shared.dialects.openai.answers import served_tier
from shared.dialects.openai.errors import error_frame
from shared.dialects.openai_chat.choice import Choice, Delta
from shared.dialects.openai_chat.options import ChatOptions
from shared.dialects.openai_chat.usage import chat_usage
from shared.dialects.running_text import MARK, HiddenText, RunningText, around
from shared.errors import GatewayError
from shared.events import BlockDelta, Event, Start, Usage
from shared.gemini.audio import wav_header
from shared.json_codec import encode
from shared.sse import frame

_ROLE: Delta = {"role": "assistant", "content": "", "refusal": None}


class _Head:
    """The fields that every chunk of an answer repeats, fixed by the first upstream chunk."""

    def __init__(self, reply: ReplyContext) -> None:
        self.id = f"chatcmpl-{reply.request_id}"
        self.created = reply.created
        self.model = reply.requested_model

    def see(self, start: Start) -> None:
        if start.response_id:
            self.id = f"chatcmpl-{start.response_id}"
        if start.model_version:
            self.model = start.model_version

    def fields(self, object_name: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": object_name,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": _fingerprint(self.model),
        }


@lru_cache(maxsize=64)
def _fingerprint(model: str) -> str:
    return f"fp_{hashlib.sha256(model.encode()).hexdigest()[:10]}"


class _Chunk(Struct, frozen=True):
    """What stands around the delta in the chunks of one choice that bring nothing else."""

    before: bytes
    after: bytes

    def frame(self, delta: Delta) -> bytes:
        return b"".join((self.before, encode(delta), self.after))

    def running(self, block: int, member: str | None) -> RunningText:
        if member is None:
            return HiddenText(block, b"", b"")
        return RunningText(block, b'%b{"%b":' % (self.before, member.encode()), b"}" + self.after)


class ChatRenderer:
    """Frames of one streamed answer with one or more choices."""

    def __init__(self, translation: Translation, reply: ReplyContext) -> None:
        options: ChatOptions = translation.options
        self._options = options
        self._reply = reply
        self._head = _Head(reply)
        self._fields: dict[str, Any] = {}
        self._chunks: list[_Chunk] = []  # by choice, once the stream has begun
        self._running: dict[int, RunningText] = {}  # by choice
        self._choices = [
            Choice(options, reply.request_id, reply.created, live=True) for _ in range(translation.choices)
        ]

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is BlockDelta:
            running = self._running.get(choice)
            if running is not None and running.index == event.index:
                return running.frame(event.text)
            return self._opening() + self._begin(event, choice)
        if isinstance(event, Start) and not self._chunks:
            self._head.see(event)
        return self._opening() + self._frames(event, choice)

    def close(self, usage: Usage) -> bytes:
        tail = b"data: [DONE]\n\n"
        if not self._options.include_usage:
            return tail
        fields = self._fields or self._head.fields("chat.completion.chunk")
        last = {**fields, "choices": [], "usage": chat_usage(usage), "service_tier": served_tier(usage)}
        return frame(encode(last)) + tail

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._reply.error_id)

    def heartbeat(self) -> bytes:
        return b": keep-alive\n\n"

    def _opening(self) -> bytes:
        """One role chunk per choice, in index order, before anything else: accumulators build choices by position."""
        if self._chunks:
            return b""
        self._fields = self._head.fields("chat.completion.chunk")
        self._chunks = [_Chunk(*around(self._frame(index, MARK))) for index in range(len(self._choices))]
        return b"".join([chunk.frame(_ROLE) for chunk in self._chunks])

    def _begin(self, delta: BlockDelta, choice: int) -> bytes:
        """The first text of a block; what follows it is framed alike, unless it counts where the text stands."""
        member = self._choices[choice].member(delta)
        running = self._chunks[choice].running(delta.index, member)
        if not self._options.mixed:
            self._running[choice] = running
        return running.frame(delta.text)

    def _frames(self, event: Event, choice: int) -> bytes:
        """Only an empty delta can have something beside it: logprobs, the reason why the answer ends."""
        state, chunk = self._choices[choice], self._chunks[choice]
        frames = [
            chunk.frame(delta) if delta else self._frame(choice, delta, state.finish_reason, logprobs)
            for delta, logprobs in state.deltas(event)
        ]
        return b"".join(frames)

    def _frame(
        self, choice: int, delta: Delta | str, finish: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> bytes:
        entry: dict[str, Any] = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if finish:
            entry["native_finish_reason"] = self._choices[choice].native_finish_reason
        chunk = {**self._fields, "choices": [entry]}
        if self._options.include_usage:
            chunk["usage"] = None
        return frame(encode(chunk))


def renderer(translation: Translation, reply: ReplyContext) -> ChatRenderer:
    return ChatRenderer(translation, reply)


def fold(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> dict[str, Any]:
    """The `chat.completion` object; one list of events per choice."""
    options: ChatOptions = translation.options
    head = _Head(reply)
    rendered = []
    for index, events in enumerate(choices):
        state = Choice(options, reply.request_id, reply.created)
        message = _Message()
        for event in events:
            if type(event) is BlockDelta:
                message.say(state.member(event), event.text)
                continue
            if isinstance(event, Start) and index == 0:
                head.see(event)
            for delta, logprobs in state.deltas(event):
                message.merge(delta, logprobs)
        rendered.append(message.choice(index, state, options))
    body = head.fields("chat.completion")
    body["choices"] = rendered
    body["usage"] = chat_usage(usage)
    body["service_tier"] = served_tier(usage)
    if options.echo_metadata is not None:
        body["metadata"] = options.echo_metadata
    return body


class _Message:
    """Merges deltas into one message."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
        self._calls: list[dict[str, Any]] = []
        self._function_call: dict[str, Any] | None = None
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._audio: dict[str, Any] | None = None
        self._audio_data: list[bytes] = []
        self._extra: dict[str, Any] | None = None
        self._logprobs: list[dict[str, Any]] | None = None

    def say(self, member: str | None, text: str) -> None:
        if member is not None:
            self._texts[member].append(text)

    def merge(self, delta: Delta, logprobs: dict[str, Any] | None) -> None:
        for name, value in delta.items():
            if name in self._texts:
                self._texts[name].append(value)
            elif name == "tool_calls":
                self._merge_call(value[0])
            elif name == "function_call":
                self._function_call = (self._function_call or {}) | value
            elif name == "audio":
                self._audio = self._audio or {k: v for k, v in value.items() if k != "data"}
                self._audio_data.append(base64.b64decode(value["data"]))
            elif name == "extra_content":
                self._extra = value
            elif name == "images":
                self._images.extend(value)
            elif name == "annotations":
                self._annotations.extend({k: v for k, v in entry.items() if k != "index"} for entry in value)
        if logprobs:
            self._logprobs = [*(self._logprobs or []), *logprobs["content"]]

    def _merge_call(self, part: Delta) -> None:
        if part["index"] == len(self._calls):
            self._calls.append({k: v for k, v in part.items() if k != "index"})
            return
        call = self._calls[part["index"]]
        for kind in ("function", "custom"):
            if kind in part:
                call[kind] = call[kind] | part[kind]

    def choice(self, index: int, state: Choice, options: ChatOptions) -> dict[str, Any]:
        content = "".join(self._texts["content"])
        silent = bool(self._calls or self._function_call or self._audio or self._texts["refusal"])
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content if content or not silent else None,
            "refusal": "".join(self._texts["refusal"]) or None,
            "annotations": self._annotations,
        }
        if reasoning := "".join(self._texts["reasoning_content"]):
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = self._calls
        if self._function_call:
            message["function_call"] = self._function_call
        if self._images:
            message["images"] = self._images
        if self._audio:
            message["audio"] = self._audio | {"data": self._sound(state.audio_rate, options.audio_format)}
        if self._extra:
            message["extra_content"] = self._extra
        return {
            "index": index,
            "message": message,
            "logprobs": None if self._logprobs is None else {"content": self._logprobs, "refusal": None},
            "finish_reason": state.finish_reason or "stop",
            "native_finish_reason": state.native_finish_reason,
        }

    def _sound(self, rate: int, audio_format: str | None) -> str:
        pcm = b"".join(self._audio_data)
        sound = pcm if audio_format == "pcm16" else wav_header(len(pcm), rate) + pcm
        return base64.b64encode(sound).decode()
