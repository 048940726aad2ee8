"""Heartbeats that are events with numbers keep their place in the stream."""

import asyncio
import itertools

from shared.errors import GatewayError
from shared.gateway.responses import EventStream


async def test_numbered_heartbeats_never_overtake_frames():
    numbers = itertools.count()

    async def frames():
        for _ in range(4):
            await asyncio.sleep(0.07)
            yield b"frame %d\n" % next(numbers)

    sent = []

    async def send(message):
        sent.append(message)

    async def after():
        sent.append({"type": "after"})

    stream = EventStream(
        frames(),
        headers={},
        heartbeat=lambda: b"beat %d\n" % next(numbers),
        heartbeat_s=0.02,
        deadline_s=lambda: 5.0,
        failed=lambda error: b"failed",
        after=after,
    )
    await stream.first(0.01)
    await stream({}, None, send)
    lines = b"".join(message.get("body", b"") for message in sent).decode().splitlines()
    assert [int(line.split()[1]) for line in lines] == list(range(len(lines)))
    assert [line.split()[0] for line in lines].count("frame") == 4
    assert lines[0].startswith("beat")
    assert sent[-1]["type"] == "after"


async def test_what_must_be_done_before_the_last_frame_is_done_in_silence():
    done = []

    async def frames():
        yield b"one\n"
        raise GatewayError("upstream_truncated", "Ended.")

    async def ending():
        await asyncio.sleep(0.1)
        done.append(list(sent))

    sent = []

    async def send(message):
        sent.append(message.get("body", b""))

    async def after():
        done.append("settled")

    stream = EventStream(
        frames(),
        headers={},
        heartbeat=lambda: b"",
        heartbeat_s=0.01,
        deadline_s=lambda: 5.0,
        failed=lambda error: b"failed " + error.kind.encode(),
        after=after,
        ending=ending,
    )
    await stream.first(0.01)
    await stream({}, None, send)
    assert done == [[b"", b"one\n"], "settled"]
    assert b"".join(sent) == b"one\nfailed upstream_truncated"


class Slow:
    """A client's connection that takes `pause_s` for every heartbeat, or breaks at the first."""

    def __init__(self, pause_s: float, broken: bool = False) -> None:
        self.pause_s = pause_s
        self.broken = broken
        self.log: list[str] = []

    async def send(self, message):
        data = message.get("body", b"").decode()
        if data != "beat":
            self.log.append(data)
            return
        self.log.append("beat(")
        await asyncio.sleep(self.pause_s)
        if self.broken:
            raise OSError("gone")
        self.log.append(")")


def beating(frames, settled):
    async def after():
        settled.append(True)

    return EventStream(
        frames,
        headers={},
        heartbeat=b"beat",
        heartbeat_s=0.03,
        deadline_s=lambda: 5.0,
        failed=lambda error: b"failed",
        after=after,
    )


async def frames_after(*pauses_s):
    for pause_s in pauses_s:
        await asyncio.sleep(pause_s)
        yield b"frame"


async def test_a_frame_waits_for_a_heartbeat_that_is_on_its_way():
    client, settled = Slow(0.05), []
    await beating(frames_after(0.05, 0.001), settled)({}, None, client.send)
    assert client.log == ["", "beat(", ")", "frame", "frame", ""]
    assert settled


async def test_no_heartbeat_outlives_its_stream():
    client, settled = Slow(0.2), []

    async def frames():
        yield b"frame"
        await asyncio.sleep(0.05)  # a heartbeat is on its way when this ends

    await beating(frames(), settled)({}, None, client.send)
    assert client.log == ["", "frame", "beat(", ""]
    await asyncio.sleep(0.1)
    assert client.log == ["", "frame", "beat(", ""]
    assert settled


async def test_what_a_heartbeat_finds_broken_is_left_to_the_next_frame():
    client, settled = Slow(0.0, broken=True), []
    stream = beating(frames_after(0.15), settled)
    await stream({}, None, client.send)
    assert client.log == ["", "beat(", "frame", ""]
    assert settled


async def test_whoever_leaves_before_the_first_frame_ends_its_making():
    ended = asyncio.Event()

    async def frames():
        try:
            await asyncio.sleep(5)
            yield b"frame"
        finally:
            ended.set()

    waiting = asyncio.ensure_future(beating(frames(), []).first(5.0))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await asyncio.wait_for(ended.wait(), 1)


async def test_a_frame_that_is_made_at_once_is_held_for_the_start():
    client, settled = Slow(0.0), []
    stream = beating(frames_after(0.0), settled)
    await stream.first(1.0)
    await asyncio.sleep(0.05)
    await stream({}, None, client.send)
    assert client.log == ["", "frame", ""]
    assert settled
