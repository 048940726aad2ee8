"""How the control plane is put together; apart from the data plane's, because FastAPI costs every cold start."""

import json
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from handlers.composition import Stores, guarded, open_stores, warming
from shared.gateway import telemetry
from shared.gateway.auth import Authenticator
from shared.gateway.console.routes import console_routes
from shared.gateway.control import build_control_app
from shared.gateway.control_access import ControlPlane
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.keyring import KeyDirectory
from shared.gateway.settings import ConfigurationError, Settings
from shared.stores.dynamodb_global import DynamoGlobalTotals
from shared.stores.dynamodb_usage import DynamoUsageReader


def control_app(
    environ: Mapping[str, str], stores: Stores, directory: KeyDirectory, authenticator: Authenticator, lifespan: Any
) -> FastAPI:
    """`directory` is the authenticator's: it learns at once what an operator changes here."""
    usage = DynamoUsageReader(stores.aws, environ["USAGE_TABLE"])
    registry = KeyRegistry(stores.keys, stores.secrets, stores.ledger, changed=directory.forget)
    totals = DynamoGlobalTotals(stores.aws, environ["USAGE_TABLE"])
    addresses = client_addresses(environ.get("CLIENT_URLS", ""))
    plane = ControlPlane(authenticator, registry, usage, totals, addresses=addresses)
    return build_control_app(plane, console_routes(plane), lifespan)


def client_addresses(text: str) -> Mapping[str, str]:
    """CLIENT_URLS: a JSON object of the function URLs that clients are set up with, by what they ask for."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(url, str) for url in value.values()):
        raise ConfigurationError("CLIENT_URLS must be a JSON object of strings")
    return {name: url.rstrip("/") for name, url in value.items()}


def control_plane(environ: Mapping[str, str] = os.environ) -> ASGIApp:
    """The app of the control function, its stores warmed before the first request."""
    telemetry.configure(Settings.from_env(environ).log_level)
    stores = open_stores(environ, patient=True)
    directory = KeyDirectory(stores.keys, stores.secrets)
    app = control_app(environ, stores, directory, Authenticator(directory), warming(stores, environ))
    return guarded(app, stores)
