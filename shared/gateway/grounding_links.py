"""The sources of a grounded answer under their own addresses instead of Google's redirects, where it is switched on.

The answer waits once: when the upstream has ended and every text has left, before its citations and its end. The wait
is bounded as a whole; a link that could not be resolved until then stays as it came.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from shared.errors import GatewayError
from shared.events import Citation, End, Event
from shared.gateway.context import Exchange
from shared.gemini.grounding import redirects, retarget, retarget_metadata
from shared.gemini.public_urls import refuse_unless_public

TOTAL_S = 2.0
AT_ONCE = 8
MOST_LINKS = 64  # of one answer; recorded ones name up to about twenty
_SPARE_S = 1.0  # of the request's time, for what comes after

Location = Callable[[str], Awaitable[str | None]]  # where a redirect leads, or None


async def with_targets(
    answer: AsyncGenerator[list[Event]], location: Location, exchange: Exchange, total_s: float = TOTAL_S
) -> AsyncGenerator[list[Event]]:
    """The same events, the links of the citations and of the end's metadata resolved. Citations are held until the end,
    which follows them at once."""
    cited: list[Citation] = []
    async with aclosing(answer) as bursts:
        async for events in bursts:
            cited += [event for event in events if isinstance(event, Citation)]
            others: list[Event] = [event for event in events if not isinstance(event, Citation | End)]
            if others:
                yield others
            if events and isinstance(end := events[-1], End):
                links = redirects(cited, end.metadata)
                within_s = max(0.0, min(total_s, exchange.remaining_s - _SPARE_S))
                targets = await _targets(links[:MOST_LINKS], location, within_s) if links else {}
                yield [*retarget(cited, targets), replace(end, metadata=retarget_metadata(end.metadata, targets))]


async def _targets(links: Sequence[str], location: Location, within_s: float) -> dict[str, str]:
    """Where each link leads, of those that could be told in time."""
    found: dict[str, str] = {}
    gate = asyncio.Semaphore(AT_ONCE)

    async def follow(link: str) -> None:
        async with gate:
            target = await location(link)
        if target is not None and _is_public(target):
            found[link] = target

    try:
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
            for link in links:
                group.create_task(follow(link))
    except TimeoutError:
        return found  # the others stay redirects, which work as well
    return found


def _is_public(url: str) -> bool:
    try:
        refuse_unless_public(url, None)
    except GatewayError:
        return False
    return True
