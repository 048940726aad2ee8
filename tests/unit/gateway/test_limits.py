"""A key's limits in words: what a refusal tells its client to do."""

import pytest

from shared.gateway.limits import refusal
from shared.stores.protocols import Refused


@pytest.mark.parametrize(
    ("wait", "advice"),
    [(59.2, "Please try again in 60s."), (0.0, "Please try again in 1s."), (None, "Its limit is 0.")],
)
@pytest.mark.parametrize("kind", ["rate", "tokens", "concurrency"])
def test_a_limit_says_how_long_to_wait_and_where_waiting_is_in_vain(kind, wait, advice):
    error = refusal(Refused(kind, wait))
    assert error.retry_after == wait
    assert error.message.endswith(f" {advice}")
