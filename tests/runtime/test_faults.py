"""What goes wrong inside the application, and what client and log see of it."""

import pytest

from tests.runtime.conftest import Function, Serve, call, watch


def assert_fault(function: Function, kind: str) -> None:
    function.wait_for(f'"errorType": "{kind}"')


def test_starlettes_500_is_the_answer(web: Function) -> None:
    reply = call(web.url, "/fails")
    assert (reply.status, reply.body) == (500, b"Internal Server Error")
    assert_fault(web, "ValueError")


def test_error_before_the_start_is_a_bad_gateway(serve: Serve) -> None:
    function = serve("bare", processes=1)
    assert call(function.url, "/raise").status == 502
    assert call(function.url, "/silent").status == 502
    assert call(function.url, "/").body == b"fine"
    assert_fault(function, "LookupError")
    assert function.server.violations == []
    assert function.server.exit_codes == []


@pytest.mark.parametrize("path", ["/half", "/twice"])
def test_unfinished_reply_cuts_the_client_off(serve: Serve, path: str) -> None:
    function = serve("bare", processes=1)
    reply = watch(function.url, path) if path == "/half" else call(function.url, path)
    assert (reply.status, reply.complete) == ((200, False) if path == "/half" else (502, True))
    assert call(function.url, "/").body == b"fine"
    assert function.server.exit_codes == []


def test_an_application_without_a_body_still_sends_one_byte(serve: Serve) -> None:
    assert call(serve("bare").url, "/nobody").body == b"\n"


@pytest.mark.parametrize("repeat", [1, 5_000])
def test_error_after_the_start_ends_with_trailers(serve: Serve, repeat: int) -> None:
    """However long the message, the trailers stay below what kills the process."""
    function = serve("web", processes=1)
    reply = call(function.url, f"/fails-late?repeat={repeat}")
    assert (reply.status, reply.complete) == (200, False)
    assert reply.body == b": ok\n\ndata: one\n\n"
    assert call(function.url, "/echo").status == 200
    assert function.server.violations == []
    assert function.server.exit_codes == []
    assert_fault(function, "ValueError")


def test_a_process_that_dies_before_the_first_byte(serve: Serve) -> None:
    function = serve("web", processes=1)
    assert call(function.url, "/dies?early").status == 200  # the opening comment has already left
    assert call(function.url, "/echo").status == 200
    assert function.server.exit_codes == [7]


def test_a_process_that_dies_in_the_middle(serve: Serve) -> None:
    function = serve("web", processes=1)
    reply = call(function.url, "/dies?late")
    assert (reply.complete, reply.body) == (False, b": ok\n\ndata: one\n\n")
    assert call(function.url, "/echo").status == 200


def test_an_overrun_is_cancelled_before_lambda_kills_the_process(serve: Serve) -> None:
    function = serve("web", processes=1, timeout=2.0)
    assert call(function.url, "/overruns").status == 502
    function.wait_for("booked")
    assert call(function.url, "/echo").status == 200
    assert function.server.exit_codes == []
