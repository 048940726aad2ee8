"""Every fault of the upstream, in every dialect and form, judged by the official SDKs: no fault ends as a success, each
has the right status and exactly one row, and nothing of the upstream's secrets is shown."""

import pytest

from tests.contract.chaos_run import Case, cases, chaos_gateway, faults_of, run

CASES = cases()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """All cases at once: most of their time is spent waiting."""
    with chaos_gateway(tmp_path_factory.mktemp("faults") / "state") as (gateway, emulator):
        run(gateway, emulator, CASES)
        return gateway.log.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_never_a_success(outcome, case: Case):
    assert faults_of(case) == []


def test_no_secret_and_no_prompt_is_logged(outcome):
    assert "AIzaSy" not in outcome
    assert "chaos0" not in outcome  # nor any prompt
