"""The application that `make run` serves: both planes on one address."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from handlers.composition import open_services, open_stores
from handlers.control_composition import control_app
from infra.local.upkeep import keep
from shared.gateway import telemetry
from shared.gateway.app import build_app
from shared.gateway.auth import Authenticator
from shared.gateway.control import serves
from shared.gateway.keyring import KeyDirectory
from shared.gateway.settings import Settings
from shared.stores.aws import Aws


def local_app(environ: Mapping[str, str]) -> ASGIApp:
    """`environ` names the embedded AWS and the upstream as a function's variables would."""
    settings = Settings.from_env(environ)
    telemetry.configure(environ.get("LOG_LEVEL") or "WARNING")
    stores = open_stores(environ, Aws(environ), patient=True)
    directory = KeyDirectory(stores.keys, stores.secrets)
    authenticator = Authenticator(directory)  # one for both planes: a change of a key is seen at once
    services = dataclasses.replace(open_services(settings, stores), authenticator=authenticator)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await stores.aws.warm("ssm", "secretsmanager", "dynamodb", "sqs")
        upkeep = asyncio.ensure_future(keep(stores))
        yield
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        stores.aws.close()

    control = control_app(environ, stores, directory, authenticator, None)
    return OneAddress(build_app(services, None, lifespan), control)


class OneAddress:
    """Two applications, told apart by the path; the data plane's lifespan is that of both."""

    def __init__(self, data: ASGIApp, control: ASGIApp) -> None:
        self._data = data
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._control if scope["type"] == "http" and serves(scope["path"]) else self._data
        await app(scope, receive, send)
