"""What the maintenance function does in a deployment, done by the laptop's gateway itself while it runs."""

import asyncio
import time

from handlers.composition import Stores
from shared.gateway.maintenance import account_names, book, sweep
from shared.gateway.telemetry import log
from shared.stores import sqs
from shared.stores.protocols import StoreUnavailable

_EVERY_S = 60.0


async def keep(stores: Stores, every_s: float = _EVERY_S) -> None:
    """Until cancelled: a sweep, and the settlements that the queue holds. A failed round is followed by the next."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await sweep(await account_names(stores.keys), stores.ledger, int(time.time()), lambda: False)
            await _drain(stores)
        except StoreUnavailable as error:
            log("upkeep_failed", level=30, exc=error)


async def _drain(stores: Stores) -> None:
    while messages := await stores.queue.receive():
        failed = set(await book(messages, sqs.loads, stores.ledger.settle))
        for message in messages:
            if message["messageId"] not in failed:
                await stores.queue.done(message)
