"""What the maintenance function does in a deployment, done by the laptop's gateway itself while it runs."""

import asyncio
import time

from handlers.composition import Stores
from shared.gateway.maintenance import account_names, book, recount, sweep
from shared.gateway.telemetry import log
from shared.stores import sqs
from shared.stores.protocols import StoreUnavailable
from shared.stores.usage_protocols import GlobalUpkeep

_EVERY_S = 60.0
_DAYS_COUNTED = 2  # yesterday's last requests may settle today


async def keep(stores: Stores, totals: GlobalUpkeep, every_s: float = _EVERY_S) -> None:
    """Until cancelled: a sweep, the settlements that the queue holds, and the totals of all accounts, which a
    deployment counts from the table's stream. A failed round is followed by the next."""
    while True:
        await asyncio.sleep(every_s)
        try:
            accounts, now = await account_names(stores.keys), int(time.time())
            await sweep(accounts, stores.ledger, now, lambda: False)
            await _drain(stores)
            await recount(accounts, totals, now, lambda: False, _DAYS_COUNTED)
        except StoreUnavailable as error:
            log("upkeep_failed", level=30, exc=error)


async def _drain(stores: Stores) -> None:
    while messages := await stores.queue.receive():
        failed = set(await book(messages, sqs.loads, stores.ledger.settle))
        for message in messages:
            if message["messageId"] not in failed:
                await stores.queue.done(message)
