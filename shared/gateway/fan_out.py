"""Several answers at once as one stream: `n` > 1 is a fan-out of upstream calls."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol


class Answer[T](Protocol):
    """What is iterated to its end, or closed early: an async generator for example."""

    def __aiter__(self) -> AsyncIterator[T]: ...

    async def aclose(self) -> None: ...


def merged[T](answers: Sequence[Answer[T]]) -> Answer[tuple[int, T]]:
    """(index, event) as they come; the first failure ends them all."""
    return interleaved([_numbered(index, events) for index, events in enumerate(answers)])


def interleaved[T](answers: Sequence[Answer[T]]) -> Answer[T]:
    """The events of all as they come; the first failure ends them all. One answer passes as it is."""
    return answers[0] if len(answers) == 1 else _interleaved(answers)


async def _numbered[T](index: int, events: Answer[T]) -> AsyncGenerator[tuple[int, T]]:
    async with aclosing(events):
        async for event in events:
            yield index, event


async def _interleaved[T](answers: Sequence[Answer[T]]) -> AsyncGenerator[T]:
    queue: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue(maxsize=64)

    async def pump(events: Answer[T]) -> None:
        try:
            async with aclosing(events):  # whoever is stopped while the queue is full leaves nothing open
                async for event in events:
                    await queue.put((event,))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.ensure_future(pump(events)) for events in answers]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
