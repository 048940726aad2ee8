"""Reply events as Chat Completions: a stream of chunks, or one object folded from the same deltas.

`Choice` turns events into deltas; `ChatRenderer` wraps each delta in a chunk, `fold` merges them the way the official
SDK's accumulator does. So a buffered answer equals its stream by construction.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from shared.dialects.contract import ReplyContext, Translation
from shared.dialects.openai.errors import error_frame
from shared.dialects.openai_chat.options import ChatOptions
from shared.dialects.openai_chat.usage import chat_usage
from shared.dialects.running_text import MARK, RunningText, around
from shared.errors import GatewayError
from shared.events import (
    BlockDelta,
    BlockStart,
    Citation,
    Code,
    CodeResult,
    End,
    Event,
    Logprobs,
    Media,
    Start,
    ToolCall,
    Usage,
)
from shared.gemini.audio import sample_rate, wav_header
from shared.json_codec import encode, encode_text
from shared.sse import frame

Delta = dict[str, Any]
Fragment = tuple[Delta, dict[str, Any] | None]  # a delta, and the logprobs beside it

_FINISH = {"stop": "stop", "length": "length", "continuation": "length", "blocked": "content_filter", "fault": "stop"}
_METADATA = {
    "groundingMetadata": "grounding_metadata",
    "citationMetadata": "citation_metadata",
    "urlContextMetadata": "url_context_metadata",
    "safetyRatings": "safety_ratings",
}


def finish_reason(end: End, *, calls: int, output: bool, legacy: bool = False) -> str:
    """One of OpenAI's five reasons. The upstream says STOP after tool calls too: whether any was seen decides."""
    if calls and end.finish not in ("blocked", "fault"):
        return "function_call" if legacy else "tool_calls"
    if end.finish == "no_output":
        return "stop" if output else "content_filter"
    return _FINISH.get(end.finish, "stop")


class Choice:
    """One candidate's events as deltas. The finishing delta is the last, with `finish_reason` set beside it."""

    def __init__(self, options: ChatOptions, request_id: str, created: int) -> None:
        self._options = options
        self._request_id = request_id
        self._created = created
        self._calls = 0
        self._images = 0
        self._visible = False
        self._block_kinds: dict[int, str] = {}
        self._annotations: list[dict[str, Any]] = []
        self.audio_rate = 0
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None

    def deltas(self, event: Event) -> list[Fragment]:
        """(delta, logprobs) pairs for one event; most events give one, some none."""
        match event:
            case BlockDelta():
                return self._text(event)
            case ToolCall():
                return [(delta, None) for delta in self._call(event)]
            case Media():
                return self._media(event)
            case Code(language=language, code=code):
                return self._content(f"```{language.lower() or 'text'}\n{code.rstrip()}\n```\n")
            case CodeResult(output=output):
                return self._content(f"```output\n{output.rstrip()}\n```\n")
            case Logprobs() if self._options.logprobs:
                return [({}, {"content": _logprobs(event), "refusal": None})]
            case Citation():
                self._annotations.append(
                    {
                        "index": len(self._annotations),
                        "type": "url_citation",
                        "url_citation": {
                            "url": event.url,
                            "title": event.title,
                            "start_index": event.start,
                            "end_index": event.end,
                        },
                    }
                )
            case End():
                return [(delta, None) for delta in self._end(event)]
            case BlockStart():
                self._block_kinds[event.index] = event.kind
        return []

    def _text(self, event: BlockDelta) -> list[Fragment]:
        if self._block_kinds.get(event.index) != "reasoning":
            return self._content(event.text)
        return [({"reasoning_content": event.text}, None)] if self._options.show_reasoning else []

    def _content(self, text: str) -> list[Fragment]:
        self._visible = True
        return [({"content": text}, None)]

    def _call(self, call: ToolCall) -> list[Delta]:
        """A head with id and name, then the arguments, which repeat neither: accumulators concatenate strings."""
        arguments = encode_text(dict(call.args))
        if self._options.legacy_function_call:
            self._calls += 1
            return [
                {"function_call": {"name": call.name, "arguments": ""}},
                {"function_call": {"arguments": arguments}},
            ]
        index, self._calls = self._calls, self._calls + 1
        head: Delta = {"index": index, "id": call.call_id}
        if call.name in self._options.custom_tools:
            text = call.args.get("input", "")
            head |= {"type": "custom", "custom": {"name": call.name, "input": ""}}
            tail: Delta = {"index": index, "custom": {"input": text if isinstance(text, str) else encode_text(text)}}
        else:
            head |= {"type": "function", "function": {"name": call.name, "arguments": ""}}
            tail = {"index": index, "function": {"arguments": arguments}}
        if call.signature:
            head["extra_content"] = {"google": {"thought_signature": call.signature}}
        return [{"tool_calls": [head]}, {"tool_calls": [tail]}]

    def _media(self, media: Media) -> list[Fragment]:
        self._visible = True
        if media.mime_type.startswith("audio/"):
            delta: Delta = {"data": media.data}
            if not self.audio_rate:
                self.audio_rate = sample_rate(media.mime_type)
                delta = {
                    "id": f"audio_{self._request_id}",
                    "data": media.data,
                    "expires_at": self._created + 3600,
                    "transcript": "",
                }
            return [({"audio": delta}, None)]
        url = f"data:{media.mime_type};base64,{media.data}"
        if self._options.images_as_field:
            index, self._images = self._images, self._images + 1
            return [({"images": [{"index": index, "type": "image_url", "image_url": {"url": url}}]}, None)]
        return [({"content": f"![image]({url})"}, None)]

    def _end(self, end: End) -> list[Delta]:
        deltas: list[Delta] = []
        last: Delta = {"annotations": self._annotations} if self._annotations else {}
        google = {_METADATA[name]: value for name, value in end.metadata.items() if name in _METADATA and value}
        if google:
            last["extra_content"] = {"google": google}
        if last:
            deltas.append(last)
        if end.finish == "blocked":
            refusal = f"blocked: {end.reason}" if end.prompt_blocked else end.message
            if refusal:
                deltas.append({"refusal": refusal})
        self.finish_reason = finish_reason(
            end, calls=self._calls, output=self._visible, legacy=self._options.legacy_function_call
        )
        self.native_finish_reason = end.reason
        return [*deltas, {}]


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
        fingerprint = hashlib.sha256(self.model.encode()).hexdigest()[:10]
        return {
            "id": self.id,
            "object": object_name,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"fp_{fingerprint}",
        }


