"""An application whose lifespan fails."""

import contextlib
from collections.abc import AsyncIterator

from mangum import Mangum
from starlette.applications import Starlette


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    raise RuntimeError("the pool is empty")
    yield


app = Starlette(lifespan=lifespan)
handler = Mangum(app)
