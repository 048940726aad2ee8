"""The application that `make run` serves: both planes on one address."""

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from handlers.composition import open_services, open_stores
from handlers.control_composition import control_app
from infra.local.upkeep import keep
from shared.gateway import telemetry
from shared.gateway.app import build_app
from shared.gateway.front_door import OneAddress
from shared.gateway.keyring import KeyDirectory
from shared.gateway.settings import Settings
from shared.stores.aws import Aws
from shared.stores.dynamodb_global import DynamoGlobalTotals


def local_app(environ: Mapping[str, str]) -> ASGIApp:
    """`environ` names the embedded AWS and the upstream as a function's variables would."""
    settings = Settings.from_env(environ)
    telemetry.configure(settings.log_level if environ.get("LOG_LEVEL") else "WARNING")
    stores = open_stores(environ, Aws(environ, direct=True), patient=True)
    directory = KeyDirectory(stores.keys, stores.secrets)
    services = open_services(settings, stores, directory)  # one directory: a change of a key is seen at once

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        await stores.aws.warm("ssm", "secretsmanager", "dynamodb", "sqs")
        gc.collect()
        gc.freeze()  # what start-up made stays, and need not be looked through again
        upkeep = asyncio.ensure_future(keep(stores, DynamoGlobalTotals(stores.aws, environ["USAGE_TABLE"])))
        yield
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        stores.aws.close()

    control = control_app(environ, stores, directory, services.authenticator, None)
    return OneAddress(build_app(services, None, lifespan), lambda: control)
