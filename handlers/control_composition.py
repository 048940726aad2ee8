"""How the control plane is put together; apart from the data plane's, because FastAPI costs every cold start."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from handlers.composition import Stores, open_stores
from shared.gateway import telemetry
from shared.gateway.auth import Authenticator
from shared.gateway.console.routes import console_routes
from shared.gateway.control import build_control_app
from shared.gateway.control_access import ControlPlane
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.keyring import KeyDirectory
from shared.gateway.settings import Settings
from shared.stores.dynamodb_usage import DynamoUsageReader


def control_app(
    environ: Mapping[str, str], stores: Stores, directory: KeyDirectory, authenticator: Authenticator, lifespan: Any
) -> FastAPI:
    """`directory` is the authenticator's: it learns at once what an operator changes here."""
    usage = DynamoUsageReader(stores.aws, environ["USAGE_TABLE"])
    registry = KeyRegistry(stores.keys, stores.secrets, stores.ledger, changed=directory.forget)
    plane = ControlPlane(authenticator, registry, usage)
    return build_control_app(plane, console_routes(plane), lifespan)


def control_plane(environ: Mapping[str, str] = os.environ) -> FastAPI:
    """The app of the control function, its stores warmed before the first request."""
    telemetry.configure(Settings.from_env(environ).log_level)
    stores = open_stores(environ, patient=True)
    directory = KeyDirectory(stores.keys, stores.secrets)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await stores.aws.warm("ssm", "secretsmanager", "dynamodb")
        yield

    return control_app(environ, stores, directory, Authenticator(directory), lifespan)
