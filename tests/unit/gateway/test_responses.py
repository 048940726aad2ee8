"""The streamed answer: status held for the first frame, heartbeats, one settlement however it ends."""

import asyncio

import pytest
from starlette.background import BackgroundTask

from shared.errors import GatewayError
from shared.gateway import responses
from shared.gateway.responses import EventStream, Settled, json_response


class Sent:
    """What the server was told to send."""

    def __init__(self):
        self.messages = []
        self.settled = 0

    async def send(self, message):
        self.messages.append(message)

    async def settle(self):
        self.settled += 1

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.messages)


def stream(frames, sent, *, heartbeat_s=10.0, deadline_s=5.0):
    return EventStream(
        frames,
        headers={"x-a": "1"},
        heartbeat=b": beat\n\n",
        heartbeat_s=heartbeat_s,
        deadline_s=lambda: deadline_s,
        failed=lambda error: f"error {error.kind}".encode(),
        after=sent.settle,
    )


async def frames_of(*items, pause=0.0):
    for item in items:
        await asyncio.sleep(pause)
        if isinstance(item, Exception):
            raise item
        yield item


async def run(response, sent):
    await response({"type": "http"}, None, sent.send)


async def test_frames_leave_one_by_one_and_settlement_comes_last():
    sent = Sent()
    response = stream(frames_of(b"a", b"b"), sent)
    await response.first(1)
    await run(response, sent)
    assert [message.get("body") for message in sent.messages] == [None, b"a", b"b", b""]
    assert (b"content-type", b"text/event-stream; charset=utf-8") in sent.messages[0]["headers"]
    assert b"content-length" not in dict(sent.messages[0]["headers"])
    assert sent.settled == 1


async def test_an_error_before_the_first_frame_is_raised_while_the_status_is_free():
    sent = Sent()
    response = stream(frames_of(GatewayError("upstream_overloaded", "busy")), sent)
    with pytest.raises(GatewayError):
        await response.first(1)
    assert sent.messages == []


async def test_an_error_after_the_hold_becomes_a_frame():
    sent = Sent()
    response = stream(frames_of(GatewayError("upstream_overloaded", "busy"), pause=0.05), sent)
    await response.first(0.01)
    await run(response, sent)
    assert sent.body == b": beat\n\nerror upstream_overloaded"
    assert sent.settled == 1


async def test_an_answer_that_begins_without_a_frame_says_so_at_once():
    sent = Sent()
    response = stream(frames_of(b"a", pause=0.05), sent)
    await response.first(0.01)
    await run(response, sent)
    assert [message.get("body") for message in sent.messages] == [None, b": beat\n\n", b"a", b""]


async def test_silence_is_filled_with_heartbeats_and_only_silence():
    sent = Sent()
    response = stream(frames_of(b"a", b"b", pause=0.12), sent, heartbeat_s=0.05)
    await response.first(0.01)
    await run(response, sent)
    assert sent.body.count(b": beat") >= 3
    busy = Sent()
    await run(stream(frames_of(*[b"x"] * 10, pause=0.01), busy, heartbeat_s=0.08), busy)
    assert busy.body == b"x" * 10


async def test_the_deadline_ends_the_stream_with_a_timeout():
    sent = Sent()
    response = stream(frames_of(b"a", b"b", pause=0.2), sent, deadline_s=0.3)
    await run(response, sent)
    assert sent.body == b"aerror upstream_timeout"
    assert sent.messages[-1]["more_body"] is False


async def test_an_unexpected_exception_is_an_internal_error_not_a_cut():
    sent = Sent()
    await run(stream(frames_of(b"a", ValueError("bug")), sent), sent)
    assert sent.body == b"aerror internal"
    assert sent.settled == 1


async def test_a_cancelled_server_still_settles():
    sent = Sent()
    task = asyncio.ensure_future(run(stream(frames_of(b"a", b"b", pause=0.2), sent), sent))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent.settled == 1


class Noted:
    """Frames whose maker notes what they used when it is left, and what a settlement finds of it."""

    def __init__(self):
        self.noted = False
        self.found = []

    async def frames(self, *pauses):
        try:
            for pause in pauses:
                await asyncio.sleep(pause)
                yield b"a"
        finally:
            await asyncio.sleep(0)  # an upstream connection is let go
            self.noted = True

    async def settle(self):
        self.found.append(self.noted)


