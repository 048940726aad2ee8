"""The application that `make run` serves: every endpoint on one address."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from handlers.composition import open_services, open_stores
from shared.gateway import telemetry
from shared.gateway.app import build_app
from shared.gateway.settings import Settings
from shared.stores.aws import Aws


def local_app(environ: Mapping[str, str]) -> Starlette:
    """`environ` names the embedded AWS and the upstream as a function's variables would."""
    settings = Settings.from_env(environ)
    telemetry.configure(environ.get("LOG_LEVEL") or "WARNING")
    stores = open_stores(environ, Aws(environ), patient=True)
    services = open_services(settings, stores)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await stores.aws.warm("ssm", "secretsmanager", "dynamodb", "sqs")
        yield
        stores.aws.close()

    return build_app(services, None, lifespan)
