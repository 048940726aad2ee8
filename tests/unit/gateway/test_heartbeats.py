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