class ChatRenderer:
    """Frames of one streamed answer with one or more choices."""

    def __init__(self, translation: Translation, reply: ReplyContext) -> None:
        options: ChatOptions = translation.options
        self._options = options
        self._reply = reply
        self._head = _Head(reply)
        self._chunk: dict[str, Any] | None = None
        self._running: dict[int, RunningText] = {}  # by choice
        self._choices = [Choice(options, reply.request_id, reply.created) for _ in range(translation.choices)]

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is BlockDelta:
            running = self._running.get(choice)
            if running is not None and running.index == event.index:
                return running.frame(event.text)
            return self._opening() + self._begin(event, choice)
        if isinstance(event, Start) and self._chunk is None:
            self._head.see(event)
        return self._opening() + self._frames(event, choice)

    def close(self, usage: Usage) -> bytes:
        tail = b"data: [DONE]\n\n"
        if not self._options.include_usage:
            return tail
        return frame(encode({**(self._chunk or self._start()), "choices": [], "usage": chat_usage(usage)})) + tail

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._reply.error_id)

    def heartbeat(self) -> bytes:
        return b": keep-alive\n\n"

    def _start(self) -> dict[str, Any]:
        self._chunk = self._head.fields("chat.completion.chunk")
        return self._chunk

    def _opening(self) -> bytes:
        """One role chunk per choice, in index order, before anything else: accumulators build choices by position."""
        if self._chunk is not None:
            return b""
        self._start()
        role = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._frame(index, role, None, None) for index in range(len(self._choices)))

    def _begin(self, delta: BlockDelta, choice: int) -> bytes:
        """The first text of a block; what follows it is framed alike."""
        sample = self._frames(BlockDelta(delta.index, MARK), choice)
        if not sample:  # a thought that is not shown
            return b""
        self._running[choice] = running = RunningText(delta.index, *around(sample))
        return running.frame(delta.text)

    def _frames(self, event: Event, choice: int) -> bytes:
        state = self._choices[choice]
        frames = [
            self._frame(choice, delta, None if delta else state.finish_reason, logprobs)
            for delta, logprobs in state.deltas(event)
        ]
        return b"".join(frames)

    def _frame(self, choice: int, delta: Delta, finish: str | None, logprobs: dict[str, Any] | None) -> bytes:
        entry: dict[str, Any] = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if finish:
            entry["native_finish_reason"] = self._choices[choice].native_finish_reason
        chunk = {**(self._chunk or self._start()), "choices": [entry]}
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
            if isinstance(event, Start) and index == 0:
                head.see(event)
            for delta, logprobs in state.deltas(event):
                message.merge(delta, logprobs)
        rendered.append(message.choice(index, state, options))
    body = head.fields("chat.completion")
    body["choices"] = rendered
    body["usage"] = chat_usage(usage)
    tier = (usage.service_tier or "").lower()
    body["service_tier"] = tier if tier not in ("", "standard") else "default"
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


def _logprobs(event: Logprobs) -> list[dict[str, Any]]:
    content = []
    for position, chosen in enumerate(event.chosen):
        top = event.top[position] if position < len(event.top) else ()
        content.append({**_token(chosen), "top_logprobs": [_token(candidate) for candidate in top]})
    return content


def _token(candidate: Any) -> dict[str, Any]:
    token = str(candidate.get("token", ""))
    return {"token": token, "logprob": candidate.get("logProbability", 0.0), "bytes": list(token.encode())}
