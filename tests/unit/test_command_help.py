"""Commands that take variables instead of options say so when asked; they began to serve, to deploy, to measure."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "variable"),
    [("infra.local", "GATEWAY_PORT"), ("infra.local.deploy", "LOCAL_EDGE_PORT"), ("tests.bench", "ROUNDS")],
)
def test_help_is_shown_and_nothing_is_started(module, variable):
    command = [sys.executable, "-m", module, "--help"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.startswith(f"usage: python -m {module}")
    assert variable in told.stdout