async def stalled(message):
    """A client that reads the head and no further."""
    if message["type"] == "http.response.body":
        await asyncio.sleep(60)


async def broken(message):
    if message["type"] == "http.response.body":
        raise OSError("gone")


async def never(message):
    raise OSError("gone")


def noted_stream(made, frames, deadline_s=5.0):
    sent = Sent()
    sent.settle = made.settle
    return stream(frames, sent, deadline_s=deadline_s)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("send", [broken, never])
async def test_a_stream_that_cannot_be_sent_is_settled_with_what_it_used(send, held):
    made = Noted()
    response = noted_stream(made, made.frames(0 if held else 0.02, 0))
    await response.first(0.01)
    with pytest.raises(OSError, match="gone"):
        await response({"type": "http"}, None, send)
    assert made.found == [True]


@pytest.mark.parametrize("frame", [0, 1])
async def test_a_stream_that_nobody_reads_is_settled_with_what_it_used(frame):
    """Its time runs out, or its server stops, while a frame is on its way."""
    made = Noted()
    response = noted_stream(made, made.frames(0, 0), deadline_s=0.02)
    await response.first(0.01)
    taken = 0

    async def send(message):
        nonlocal taken
        if message["type"] == "http.response.body":
            taken += 1
            if taken > frame:
                await stalled(message)

    task = asyncio.ensure_future(response({"type": "http"}, None, send))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert made.found == [True]


async def test_a_server_that_stops_before_the_first_frame_settles_with_what_was_used():
    made = Noted()
    response = noted_stream(made, made.frames(60))

    async def answer():
        try:
            await response.first(60)
        finally:
            await made.settle()

    task = asyncio.ensure_future(answer())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert made.found == [True]


def whole(sent):
    return json_response(200, {"a": 1}, after=sent.settle)


def sound(sent):
    return Settled(b"RIFF", 200, media_type="audio/wav", background=BackgroundTask(sent.settle))


@pytest.mark.parametrize("made", [whole, sound])
@pytest.mark.parametrize("send", [broken, never])
async def test_a_whole_answer_that_cannot_be_sent_is_settled(made, send):
    sent = Sent()
    with pytest.raises(OSError, match="gone"):
        await made(sent)({"type": "http"}, None, send)
    assert sent.settled == 1


@pytest.mark.parametrize("made", [whole, sound])
async def test_a_whole_answer_that_is_cut_off_is_settled(made):
    sent = Sent()
    task = asyncio.ensure_future(made(sent)({"type": "http"}, None, stalled))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert sent.settled == 1


@pytest.mark.parametrize("made", [whole, sound])
async def test_a_whole_answer_is_settled_once_after_its_last_byte(made):
    sent = Sent()
    await run(made(sent), sent)
    assert [message["type"] for message in sent.messages] == ["http.response.start", "http.response.body"]
    assert sent.settled == 1


@pytest.mark.parametrize("taken", range(4))
@pytest.mark.parametrize("failure", [None, GatewayError("upstream_interrupted", "Broken.")])
async def test_a_client_that_stops_reading_is_left_after_the_deadline(monkeypatch, taken, failure):
    """Wherever it stops: in the frames, in the last words, at the end. The upstream is let go, and all is settled."""
    monkeypatch.setattr(responses, "_LAST_WORDS_S", 0.05)
    done = []

    async def frames():
        try:
            yield b"one"
            yield b"two"
            if failure is not None:
                raise failure
        finally:
            done.append("upstream left")

    messages = []

    async def send(message):
        if len(messages) == taken:
            await asyncio.sleep(60)
        messages.append(message)

    async def after():
        done.append("settled")

    end = asyncio.get_running_loop().time() + 0.05
    stream = EventStream(
        frames(),
        headers={},
        heartbeat=b"",
        heartbeat_s=5,
        deadline_s=lambda: max(0.0, end - asyncio.get_running_loop().time()),
        failed=lambda error: b"failed",
        after=after,
    )
    await stream.first(1.0)
    async with asyncio.timeout(2):
        await stream({}, None, send)
    assert done == ["upstream left", "settled"]
    assert len(messages) == taken
