"""`POST /gemini/v1/chat/completion(s)`: two vendors' dialects on one path, told apart by the body.

With `contents` (Gemini's shape, APIGPT.Cloud's document) the answer is `{"message": "<text>"}`, streamed as frames of
new text; with `messages` (a self-hosted "Gemini platform") it is OpenAI's. On either, safety filters are off unless the
client says otherwise, and errors have the statuses of APIGPT's list: 529 for overload, 500 for everything behind us.
OpenAI dialect reference, "Vendor variants".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from shared.dialects import openai_chat as chat
from shared.dialects.contract import Body, Renderer, ReplyContext, RequestContext, Translation
from shared.dialects.openai.errors import error_frame
from shared.dialects.openai.fields import invalid
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.parameters import Parameters
from shared.dialects.openai_chat import limit_headers, reply_headers, signature_keys, wants_stream
from shared.dialects.openai_chat.choice import Choice
from shared.dialects.openai_chat.options import ChatOptions
from shared.errors import GatewayError
from shared.events import End, Event, Usage
from shared.json_codec import encode
from shared.sse import frame

__all__ = [
    "NAME",
    "TOOL_CALL_PREFIX",
    "fold",
    "limit_headers",
    "render_error",
    "renderer",
    "reply_headers",
    "requested_model",
    "signature_keys",
    "to_gemini",
    "wants_stream",
]

NAME = "apigpt"
TOOL_CALL_PREFIX = chat.TOOL_CALL_PREFIX

DEFAULT_MAX_TOKENS = 4096
TEXT_MODEL, VISION_MODEL = "gemini-pro", "gemini-pro-vision"  # of a body that names none: one sample of the document
_STATUSES = {502: 500, 503: 529, 504: 500}


class MessageOptions(Struct, frozen=True):
    """`Translation.options` of a body with `contents`: the reply is one text and nothing else."""


def requested_model(body: Body) -> str:
    """The body's model; of a body with `contents` that names none, the vision model where it holds media."""
    if _has_contents(body) and body.get("model") is None and body.get("model_id") is None:
        return VISION_MODEL if _holds_media(body["contents"]) else TEXT_MODEL
    return chat.requested_model(body)


def to_gemini(body: Body, context: RequestContext) -> Translation:
    """As `openai_chat`, with the vendors' defaults. `invalid_request` and `unsupported_parameter` name the parameter
    whose answer would not fit into `{"message"}`."""
    context = replace(context, safety_off=True)
    if not _has_contents(body):
        return chat.to_gemini(body, context)
    translation = chat.to_gemini(_limited(body, context), context)
    if translation.declared_tools:
        raise GatewayError("unsupported_parameter", "An answer to contents holds text only: no tools.", param="tools")
    if "AUDIO" in translation.request.get("generationConfig", {}).get("responseModalities", ()):
        raise invalid("An answer to contents holds text only: no sound.", "model")
    options: ChatOptions = translation.options
    notes = Notes(context.strict)
    for unanswered, name in (
        (translation.choices > 1, "n"),
        (options.logprobs, "logprobs"),
        (options.include_usage, "stream_options"),
    ):
        if unanswered:
            notes.ignored(name)
    return replace(translation, choices=1, warnings=[*translation.warnings, *notes.items], options=MessageOptions())


def _has_contents(body: Body) -> bool:
    """Whether the body is Gemini-shaped; both shapes in one body have no single answer."""
    if body.get("contents") is None:
        return False
    if body.get("messages") is not None:
        raise invalid("Send either messages or contents.", "contents")
    return True


def _holds_media(contents: Any) -> bool:
    """Looks only: what is wrong with the contents, the translation says."""
    return any(
        isinstance(part, Mapping) and not _MEDIA.isdisjoint(part)
        for content in _listed(contents)
        if isinstance(content, Mapping)
        for part in _listed(content.get("parts"))
    )


_MEDIA = frozenset({"inline_data", "inlineData", "file_data", "fileData"})


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return [value]
    return value if isinstance(value, list | tuple) else ()


def _limited(body: Body, context: RequestContext) -> Body:
    """The body with the document's default limit, where the client gives none in any of its spellings."""
    params = Parameters(body, Notes())
    if params.get("max_tokens") or params.get("max_completion_tokens"):
        return body
    highest = min(context.model.capabilities.output_limit, context.max_output_tokens or DEFAULT_MAX_TOKENS)
    return {**body, "max_tokens": max(1, min(DEFAULT_MAX_TOKENS, highest))}


class _Text:
    """The visible text of an answer; an answer that was blocked before any is an error, for no field could say so."""

    def __init__(self, reply: ReplyContext) -> None:
        self._choice = Choice(ChatOptions(), reply.request_id, reply.created)
        self.spoken = False

    def of(self, event: Event) -> str:
        text = "".join(delta.get("content", "") for delta, _ in self._choice.deltas(event))
        self.spoken = self.spoken or bool(text)
        if isinstance(event, End) and not self.spoken and event.finish in ("blocked", "no_output"):
            what = "prompt" if event.prompt_blocked else "answer"
            raise GatewayError("content_blocked", f"The {what} was blocked ({event.reason}).")
        return text


class MessageRenderer:
    """Frames `{"message": "<new text>"}`, then `[DONE]`."""

    def __init__(self, reply: ReplyContext) -> None:
        self._reply = reply
        self._text = _Text(reply)

    def feed(self, event: Event, choice: int = 0) -> bytes:
        text = self._text.of(event)
        return _fragment(text) if text else b""

    def close(self, usage: Usage) -> bytes:
        return (b"" if self._text.spoken else _fragment("")) + b"data: [DONE]\n\n"

    def fail(self, error: GatewayError) -> bytes:
        return error_frame(error, self._reply.error_id)

    def heartbeat(self) -> bytes:
        return b": keep-alive\n\n"


def _fragment(text: str) -> bytes:
    return frame(encode({"message": text}))


def renderer(translation: Translation, reply: ReplyContext) -> Renderer:
    if isinstance(translation.options, MessageOptions):
        return MessageRenderer(reply)
    return chat.renderer(translation, reply)


def fold(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> Mapping[str, Any]:
    """`{"message": "<whole text>"}` for contents, a `chat.completion` for messages."""
    if not isinstance(translation.options, MessageOptions):
        return chat.fold(choices, translation, reply, usage)
    text = _Text(reply)
    return {"message": "".join([text.of(event) for event in choices[0]])}


def render_error(error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """(status, body, headers): OpenAI's body under the vendor's statuses, which know neither 502, 503 nor 504."""
    status, body, headers = chat.render_error(error, request_id)
    return _STATUSES.get(status, status), body, headers
