"""Responses as they leave: numbered server-sent events, or the one object that the last of them carries."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.dialects.contract import Body, ReplyContext, Translation
from shared.dialects.openai_responses.composer import Composer, response_id
from shared.dialects.openai_responses.echo import echoed, visible_response
from shared.dialects.openai_responses.errors import response_error
from shared.dialects.openai_responses.options import ResponseOptions
from shared.dialects.openai_responses.text_part import TextPart
from shared.dialects.running_text import MARK, RunningText, around
from shared.errors import GatewayError
from shared.events import BlockDelta, Event, Logprobs, Usage
from shared.json_codec import encode, encode_string

_FRAME = b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b\n\n'


class _Running(RunningText, frozen=True):
    """`head` is what stands before the number of a frame, `before` what stands between that and the text. `pieces`:
    where the item gathers text."""

    head: bytes
    pieces: list[str]


class _Frames:
    """What is said of a response, as frames numbered in their order, which `take` hands out."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._number = 0

    def say(self, *kinds: str, **members: Any) -> None:
        data = encode(members)[1:]
        for kind in kinds:
            name = kind.encode()
            self._frames.append(_FRAME % (name, name, self._number, data))
            self._number += 1

    def take(self) -> bytes:
        frames, self._frames = self._frames, []
        return b"".join(frames)

    @staticmethod
    def running(block: int, part: TextPart) -> _Running:
        head = f'event: {part.delta}\ndata: {{"type":"{part.delta}","sequence_number":'.encode()
        before, after = around(encode({**part.before, "delta": MARK, **part.after})[1:])
        return _Running(block, b"," + before, after + b"\n\n", head, part.pieces)

    def more(self, running: _Running, text: str) -> bytes:
        """The frame of text that goes out at once."""
        running.pieces.append(text)
        number, self._number = self._number, self._number + 1
        return b"".join((running.head, b"%d" % number, running.before, encode_string(text), running.after))


class ResponsesRenderer:
    """Frames of one streamed response; always one terminal event, no `[DONE]`."""

    def __init__(self, translation: Translation, reply: ReplyContext) -> None:
        self._frames = _Frames()
        self._composer = Composer(translation.options, reply, self._frames.say)
        self._ended = False
        self._running: _Running | None = None
        self._hidden = -1  # the block whose text was last left out

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is BlockDelta:
            running = self._running
            if running is not None and running.index == event.index:
                return self._frames.more(running, event.text)
            return b"" if event.index == self._hidden else self._begin(event)
        if type(event) is not Logprobs:  # they come between the texts of a block and leave it as it is
            self._running, self._hidden = None, -1
        self._composer.feed(event)
        return self._frames.take()

    def close(self, usage: Usage) -> bytes:
        self._ended = True
        self._composer.close(usage)
        return self._frames.take()

    def fail(self, error: GatewayError) -> bytes:
        """Nothing where the terminal event is already out: a second one would contradict it."""
        if self._ended:
            return b""
        self._ended = True
        self._composer.fail(error)
        return self._frames.take()

    def heartbeat(self) -> bytes:
        """An event and not a comment: Codex counts idle time from event to event."""
        if self._ended:
            return b""
        self._composer.beat()
        return self._frames.take()

    @property
    def final(self) -> Mapping[str, Any] | None:
        return self._composer.response if self._ended else None

    def _begin(self, delta: BlockDelta) -> bytes:
        """The first text of a block; what follows it is framed alike."""
        part = self._composer.part(delta.index)
        opening = self._frames.take()
        if part is None:
            self._running, self._hidden = None, delta.index
            return opening
        self._running = running = self._frames.running(delta.index, part)
        return opening + self._frames.more(running, delta.text)


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
