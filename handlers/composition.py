"""How a function is put together: settings from the environment, stores on AWS, the app on both."""

import os
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from shared.gateway import telemetry
from shared.gateway.app import build_app
from shared.gateway.auth import Authenticator
from shared.gateway.keyring import KeyDirectory
from shared.gateway.pipeline import Services
from shared.gateway.pool import CredentialPool
from shared.gateway.settings import ConfigurationError, Settings
from shared.gateway.upstream import Upstream
from shared.gemini.client import GeminiClient
from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.key_stores import open_key_store
from shared.stores.lambda_invoke import LambdaInvoker
from shared.stores.owned_objects import DynamoOwnedObjects
from shared.stores.protocols import Credential, Invoker, KeyStore
from shared.stores.responses import DynamoResponseStore
from shared.stores.secrets import SecretsManagerStore
from shared.stores.signatures import DynamoSignatureStore
from shared.stores.sqs import SqsSettlementQueue

_REQUIRED = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "SETTLE_QUEUE_URL")


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one deployment, all on one account and region."""

    aws: Aws
    keys: KeyStore
    secrets: SecretsManagerStore
    ledger: DynamoLedger
    signatures: DynamoSignatureStore
    queue: SqsSettlementQueue
    responses: DynamoResponseStore
    owned: DynamoOwnedObjects
    invoker: Invoker | None


def open_stores(environ: Mapping[str, str], aws: Aws | None = None, *, patient: bool = False) -> Stores:
    """`aws` None means boto3's own search for credentials; `patient` lets a key lookup take longer than a function
    would wait, as a busy laptop may."""
    missing = [name for name in _REQUIRED if not environ.get(name)]
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}")
    aws = aws or Aws()
    table = environ["USAGE_TABLE"]
    pool = environ.get("GEMINI_POOL_SECRET_ID", "")
    function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    return Stores(
        aws=aws,
        keys=open_key_store(environ, aws, patient=patient),
        secrets=SecretsManagerStore(aws, environ["PEPPER_SECRET_ID"], pool, pool=_own_pool(environ)),
        ledger=DynamoLedger(aws, table),
        signatures=DynamoSignatureStore(aws, table),
        queue=SqsSettlementQueue(aws, environ["SETTLE_QUEUE_URL"]),
        responses=DynamoResponseStore(aws, table),
        owned=DynamoOwnedObjects(aws, table),
        invoker=LambdaInvoker(aws, function_name) if function_name else None,
    )


def _own_pool(environ: Mapping[str, str]) -> list[Credential]:
    """A laptop's credentials, from GEMINI_API_KEY; a deployment keeps its own in the pool secret only."""
    texts = [text.strip() for text in environ.get("GEMINI_API_KEY", "").split(",")]
    return [Credential(id=f"env{position}", key=text) for position, text in enumerate(filter(None, texts))]


def open_services(settings: Settings, stores: Stores) -> Services:
    directory = KeyDirectory(stores.keys, stores.secrets)
    client = GeminiClient(settings.gemini_base_url)
    return Services(
        settings=settings,
        authenticator=Authenticator(directory),
        ledger=stores.ledger,
        queue=stores.queue,
        signatures=stores.signatures,
        upstream=Upstream(client, CredentialPool(stores.secrets), settings),
        secrets=stores.secrets,
        kept=stores.responses,
        invoker=stores.invoker,
        owned=stores.owned,
    )


def data_plane(endpoints: Collection[str] | None = None, environ: Mapping[str, str] = os.environ) -> Starlette:
    """The app of a function that serves these endpoints (None: all), its stores warmed before the first request."""
    settings = Settings.from_env(environ)
    telemetry.configure(settings.log_level)
    stores = open_stores(environ)
    services = open_services(settings, stores)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await stores.aws.warm("ssm", "secretsmanager", "dynamodb")
        yield

    return build_app(services, endpoints, lifespan)
