"""A key's limits in words: what a refusal tells its client to do."""

from typing import Any

import pytest

from shared.errors import GatewayError
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange
from shared.gateway.limits import refusal
from shared.gateway.metering import Meter
from shared.gateway.settings import Settings
from shared.gemini.catalog import resolve
from shared.limit_state import LimitState
from shared.stores.protocols import Admitted, KeyRecord, Refused


@pytest.mark.parametrize(
    ("wait", "advice"),
    [(59.2, "Please try again in 60s."), (0.0, "Please try again in 1s."), (None, "Its limit is 0.")],
)
@pytest.mark.parametrize("kind", ["rate", "tokens", "concurrency"])
def test_a_limit_says_how_long_to_wait_and_where_waiting_is_in_vain(kind, wait, advice):
    error = refusal(Refused(kind, wait))
    assert error.retry_after == wait
    assert error.message.endswith(f" {advice}")


class Open:
    async def admit(self, admission: Any) -> Admitted:
        return Admitted(LimitState())


@pytest.mark.parametrize(
    ("limit", "model", "admitted"),
    [
        (0, "gemini-2.5-flash", False),
        (0, "gemini-2.5-flash-image", False),
        (0, "gemini-embedding-001", True),
        (1, "gemini-2.5-flash", True),
        (None, "gemini-2.5-flash", True),
    ],
)
async def test_a_key_without_output_generates_nothing(limit, model, admitted):
    exchange = Exchange("r", "shown", 1_800_000_000_000, 0.0, 60.0, "")
    key, stores = KeyRecord("k", "acct", "h", "p", max_output_tokens=limit), Open()
    meter = Meter(
        stores,
        stores,
        Settings(),
        key,
        exchange,
        resolve(model, exchange.today),
        Estimate(1, 1, 1),
        dialect="d",
        endpoint="chat",
        stream=True,
    )
    try:
        await meter.admit()
    except GatewayError as refused:
        assert (refused.kind, admitted) == ("feature_not_allowed", False)
    else:
        assert admitted
