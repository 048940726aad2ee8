"""What `make deploy-local` makes of its environment."""

import socket
from pathlib import Path

import pytest

from infra.local.deploy import parameters, plan
from shared.gateway.settings import GOOGLE, ConfigurationError

FREE = {"LOCAL_EDGE_PORT": "0"}


def test_without_a_key_the_emulator_is_the_upstream() -> None:
    what = plan(FREE)
    assert (what.gemini_url, what.gemini_key, what.shape) == ("", "", "per-endpoint")
    assert what.home == Path.cwd() / ".local" / "deploy"
    assert set(what.stacks) == {"gw", "gw-edge", "gw-observability"}


def test_a_key_means_google_or_the_address_that_is_named() -> None:
    assert plan({**FREE, "GEMINI_API_KEY": "secret-one"}).gemini_url == GOOGLE
    assert plan({**FREE, "GEMINI_API_KEY": " , "}).gemini_url == ""
    named = plan({**FREE, "GEMINI_API_KEY": "secret-one", "GEMINI_BASE_URL": "http://other"})
    assert (named.gemini_url, named.gemini_key) == ("http://other", "secret-one")


def test_a_real_key_never_enters_the_local_aws() -> None:
    what = plan({**FREE, "GEMINI_API_KEY": "secret-one"})
    assert "secret-one" not in str(parameters(what, "http://127.0.0.1:4566", what.gemini_url))


def test_one_function_needs_no_edge_stack() -> None:
    what = plan({**FREE, "SHAPE": "single", "GATEWAY_STATE_DIR": "/somewhere"})
    assert set(what.stacks) == {"gw", "gw-observability"}
    assert what.home == Path("/somewhere/deploy")
    given = parameters(what, "http://aws", "http://gemini")
    assert (given["Shape"], given["Edge"], given["AwsEndpointUrl"]) == ("single", "none", "http://aws")


def test_a_taken_port_is_an_error_only_if_it_was_asked_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} .LOCAL_EDGE_PORT."):
            plan({"LOCAL_EDGE_PORT": port})
        with pytest.raises(ConfigurationError, match="LOCAL_AWS_PORT"):
            plan({**FREE, "LOCAL_AWS_PORT": port})
    assert plan({"LOCAL_EDGE_PORT": port}).edge_port == int(port)
    assert plan({}).edge_port in (0, 8081)


@pytest.mark.parametrize("wrong", [{"SHAPE": "double"}, {"LOCAL_EDGE_PORT": "x"}, {"LOCAL_AWS_PORT": "70000"}])
def test_nonsense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        plan(FREE | wrong)
