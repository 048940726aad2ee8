"""The circuit breaker: when it opens, for whom, for how long, and how one call finds out for all."""

import asyncio

import pytest

from shared.errors import GatewayError
from shared.gemini.breaker import CIRCUIT_OPEN, REST_S, CircuitBreaker

DOWN = GatewayError("upstream_overloaded", "x")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def breaker(clock, failures=5):
    return CircuitBreaker(failures, clock, lambda low, high: (low + high) / 2)


def fail(circuit, error=DOWN, times=1, model="m"):
    for _ in range(times):
        with pytest.raises(type(error)), circuit.watch(model):
            raise error


def refused(circuit, model="m"):
    try:
        with circuit.watch(model):
            return None
    except GatewayError as error:
        return error


def test_five_failures_in_a_row_open_it_and_a_rest_closes_it(clock):
    circuit = breaker(clock)
    fail(circuit, times=5)
    error = refused(circuit)
    assert (error.kind, error.reason, error.retry_after) == ("upstream_overloaded", CIRCUIT_OPEN, 20)
    clock.now += 12
    assert refused(circuit).retry_after == 8
    clock.now += 8
    assert refused(circuit) is None  # the probe passed
    fail(circuit, times=4)
    assert refused(circuit) is None


def test_a_success_or_a_refusal_of_the_request_starts_the_count_again(clock):
    for answer in (None, GatewayError("invalid_request", "x"), GatewayError("upstream_rate_limited", "x")):
        circuit = breaker(clock)
        fail(circuit, times=4)
        if answer is None:
            assert refused(circuit) is None
        else:
            fail(circuit, answer)
        fail(circuit, times=4)
        assert refused(circuit) is None


def test_models_are_told_apart(clock):
    circuit = breaker(clock)
    fail(circuit, times=5)
    assert refused(circuit, "other") is None
    assert refused(circuit).reason == CIRCUIT_OPEN


def test_one_call_probes_and_the_others_wait_for_it(clock):
    circuit = breaker(clock)
    fail(circuit, times=5)
    clock.now += 20
    with circuit.watch("m"):
        assert refused(circuit).reason == CIRCUIT_OPEN
    assert refused(circuit) is None


def test_a_probe_that_fails_opens_it_for_another_rest(clock):
    circuit = breaker(clock)
    fail(circuit, times=5)
    clock.now += 20
    fail(circuit)
    assert refused(circuit).retry_after == 20


def test_a_probe_that_was_given_up_leaves_the_next_one_to_probe(clock):
    circuit = breaker(clock)
    fail(circuit, times=5)
    clock.now += 20
    fail(circuit, asyncio.CancelledError())
    assert refused(circuit) is None


def test_calls_that_were_on_their_way_do_not_prolong_the_rest(clock):
    circuit = breaker(clock)
    with pytest.raises(GatewayError), circuit.watch("m"):
        fail(circuit, times=5)
        clock.now += 5
        raise DOWN
    assert refused(circuit).retry_after == 15


def test_zero_turns_it_off(clock):
    circuit = breaker(clock, failures=0)
    fail(circuit, times=50)
    assert refused(circuit) is None


def test_it_remembers_no_more_models_than_it_must(clock):
    circuit = breaker(clock)
    for number in range(1000):
        fail(circuit, model=f"m{number}")
    assert len(circuit._circuits) <= 256


def test_the_rest_is_between_ten_and_thirty_seconds():
    assert REST_S == (10, 30)
