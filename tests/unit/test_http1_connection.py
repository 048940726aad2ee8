"""The parser of one connection, without a network: what it makes of bytes, however they are cut."""

import asyncio
import itertools
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.http1_connection import Connection, HttpFailure

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
Outcome = tuple[bytes, str]


class Wire:
    """A transport that takes what it is given."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...

    def get_extra_info(self, name: str) -> None: ...


async def read(pieces: list[bytes]) -> Outcome:
    """(body, failure)."""
    connection = Connection(asyncio.get_running_loop())
    connection.connection_made(cast(Any, Wire()))
    asked = asyncio.ensure_future(connection.exchange(b"x", False, 1))
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
    connection.eof_received()
    body = b""
    try:
        await asked
        while piece := await connection.take():
            body += piece
    except HttpFailure as failure:
        return body, str(failure)
    return body, ""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


LINES = st.sampled_from([b"5", b"05", b"5 ", b"5;a=b", b"A", b"0", b"+5", b"0x5", b"5_", b"", b"-1", b"5\n", b"g"])
CHUNKS = st.tuples(
    LINES, st.sampled_from([b"hello", b"0123456789", b"", b"\r\n\r\n\r"]), st.sampled_from([b"\r\n", b"\n"])
)
SOUND = st.binary(max_size=40).map(lambda data: (b"%x" % len(data), data, b"\r\n"))


@given(st.lists(SOUND | CHUNKS, max_size=6), st.sampled_from([b"0\r\n\r\n", b"0\r\nx-a: 1\r\n\r\n", b""]), st.data())
@example([(b"5", b"hello", b"\r\n")] * 3, b"0\r\n\r\n", None)
@settings(deadline=None)
def test_where_a_chunked_body_is_cut_never_matters(
    chunks: list[tuple[bytes, bytes, bytes]], last: bytes, draw: st.DataObject | None
) -> None:
    """Byte by byte every chunk is torn; in one piece all are taken in one go."""
    wire = HEAD + b"".join(line + b"\r\n" + data + end for line, data, end in chunks) + last
    whole = asyncio.run(read([wire]))
    assert asyncio.run(read([wire[at : at + 1] for at in range(len(wire))])) == whole
    if draw is not None:
        places = draw.draw(st.lists(st.integers(0, len(wire)), max_size=6))
        assert asyncio.run(read(cut(wire, places))) == whole
    else:
        assert whole == (b"hello" * 3, "")


async def test_many_small_chunks_come_out_some_at_a_time_and_in_order() -> None:
    connection = Connection(asyncio.get_running_loop())
    connection.connection_made(cast(Any, Wire()))
    asked = asyncio.ensure_future(connection.exchange(b"x", False, 1))
    await asyncio.sleep(0)
    chunks = [b"%04d" % number * 100 for number in range(100)]
    connection.data_received(HEAD + b"".join(b"190\r\n%b\r\n" % chunk for chunk in chunks) + b"0\r\n\r\n")
    await asked
    pieces = []
    while piece := await connection.take():
        pieces.append(piece)
    assert b"".join(pieces) == b"".join(chunks)
    assert [len(piece) for piece in pieces] == [16_400, 16_400, 7_200]


async def asked() -> Connection:
    """A connection whose reply has begun: its head is here, no byte of its body."""
    connection = Connection(asyncio.get_running_loop())
    connection.connection_made(cast(Any, Wire()))
    asking = asyncio.ensure_future(connection.exchange(b"x", False, 1))
    await asyncio.sleep(0)
    connection.data_received(HEAD)
    await asking
    return connection


async def test_a_wait_ends_at_its_time_and_what_comes_later_can_still_be_taken() -> None:
    connection = await asked()
    began = connection.loop.time()
    with pytest.raises(TimeoutError):
        await connection.take(began + 0.1)
    assert 0.09 <= connection.loop.time() - began < 0.3
    connection.data_received(b"5\r\nhello\r\n")
    assert await connection.take(began) == b"hello"


async def test_each_wait_has_its_own_end_earlier_or_later_than_the_one_before() -> None:
    connection = await asked()
    loop = connection.loop
    began = loop.time()
    for allowed in (0.1, 0.3, 0.2):  # seconds from the start; a piece comes before each of them is over
        loop.call_later(0.04, connection.data_received, b"1\r\nx\r\n")
        assert await connection.take(began + allowed) == b"x"
    with pytest.raises(TimeoutError):
        await connection.take(began + 0.25)
    assert 0.24 <= loop.time() - began < 0.5
    loop.call_later(0.05, connection.data_received, b"1\r\ny\r\n")
    assert await connection.take() == b"y"  # without an end


async def test_no_timer_outlives_its_connection() -> None:
    for part in (Connection.abort, lambda connection: connection.connection_lost(None)):
        connection = await asked()
        waiting = asyncio.ensure_future(connection.take(connection.loop.time() + 60))
        await asyncio.sleep(0)
        alarm = connection._alarm
        assert alarm is not None
        part(connection)
        assert alarm.cancelled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
