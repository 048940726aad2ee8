"""Several answers at once as one stream: `n` > 1 is a fan-out of upstream calls."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing


async def merged[T](answers: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[tuple[int, T]]:
    """(index, event) as they come; the first failure ends them all. One answer passes without a queue."""
    if len(answers) == 1:
        async with aclosing(answers[0]) as events:
            async for event in events:
                yield 0, event
        return
    queue: asyncio.Queue[tuple[int, T | BaseException | None]] = asyncio.Queue(maxsize=64)

    async def pump(index: int, events: AsyncGenerator[T]) -> None:
        try:
            async for event in events:
                await queue.put((index, event))
        except Exception as error:
            await queue.put((index, error))
        else:
            await queue.put((index, None))

    tasks = [asyncio.ensure_future(pump(index, events)) for index, events in enumerate(answers)]
    try:
        running = len(tasks)
        while running:
            index, item = await queue.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
