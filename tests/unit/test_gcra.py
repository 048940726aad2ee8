"""The rate arithmetic against a plain simulation of what a limit promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.stores.gcra import RateLimit, request_limit, requests_left, token_cost_us, token_limit, tokens_left

NOW = 1_800_000_000_000_000


def admit(limit: RateLimit, tat: int | None, now: int) -> int | None:
    """The new arrival time, or None where the request is refused."""
    if limit.refuses(tat, now):
        return None
    return max(tat or 0, now) + limit.cost_us


@given(st.integers(1, 10_000), st.integers(1, 50))
def test_an_idle_account_gets_exactly_its_burst(rpm: int, burst: int) -> None:
    limit = request_limit(rpm, burst)
    assert limit is not None
    tat: int | None = None
    for admitted in range(burst):
        assert requests_left(limit, tat, NOW) == burst - admitted
        tat = admit(limit, tat, NOW)
        assert tat is not None
    assert requests_left(limit, tat, NOW) == 0
    assert limit.refuses(tat, NOW)
    wait = limit.wait_s(tat, NOW)
    assert wait is not None
    assert limit.refuses(tat, NOW + round(wait * 1e6) - 1)
    assert not limit.refuses(tat, NOW + round(wait * 1e6))


@given(st.integers(1, 600), st.integers(1, 10), st.lists(st.integers(0, 3_000_000), max_size=200))
def test_over_any_time_no_more_pass_than_rate_and_burst_allow(rpm: int, burst: int, pauses: list[int]) -> None:
    limit = request_limit(rpm, burst)
    assert limit is not None
    tat, now, passed = None, NOW, 0
    for pause in pauses:
        now += pause
        following = admit(limit, tat, now)
        if following is not None:
            tat, passed = following, passed + 1
    assert passed <= burst + (now - NOW) * rpm // 60_000_000 + 1


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_tokens_given_back_are_those_that_were_taken(tpm: int, estimate: int, used: int) -> None:
    tat = NOW + token_cost_us(estimate, tpm)
    tat -= token_cost_us(estimate, tpm) - token_cost_us(used, tpm)
    assert tat == NOW + token_cost_us(used, tpm)


def test_the_defaults_of_bursts() -> None:
    for rpm, burst in ((1, 1), (6, 1), (7, 2), (60, 10), (600, 100)):
        limit = request_limit(rpm, None)
        assert limit is not None
        assert requests_left(limit, None, NOW) == burst
    tokens = token_limit(1_000, None, 10)
    assert tokens is not None
    assert tokens_left(tokens, None, NOW) == 1_000


def test_no_limit_is_none_and_zero_is_closed() -> None:
    assert request_limit(None, None) is None
    assert token_limit(None, 7, 1) is None
    for closed in (request_limit(0, 5), request_limit(5, 0), token_limit(0, None, 1), token_limit(9, 0, 1)):
        assert closed is not None
        assert closed.refuses(None, NOW)
        assert closed.wait_s(None, NOW) is None
    assert requests_left(RateLimit(0, 0, 0), None, NOW) == tokens_left(RateLimit(0, 0, 0), None, NOW) == 0


@pytest.mark.parametrize(("tat", "expected"), [(None, 0.0), (NOW - 5, 0.0), (NOW + 1_500_000, 1.5)])
def test_the_reset_is_never_in_the_past(tat: int | None, expected: float) -> None:
    limit = request_limit(60, None)
    assert limit is not None
    assert limit.reset_s(tat, NOW) == expected
