"""One candidate's reply events in the terms of Chat Completions: deltas, of which a stream makes chunks and a fold one
message."""

import base64
from typing import Any

from shared.dialects.openai.answers import token_logprobs
from shared.dialects.openai_chat.options import ChatOptions
from shared.events import (
    BlockDelta,
    BlockEnd,
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
)
from shared.gemini.audio import sample_rate, wav_header
from shared.json_codec import encode_text

Delta = dict[str, Any]
Fragment = tuple[Delta, dict[str, Any] | None]  # a delta, or an empty one with logprobs beside it

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
    """One candidate's events as deltas. The finishing delta is the last, with `finish_reason` set beside it. `live`
    ones leave as they are made, so that sound cannot wait for its length."""

    def __init__(self, options: ChatOptions, request_id: str, created: int, *, live: bool = False) -> None:
        self._options = options
        self._live = live
        self._request_id = request_id
        self._created = created
        self._calls = 0
        self._images = 0
        self._visible = False
        self._in_line = False  # what was shown last may end within a line
        self._thoughts: set[int] = set()  # blocks
        self._said = 0  # characters of text; what else stands in `content` comes after so many, and is so long
        self._among: list[tuple[int, int]] = []
        self._annotations: list[dict[str, Any]] = []
        self.audio_rate = 0
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None

    def member(self, delta: BlockDelta) -> str | None:
        """The member of a delta that the text of a block goes to; None for a thought that is not shown."""
        if delta.index in self._thoughts:
            return "reasoning_content" if self._options.show_reasoning else None
        self._visible = self._in_line = True
        self._said += len(delta.text)
        return "content"

    def deltas(self, event: Event) -> list[Fragment]:
        """(delta, logprobs) pairs for one event; most events give one, some none."""
        match event:
            case Start() | BlockEnd():
                return []
            case BlockStart():
                if event.kind == "reasoning":
                    self._thoughts.add(event.index)
                return []
            case BlockDelta():
                member = self.member(event)
                return [({member: event.text}, None)] if member else []
            case ToolCall():
                return self._call(event)
            case End():
                return self._end(event)
            case Media():
                return self._media(event)
            case Code(language=language, code=code):
                return self._fenced(language.lower() or "text", code)
            case CodeResult(output=output):
                return self._fenced("output", output)
            case Logprobs() if self._options.logprobs:
                return [({}, {"content": token_logprobs(event), "refusal": None})]
            case Citation():
                self._cite(event)
        return []

    def _cite(self, citation: Citation) -> None:
        url_citation = {
            "url": citation.url,
            "title": citation.title,
            "start_index": citation.start + sum(size for after, size in self._among if after <= citation.start),
            "end_index": citation.end + sum(size for after, size in self._among if after < citation.end),
        }
        index = len(self._annotations)
        self._annotations.append({"index": index, "type": "url_citation", "url_citation": url_citation})

    def _fenced(self, word: str, text: str) -> list[Fragment]:
        """A block on lines of its own, whose fence is longer than those in the text."""
        fence = "```"
        while fence in text:
            fence += "`"
        start = "\n" if self._in_line else ""
        self._in_line = False
        return self._content(f"{start}{fence}{word}\n{text.rstrip()}\n{fence}\n")

    def _content(self, text: str) -> list[Fragment]:
        """What is no text of the model's, among it."""
        self._visible = True
        self._among.append((self._said, len(text)))
        return [({"content": text}, None)]

    def _call(self, call: ToolCall) -> list[Fragment]:
        """A head with id and name, then the arguments, which repeat neither: accumulators concatenate strings."""
        arguments = encode_text(dict(call.args))
        if self._options.legacy_function_call:
            self._calls += 1
            return [
                ({"function_call": {"name": call.name, "arguments": ""}}, None),
                ({"function_call": {"arguments": arguments}}, None),
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
        return [({"tool_calls": [head]}, None), ({"tool_calls": [tail]}, None)]

    def _media(self, media: Media) -> list[Fragment]:
        self._visible = True
        if media.mime_type.startswith("audio/"):
            delta: Delta = {"data": media.data}
            if not self.audio_rate:
                self.audio_rate = sample_rate(media.mime_type)
                delta = {
                    "id": f"audio_{self._request_id}",
                    "data": self._first_sound(media.data),
                    "expires_at": self._created + 3600,
                    "transcript": "",
                }
            return [({"audio": delta}, None)]
        url = f"data:{media.mime_type};base64,{media.data}"
        if self._options.images_as_field:
            index, self._images = self._images, self._images + 1
            return [({"images": [{"index": index, "type": "image_url", "image_url": {"url": url}}]}, None)]
        self._in_line = True
        return self._content(f"![image]({url})")

    def _first_sound(self, data: str) -> str:
        if not self._live or self._options.audio_format == "pcm16":
            return data
        return base64.b64encode(wav_header(None, self.audio_rate) + base64.b64decode(data)).decode()

    def _end(self, end: End) -> list[Fragment]:
        deltas: list[Fragment] = []
        last: Delta = {"annotations": self._annotations} if self._annotations else {}
        google = {_METADATA[name]: value for name, value in end.metadata.items() if name in _METADATA and value}
        if google:
            last["extra_content"] = {"google": google}
        if last:
            deltas.append((last, None))
        if end.finish == "blocked":
            refusal = f"blocked: {end.reason}" if end.prompt_blocked else end.message
            if refusal:
                deltas.append(({"refusal": refusal}, None))
        self.finish_reason = finish_reason(
            end, calls=self._calls, output=self._visible, legacy=self._options.legacy_function_call
        )
        self.native_finish_reason = end.reason
        return [*deltas, ({}, None)]
