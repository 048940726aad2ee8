"""Several answers as one stream: all that they say, the first failure for all, and nothing left open."""

import asyncio
from contextlib import aclosing

import pytest

from shared.gateway.fan_out import interleaved, merged


class Answer:
    def __init__(self, *said, failure=None):
        self.said = said
        self.failure = failure
        self.closed = False

    async def __call__(self):
        try:
            for word in self.said:
                await asyncio.sleep(0)
                yield word
            if self.failure is not None:
                raise self.failure
        finally:
            self.closed = True


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_everything_is_said_in_the_order_of_each(count):
    answers = [Answer("a", None, "b") for _ in range(count)]
    said = [item async for item in merged([answer() for answer in answers])]
    assert len(said) == 3 * count
    for index in range(count):
        assert [word for number, word in said if number == index] == ["a", None, "b"]
    assert all(answer.closed for answer in answers)


async def test_one_alone_passes_as_it_is():
    answer = Answer("a")()
    assert interleaved([answer]) is answer
    await answer.aclose()


@pytest.mark.parametrize("count", [1, 3])
async def test_the_first_failure_ends_them_all(count):
    answers = [Answer("a", failure=ValueError("x")), *(Answer(*"b" * 500) for _ in range(count - 1))]
    with pytest.raises(ValueError, match="x"):
        async for _ in merged([answer() for answer in answers]):
            pass
    assert all(answer.closed for answer in answers)


@pytest.mark.parametrize("count", [1, 3])
async def test_leaving_early_closes_every_answer_at_once(count):
    """Also those that wait for a reader who takes nothing more."""
    answers = [Answer(*"a" * 500) for _ in range(count)]
    async with aclosing(merged([answer() for answer in answers])) as said:
        async for _ in said:
            for _ in range(200):
                await asyncio.sleep(0)
            break
    assert all(answer.closed for answer in answers)
