"""A gateway and its scriptable upstream, for the tests that need no other."""

import pytest

from infra.local.emulator import EmulatorServer
from tests.running import running_gateway


@pytest.fixture(scope="module")
def upstream():
    with EmulatorServer() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    environment = {"GEMINI_API_KEY": "test-upstream-key", "GEMINI_BASE_URL": upstream.base_url}
    with running_gateway(tmp_path_factory.mktemp("gateway") / "state", environment) as running:
        yield running
