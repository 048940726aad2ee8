"""One gateway process and one scriptable upstream for all contract tests."""

import json
import subprocess

import pytest

from infra.local.emulator import EmulatorServer
from tests.running import Gateway, clean_environment, running_gateway


@pytest.fixture(scope="module")
def upstream():
    with EmulatorServer() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    environment = {
        "GEMINI_API_KEY": "test-upstream-key",
        "GEMINI_BASE_URL": upstream.base_url,
        "BREAKER_FAILURES": "0",  # one test's failures are not the next one's
    }
    with running_gateway(tmp_path_factory.mktemp("gateway") / "state", environment) as running:
        yield running


@pytest.fixture
def emulator(upstream):
    """The upstream with nothing scripted and nothing recorded."""
    upstream.reset()
    yield upstream
    upstream.reset()


@pytest.fixture
def client_key(gateway: Gateway, request: pytest.FixtureRequest) -> tuple[str, str]:
    """(kid, key) of a key of the test's own, so that its rows are its own."""
    made = gateway.new_key(request.node.name[:80])
    return made["kid"], made["key"]


@pytest.fixture
def play(scenarios, gateway: Gateway, client_key, emulator):
    """Runs a scenario of a client with a key of the test's own; what its user sees. The client's tests define the
    fixture `scenarios`: the command that takes a scenario's name and options."""

    def played(scenario, **options):
        done = subprocess.run(
            [*scenarios, scenario, json.dumps(options)],
            env=clean_environment() | {"GATEWAY_URL": gateway.base_url, "GATEWAY_KEY": client_key[1]},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return played
