"""Responses as they leave: numbered server-sent events, or the one object that the last of them carries."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.dialects.contract import Body, ReplyContext, Translation
from shared.dialects.openai_responses.composer import Change, Composer, response_id
from shared.dialects.openai_responses.echo import echoed, visible_response
from shared.dialects.openai_responses.errors import response_error
from shared.dialects.openai_responses.options import ResponseOptions
from shared.dialects.running_text import MARK, RunningText, around
from shared.errors import GatewayError
from shared.events import BlockDelta, Event, Logprobs, Usage
from shared.json_codec import encode, encode_string
from shared.sse import frame

_NUMBER = "\0number\0"  # a sample's place for the number


class _Running(RunningText, frozen=True):
    """`head` is what stands before the number, `before` what stands after it. `pieces`: where the item gathers text."""

    head: bytes
    pieces: list[str]

    def numbered(self, number: int, text: str) -> bytes:
        self.pieces.append(text)
        return b"".join((self.head, b"%d" % number, self.before, encode_string(text), self.after))


class ResponsesRenderer:
    """Frames of one streamed response; always one terminal event, no `[DONE]`."""

    def __init__(self, translation: Translation, reply: ReplyContext) -> None:
        self._composer = Composer(translation.options, reply)
        self._number = 0
        self._ended = False
        self._running: _Running | None = None

    def feed(self, event: Event, choice: int = 0) -> bytes:
        if type(event) is BlockDelta:
            running = self._running
            if running is None or running.index != event.index:
                return self._begin(event)
            number, self._number = self._number, self._number + 1
            return running.numbered(number, event.text)
        if type(event) is not Logprobs:  # they come between the texts of a block and leave it as it is
            self._running = None
        return self._frames(self._composer.feed(event))

    def close(self, usage: Usage) -> bytes:
        self._ended = True
        return self._frames(self._composer.close(usage))

    def fail(self, error: GatewayError) -> bytes:
        """Nothing where the terminal event is already out: a second one would contradict it."""
        if self._ended:
            return b""
        self._ended = True
        return self._frames(self._composer.fail(error))

    def heartbeat(self) -> bytes:
        """An event and not a comment: Codex counts idle time from event to event."""
        return b"" if self._ended else self._frames(self._composer.beat())

    @property
    def final(self) -> Mapping[str, Any] | None:
        return self._composer.response if self._ended else None

    def _begin(self, delta: BlockDelta) -> bytes:
        """The first text of a block; what follows it is framed alike."""
        changes = self._composer.feed(delta)
        pieces = self._composer.gathering(delta.index)
        if pieces is not None:  # None: a thought that is not shown
            sample = _framed(changes[-1] | {"delta": MARK}, _NUMBER)
            head, _, numbered = sample.partition(encode(_NUMBER))
            self._running = _Running(delta.index, *around(numbered), head, pieces)
        return self._frames(changes)

    def _frames(self, changes: list[Change]) -> bytes:
        frames = [_framed(change, number) for number, change in enumerate(changes, self._number)]
        self._number += len(frames)
        return b"".join(frames)


def _framed(change: Change, number: int | str) -> bytes:
    change["sequence_number"] = number
    return frame(encode(change), change["type"])


def renderer(translation: Translation, reply: ReplyContext) -> ResponsesRenderer:
    return ResponsesRenderer(translation, reply)


def fold_whole(
    choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
) -> dict[str, Any]:
    """The response object with all members, as it is kept."""
    composer = Composer(translation.options, reply, quiet=True)
    for event in choices[0]:
        composer.feed(event)
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
