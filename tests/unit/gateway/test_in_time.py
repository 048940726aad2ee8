"""A buffered answer's time: its end is told from everything else that ends the work."""

import asyncio
import time

import pytest

from shared.errors import GatewayError
from shared.gateway.context import Exchange, in_time


def exchange(seconds: float) -> Exchange:
    now = time.monotonic()
    return Exchange("r", "r", started_ms=1_795_000_000_000, started=now, deadline=now + seconds, source_ip="")


@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_work_ends_with_its_time(seconds):
    with pytest.raises(GatewayError) as late:
        async with in_time(exchange(seconds)):
            await asyncio.sleep(5)
    assert late.value.kind == "upstream_timeout"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nothing is left of it


async def test_work_that_ends_before_is_left_alone():
    async with in_time(exchange(0.02)):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)


async def test_whoever_leaves_is_not_late():
    async def work() -> None:
        async with in_time(exchange(5)):
            await asyncio.sleep(5)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_another_limit_within_counts_as_late():
    with pytest.raises(GatewayError) as late:
        async with in_time(exchange(5)):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
    assert late.value.kind == "upstream_timeout"


async def test_other_errors_pass():
    with pytest.raises(KeyError):
        async with in_time(exchange(5)):
            raise KeyError("x")
