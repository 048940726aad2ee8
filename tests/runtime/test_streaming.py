"""Streaming through the function-URL emulator: pieces arrive as they are made."""

import itertools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.runtime.conftest import APPS, Function, Serve, call, watch

PAUSE = 0.2


def first_data(arrivals: list[tuple[float, bytes]], needle: bytes) -> float:
    return next(at for at, data in arrivals if needle in data)


def test_first_data_leaves_before_the_second_is_made(web: Function) -> None:
    call(web.url, "/echo")
    reply = watch(web.url, "/paced?n=5&ms=200")
    assert reply.complete
    assert first_data(reply.arrivals, b"data: 0") < PAUSE
    times = [first_data(reply.arrivals, f"data: {number}".encode()) for number in range(5)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap > PAUSE / 2 for gap in gaps), gaps


def test_the_stock_loop_gives_one_late_read(serve: Serve) -> None:
    """The same check on AWS's own loop must fail, else it proves nothing."""
    function = serve("web", command=[sys.executable, "-m", "awslambdaric", f"{APPS}.web.handler"])
    call(function.url, "/echo")
    reply = watch(function.url, "/paced?n=5&ms=200")
    assert reply.complete
    assert first_data(reply.arrivals, b"data: 0") > 4 * PAUSE
    assert first_data(reply.arrivals, b"data: 0") == first_data(reply.arrivals, b"data: 4")


def test_an_event_stream_opens_with_a_comment_chunk_of_its_own(web: Function) -> None:
    reply = watch(web.url, "/paced?n=1")
    assert reply.body.startswith(b"6\r\n: ok\n\n\r\n9\r\ndata: 0\n\n\r\n")


def test_an_application_may_open_its_streams_otherwise(web: Function) -> None:
    assert watch(web.url, "/unremarked/").body.startswith(b"4\r\n\r\n\r\n\r\n9\r\ndata: 0\n\n\r\n")


def test_other_replies_have_no_comment(web: Function) -> None:
    assert call(web.url, "/echo").json()["method"] == "GET"


def test_concurrent_streams_take_a_process_each(serve: Serve) -> None:
    function = serve("web", processes=3)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: watch(function.url, "/paced?n=4&ms=400"), range(4)))
    assert sorted(reply.status for reply in replies) == [200, 200, 200, 429]
    refused = next(reply for reply in replies if reply.status == 429)
    assert refused.body == b'{"Message":"Rate Exceeded."}'


def test_request_reaches_the_application(web: Function) -> None:
    reply = call(
        web.url, "/echo/a%2Fb%20c?x=1&y=%20&x=2", "POST", b'{"a":1}', {"Content-Type": "application/json", "X-Two": "1"}
    )
    seen = reply.json()
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/echo/a/b c", "x=1&y=%20&x=2")
    assert (seen["size"], seen["body"]) == (7, '{"a":1}')
    assert seen["headers"]["x-two"] == "1"
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert seen["started"] is True
    assert seen["marker"] == "from the template"
    assert seen["request_id"] == reply.header("x-amzn-requestid")
    assert seen["trace"].startswith("Root=1-")


def test_deadline_is_where_the_application_looks(web: Function) -> None:
    seen = call(web.url, "/echo").json()
    assert 890_000 < seen["remaining_ms"] <= 900_000
    assert seen["deadline_ms"] > 1_700_000_000_000


def test_binary_request_and_reply(web: Function) -> None:
    body = bytes(range(256)) * 100
    assert call(web.url, "/echo", "PUT", body, {"Content-Type": "application/octet-stream"}).json()["size"] == len(body)
    assert call(web.url, "/binary").body == bytes(range(256)) * 40


def test_text_type_with_bytes_that_are_no_text(web: Function) -> None:
    assert call(web.url, "/echo", "POST", b"\xff\xfe\x00", {"Content-Type": "application/json"}).json()["size"] == 3


def test_large_request(web: Function) -> None:
    body = b"x" * (6 * 1024 * 1024)
    assert call(web.url, "/echo", "POST", body, {"Content-Type": "text/plain"}).json()["size"] == len(body)
    refused = call(web.url, "/echo", "POST", body + b"x", {"Content-Type": "text/plain"})
    assert (refused.status, refused.body) == (413, b'{"Message":null}')


def test_cookies_both_ways(web: Function) -> None:
    assert call(web.url, "/echo", headers={"Cookie": "a=1; b=two"}).json()["cookies"] == {"a": "1", "b": "two"}
    reply = call(web.url, "/cookies")
    assert [value.partition(";")[0] for name, value in reply.headers if name == "set-cookie"] == ["a=1", 'b="2\\0543"']
    assert reply.header("vary") == "accept,origin"


def test_head_has_no_body_for_the_client(web: Function) -> None:
    reply = call(web.url, "/echo", "HEAD")
    assert (reply.status, reply.body, reply.header("content-type")) == (200, b"", "application/json")


@pytest.mark.parametrize("status", [200, 204, 205, 304, 404])
def test_a_reply_without_a_body_gets_one_byte(web: Function, status: int) -> None:
    reply = call(web.url, f"/empty?status={status}")
    assert (reply.status, reply.body) == (200 if status in (204, 205, 304) else status, b"\n")


def test_requests_share_one_process_and_its_lifespan(web: Function) -> None:
    first, second = call(web.url, "/echo").json(), call(web.url, "/echo").json()
    assert second["pid"] == first["pid"]
    assert second["served"] == first["served"] + 1


def test_background_work_is_done_before_the_next_event(serve: Serve) -> None:
    function = serve("web", processes=1)
    began = watch(function.url, "/background").arrivals[-1][0]
    assert began < 0.25  # the client does not wait for it
    assert call(function.url, "/echo").status == 200
    assert "background done" in function.logged()  # flushed before the second event was asked for


def test_a_client_that_leaves_is_not_noticed(serve: Serve) -> None:
    """Lambda tells a function nothing about it; the reply is made to its end and the process serves on."""
    import socket
    from urllib.parse import urlsplit

    function = serve("web", processes=1)
    parts = urlsplit(function.url)
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.sendall(b"GET /paced?n=4&ms=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(100)
    reply = call(function.url, "/echo")
    while reply.status == 429:
        reply = call(function.url, "/echo")
    assert (reply.status, reply.json()["served"]) == (200, 1)
    assert function.server.violations == []


def test_nothing_of_our_environment_leaks_into_the_function(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "LEAK", "secret")
    assert call(serve("web").url, "/echo").json()["leak"] is None


def test_log_lines_are_json_with_the_request_id(serve: Serve) -> None:
    function = serve("web")
    seen = call(function.url, "/echo").json()
    function.wait_for("echo")
    line = next(line for line in function.log_lines() if line["message"] == "echo")
    assert line["aws_request_id"] == seen["request_id"]
    assert "secretsecret" not in json.dumps(line)
