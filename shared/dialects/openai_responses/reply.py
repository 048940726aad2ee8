"""Responses as they leave: numbered server-sent events, or the one object that the last of them carries."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.contract import Body, ReplyContext, Translation
from shared.dialects.openai_responses.composer import Composer, response_id
from shared.dialects.openai_responses.echo import echoed, visible_response
from shared.dialects.openai_responses.errors import response_error
from shared.dialects.openai_responses.options import ResponseOptions
from shared.dialects.openai_responses.text_part import TextPart
from shared.dialects.running_text import MARK, around
from shared.errors import GatewayError
from shared.events import BlockDelta, Event, Logprobs, Usage
from shared.json_codec import encode, encode_string

_FRAME = b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b\n\n'
_TEXT = b'event: %b\ndata: {"type":"%b","sequence_number":%%d,%b%%b%b\n\n'


class _Running(Struct, frozen=True):
    """The block that an answer is in the middle of: `form` is a frame of its text, with places for the number and the
    text; `pieces` is where the item gathers text."""

    index: int
    form: bytes
    pieces: list[str]


def _running(block: int, part: TextPart) -> _Running:
    kind = part.delta.encode()
    sample = encode({**part.before, "delta": MARK, **part.after})[1:].replace(b"%", b"%%")
    return _Running(block, _TEXT % (kind, kind, *around(sample)), part.pieces)


class ResponsesRenderer:
    """Frames of one streamed response, numbered in their order; always one terminal event, no `[DONE]`."""

    def __init__(self, translation: Translation, reply: ReplyContext) -> None:
        self._composer = Composer(translation.options, reply, self._say)
        self._frames: list[bytes] = []  # of what was said, until they are handed out
        self._number = 0
        self._ended = False
        self._running: _Running | None = None
        self._hidden = -1  # the block whose text was last left out

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is BlockDelta:
            running = self._running
            if running is not None and running.index == event.index:
                running.pieces.append(event.text)
                number, self._number = self._number, self._number + 1
                return running.form % (number, encode_string(event.text))
            return b"" if event.index == self._hidden else self._begin(event)
        if type(event) is not Logprobs:  # they come between the texts of a block and leave it as it is
            self._running, self._hidden = None, -1
        self._composer.feed(event)
        return self._take()

    def close(self, usage: Usage) -> bytes:
        self._ended = True
        self._composer.close(usage)
        return self._take()

    def fail(self, error: GatewayError) -> bytes:
        """Nothing where the terminal event is already out: a second one would contradict it."""
        if self._ended:
            return b""
        self._ended = True
        self._composer.fail(error)
        return self._take()

    def heartbeat(self) -> bytes:
        """An event and not a comment: Codex counts idle time from event to event."""
        if self._ended:
            return b""
        self._composer.beat()
        return self._take()

    @property
    def final(self) -> Mapping[str, Any] | None:
        return self._composer.response if self._ended else None

    def _begin(self, delta: BlockDelta) -> bytes:
        """The first text of a block; what follows it is framed alike."""
        part = self._composer.part(delta.index)
        opening = self._take()
        if part is None:
            self._running, self._hidden = None, delta.index
            return opening
        self._running = _running(delta.index, part)
        return opening + self.feed(delta)

    def _say(self, members: Mapping[str, Any], *kinds: str) -> None:
        data = encode(members)[1:]
        for kind in kinds:
            name = kind.encode()
            self._frames.append(_FRAME % (name, name, self._number, data))
            self._number += 1

    def _take(self) -> bytes:
        if not self._frames:
            return b""
        frames, self._frames = self._frames, []
        return b"".join(frames)


def renderer(translation: Translation, reply: ReplyContext) -> ResponsesRenderer:
    return ResponsesRenderer(translation, reply)


def fold_whole(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> dict[str, Any]:
    """The response object with all members, as it is kept."""
    composer = Composer(translation.options, reply)
    for event in choices[0]:
        if not isinstance(event, BlockDelta):
            composer.feed(event)
        elif (part := composer.part(event.index)) is not None:
            part.pieces.append(event.text)
    composer.close(usage)
    if composer.response is None:
        raise AssertionError("a closed response has its terminal event")
    return composer.response


def shown(whole: Mapping[str, Any], translation: Translation) -> dict[str, Any]:
    """The kept object as the client of this request may see it."""
    options: ResponseOptions = translation.options
    return visible_response(whole, options.include)


def fold(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> dict[str, Any]:
    return shown(fold_whole(choices, translation, reply, usage), translation)


def queued(body: Body, reply: ReplyContext) -> dict[str, Any]:
    """The object of a response whose making has not begun."""
    return {
        "id": response_id(reply.request_id),
        "object": "response",
        "created_at": reply.created,
        "completed_at": None,
        "status": "queued",
        "error": None,
        "incomplete_details": None,
        "model": reply.requested_model,
        "output": [],
        "service_tier": "default",
        "usage": None,
        **echoed(body),
    }


def failed(response: Mapping[str, Any], error: GatewayError) -> dict[str, Any]:
    return {**response, "status": "failed", "error": response_error(error)}
