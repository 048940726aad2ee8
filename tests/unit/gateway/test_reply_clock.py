"""What a renderer learns of the time: when the request came, and how late it is now."""

import time

import pytest

from shared.gateway.context import Exchange
from shared.gateway.pipeline import Call
from shared.gemini.catalog import resolve


@pytest.mark.parametrize("age_s", [0, 90])
def test_the_reply_knows_how_late_it_is(age_s):
    began = time.monotonic() - age_s
    exchange = Exchange("r", "r", started_ms=1_795_000_000_400, started=began, deadline=began + 900, source_ip="")
    model = resolve("gemini-3.8-flash", exchange.today)
    call = Call(exchange, None, model, None, None, None, None)
    assert call.reply.created == 1_795_000_000
    assert 0 <= call.reply.now - call.reply.created - age_s <= 5
