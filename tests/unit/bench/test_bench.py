"""The benchmark's own checks: what it accepts is right, and what is wrong it does not count."""

import re
import socket
from dataclasses import replace

import pytest

from tests.bench import bodies, svg
from tests.bench.client import Answer, BadReply, Connection, lags_ms, parse
from tests.bench.goals import Goal
from tests.bench.growth import Point, Series
from tests.bench.measure import Measured, bare_python
from tests.bench.replies import Ask, request_bytes, verify, verify_answer
from tests.bench.surroundings import Ground, PortTaken, await_port, free_port, ground, start_reference


@pytest.fixture(scope="module")
def where():
    with ground() as found:
        yield found


@pytest.fixture(scope="module")
def ideal(where: Ground):
    with start_reference("ideal", where) as running:
        await_port(running)
        yield running


def asked(port: int, dialect: str, ask: Ask) -> Answer:
    with Connection(port) as connection:
        return connection.ask(request_bytes(dialect, ask, "key"))


@pytest.mark.parametrize("mode", ["fast", "tools", "few", "buffered", "slow"])
def test_the_stub_says_in_a_stream_what_it_is_expected_to_say(where: Ground, mode: str):
    ask = Ask(mode, stream=True)
    verify_answer("native", ask, asked(where.upstream_port, "native", ask), bodies.expected(mode))


def test_the_stub_answers_whole(where: Ground):
    ask = Ask("buffered", stream=False)
    verify_answer("native", ask, asked(where.upstream_port, "native", ask), bodies.expected("buffered"))


def test_every_paced_chunk_has_a_time_and_a_piece_of_its_own(where: Ground):
    answer = asked(where.upstream_port, "native", Ask("slow", stream=True))
    lags = lags_ms(answer)
    assert len(lags) == len(answer.frames) == bodies.SLOW_CHUNKS
    assert min(lags) > 0


def test_a_long_stream_has_the_length_that_was_asked_for(where: Ground):
    ask = Ask("long", stream=True, texts=("bench-chunks-1234",))
    verify_answer("native", ask, asked(where.upstream_port, "native", ask), bodies.expected("long", 1234))


def test_an_unknown_model_is_no_mode(where: Ground):
    request = request_bytes("native", Ask("fast", stream=True), "key").replace(b"gemini-3.6-flash", b"gemini-0")
    with Connection(where.upstream_port) as connection:
        assert connection.ask(request).status == 404


@pytest.mark.parametrize("ask", [Ask("fast", True), Ask("tools", True), Ask("buffered", False)], ids=str)
def test_the_ideal_translator_passes_every_check(where: Ground, ideal: Measured, ask: Ask):
    verify_answer("chat", ask, asked(ideal.port, "chat", ask), bodies.expected(ask.mode))


def test_its_cpu_and_memory_are_seen(ideal: Measured):
    before = ideal.tree.cpu_ns()
    for _ in range(5):
        asked(ideal.port, "chat", Ask("fast", True))
    assert ideal.tree.cpu_ns() > before
    assert ideal.tree.peak_rss_mb() > bare_python()[1]


BROKEN = {
    "a lost chunk": lambda body: body.replace(b"017 Gr", b"Gr", 1),
    "no finish reason": lambda body: body.replace(b'"stop"', b"null"),
    "no usage": lambda body: re.sub(rb'"usage":\{[^}]*\}', b'"usage":null', body),
    "garbage": lambda body: body.replace(b"}]}\n\n", b"}\n\n", 1),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_reference_that_says_something_else_does_not_count(ideal: Measured, damage):
    body = asked(ideal.port, "chat", Ask("fast", True)).body
    assert damage(body) != body
    with pytest.raises(BadReply):
        verify("chat", True, 200, damage(body), bodies.expected("fast"))


def test_an_error_and_a_lost_call_do_not_count(ideal: Measured):
    body = asked(ideal.port, "chat", Ask("tools", True)).body
    expected = bodies.expected("tools")
    with pytest.raises(BadReply, match="status 500"):
        verify("chat", True, 500, body, expected)
    with pytest.raises(BadReply, match="tool calls"):
        verify("chat", True, 200, body, replace(expected, calls=expected.calls + 1))


def test_the_arrival_of_a_piece_is_that_of_its_last_byte():
    received = [
        (10, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\na"),
        (20, b"bc\r\n2\r\nde\r\n0\r\n\r\n"),
    ]
    answer = parse(received, 5)
    assert answer.frames == [(20, b"abc"), (20, b"de")]


def test_a_taken_port_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(PortTaken):
            free_port(other.getsockname()[1])


def test_a_verdict_takes_the_worst_value():
    goal = Goal("1", "x", 5, 2.5, {"chat": 2.0, "native": 2.6})
    assert [goal.verdict, replace(goal, values={"chat": 2.5}).verdict] == ["must", "ambitious"]
    assert replace(goal, values={"chat": 1, "native": 5.1}).verdict == "MISSED"
    assert replace(goal, values={}).verdict == "not measured"
    assert replace(goal, up=True, must=200, ambitious=200, values={"chat": 199}).verdict == "MISSED"


def grown(power: float) -> Series:
    return Series("x", "y", [Point(n, n**power, 50 + n**power / 10) for n in (1, 10, 100, 200, 400)])


def test_growth_is_told_by_its_exponent():
    assert grown(1).linear and grown(1).exponent == pytest.approx(1)
    assert not grown(2).linear and grown(2).exponent == pytest.approx(2)
    assert grown(2).memory_step > 2 > grown(1).memory_step


def test_the_plots_are_well_formed():
    from xml.etree import ElementTree

    bars = svg.bars("a & b", [("x < y", 3.0, 5.0, 2.5), ("z", 0.2, 0.5, 0.2)])
    lines = svg.lines("t", {"panel": {"line": [(1, 2), (10, 30)]}})
    assert len(list(ElementTree.fromstring(bars).iter("{http://www.w3.org/2000/svg}rect"))) == 7
    assert ElementTree.fromstring(lines).find(".//{http://www.w3.org/2000/svg}polyline") is not None
