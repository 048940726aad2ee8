"""The actions of Google's own paths."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.gemini_native.errors import unimplemented
from shared.gateway.context import Exchange
from shared.gateway.native import Native
from shared.gateway.native_caches import NativeCaches
from shared.gateway.native_files import NativeFiles
from shared.gateway.native_life import NativeLife
from shared.gateway.native_objects import Owners
from shared.gateway.native_upstream import NativeUpstream
from shared.gateway.pipeline import Services

Action = Callable[[Request, Exchange, Any, str], Awaitable[Response]]


def native_actions(services: Services) -> Mapping[str, Action]:
    owners = Owners(services.owned)
    life, upstream = NativeLife(services), NativeUpstream.beside(services.upstream)
    files, caches = NativeFiles(life, owners, upstream), NativeCaches(life, owners, upstream)

    async def elsewhere(request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """What Google has and a shared project on functions cannot: said to known keys only."""
        await life.principal(request, exchange, endpoint)
        raise unimplemented(request.url.path[:100])

    return {
        "native": Native(services, owners).serve,
        "native_upload": files.upload,
        "native_files": files.list,
        "native_file": files.one,
        "native_caches": caches.collection,
        "native_cache": caches.one,
        "native_elsewhere": elsewhere,
    }
