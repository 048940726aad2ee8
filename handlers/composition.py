"""How a function is put together: settings from the environment, stores on AWS, the app on both."""

import importlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.types import ASGIApp

from shared.gateway import telemetry
from shared.gateway.app import build_app, outside
from shared.gateway.auth import Authenticator
from shared.gateway.front_door import FrontDoor, OneAddress
from shared.gateway.kept_files import KeptFiles
from shared.gateway.keyring import KeyDirectory
from shared.gateway.pipeline import Services
from shared.gateway.pool import CredentialPool
from shared.gateway.request_media import FetcherOnDemand
from shared.gateway.retry_budget import RetryBudget
from shared.gateway.settings import ConfigurationError, Settings
from shared.gateway.upstream import Upstream
from shared.gemini.client import GeminiClient
from shared.stores.aws import Aws
from shared.stores.cooldowns import DynamoCooldowns
from shared.stores.dynamodb import DynamoLedger
from shared.stores.key_stores import open_key_store
from shared.stores.owned_objects import DynamoOwnedObjects
from shared.stores.protocols import Credential, Invoker, KeyStore, OriginSecrets, StoreUnavailable
from shared.stores.s3 import S3Objects
from shared.stores.secrets import SecretsManagerOrigin, SecretsManagerStore
from shared.stores.signatures import DynamoSignatureStore
from shared.stores.sqs import SqsSettlementQueue

if TYPE_CHECKING:
    from shared.stores.responses import DynamoResponseStore

_REQUIRED = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "SETTLE_QUEUE_URL")


class Stores(Struct, frozen=True):
    """The stores of one deployment, all on one account and region."""

    aws: Aws
    keys: KeyStore
    secrets: SecretsManagerStore
    ledger: DynamoLedger
    signatures: DynamoSignatureStore
    queue: SqsSettlementQueue
    owned: DynamoOwnedObjects
    cooldowns: DynamoCooldowns
    origin: OriginSecrets | None  # None: whoever knows the address may ask
    responses: "DynamoResponseStore | None" = None  # None, like the next: no Responses API here
    invoker: Invoker | None = None
    objects: S3Objects | None = None  # None: clients leave no files here


def open_stores(
    environ: Mapping[str, str],
    aws: Aws | None = None,
    endpoints: Collection[str] | None = None,
    *,
    patient: bool = False,
) -> Stores:
    """`aws` None: the function's own account, by its environment; `endpoints` None: whatever any endpoint may need;
    `patient` lets a key lookup take longer than a function would wait, as a busy laptop may."""
    missing = [name for name in _REQUIRED if not environ.get(name)]
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}")
    aws = aws or Aws(environ)
    table = environ["USAGE_TABLE"]
    pool = environ.get("GEMINI_POOL_SECRET_ID", "")
    origin = environ.get("ORIGIN_SECRET_ID", "")
    bucket = environ.get("UPLOAD_BUCKET", "")
    stateful = endpoints is None or "responses" in endpoints
    responses, invoker = _response_stores(environ, aws) if stateful else (None, None)
    return Stores(
        aws=aws,
        keys=open_key_store(environ, aws, patient=patient),
        secrets=SecretsManagerStore(aws, environ["PEPPER_SECRET_ID"], pool, pool=_own_pool(environ)),
        ledger=DynamoLedger(aws, table),
        signatures=DynamoSignatureStore(aws, table),
        queue=SqsSettlementQueue(aws, environ["SETTLE_QUEUE_URL"]),
        owned=DynamoOwnedObjects(aws, table),
        cooldowns=DynamoCooldowns(aws, table),
        origin=SecretsManagerOrigin(aws, origin) if origin else None,
        responses=responses,
        invoker=invoker,
        objects=S3Objects(aws, bucket) if bucket else None,
    )


def _response_stores(environ: Mapping[str, str], aws: Aws) -> "tuple[DynamoResponseStore, Invoker | None]":
    """Imported where they are opened: every other function's cold start would pay for them."""
    from shared.stores.lambda_invoke import LambdaInvoker
    from shared.stores.responses import DynamoResponseStore

    function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    invoker = LambdaInvoker(aws, function_name) if function_name else None
    return DynamoResponseStore(aws, environ["USAGE_TABLE"]), invoker


def _own_pool(environ: Mapping[str, str]) -> list[Credential]:
    """A laptop's credentials, from GEMINI_API_KEY; a deployment keeps its own in the pool secret only."""
    texts = [text.strip() for text in environ.get("GEMINI_API_KEY", "").split(",")]
    return [Credential(id=f"env{position}", key=text) for position, text in enumerate(filter(None, texts))]


def open_services(settings: Settings, stores: Stores, directory: KeyDirectory | None = None) -> Services:
    client = GeminiClient(
        settings.gemini_base_url, timeouts=settings.timeouts, breaker_failures=settings.breaker_failures
    )
    pool = CredentialPool(
        stores.secrets,
        shared=stores.cooldowns if settings.shared_cooldowns else None,
        retries=RetryBudget(settings.retry_budget),
    )
    return Services(
        settings=settings,
        authenticator=Authenticator(directory or KeyDirectory(stores.keys, stores.secrets)),
        ledger=stores.ledger,
        queue=stores.queue,
        signatures=stores.signatures,
        upstream=Upstream(client, pool, settings),
        secrets=stores.secrets,
        kept=stores.responses,
        invoker=stores.invoker,
        owned=stores.owned,
        files=KeptFiles(stores.objects, stores.owned) if stores.objects else None,
        signer=stores.objects,
        fetcher=FetcherOnDemand(plain_http=settings.url_fetch == "on") if settings.url_fetch != "off" else None,
    )


def data_plane(endpoints: Collection[str], environ: Mapping[str, str] = os.environ) -> ASGIApp:
    """The app of a function that serves these endpoints, its stores warmed before the first request."""
    settings = Settings.from_env(environ)
    telemetry.configure(settings.log_level)
    stores = open_stores(environ, Aws(environ, direct=True), endpoints)
    return guarded(build_app(open_services(settings, stores), endpoints, warming(stores, environ)), stores)


def both_planes(environ: Mapping[str, str] = os.environ) -> ASGIApp:
    """The app of a function that serves every path. FastAPI is imported by the control plane's first request only."""
    settings = Settings.from_env(environ)
    telemetry.configure(settings.log_level)
    stores = open_stores(environ, Aws(environ, direct=True))
    directory = KeyDirectory(stores.keys, stores.secrets)  # one for both planes: a change of a key is seen at once
    services = open_services(settings, stores, directory)

    def control() -> ASGIApp:
        composition = importlib.import_module("handlers.control_composition")
        app: ASGIApp = composition.control_app(environ, stores, directory, services.authenticator, None)
        return app

    return guarded(OneAddress(build_app(services, None, warming(stores, environ)), control), stores)


def guarded(app: ASGIApp, stores: Stores) -> ASGIApp:
    """Behind the check that requests came in through the edge, where one is there."""
    return app if stores.origin is None else FrontDoor(app, stores.origin, outside)


def warming(stores: Stores, environ: Mapping[str, str]) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """A lifespan that pays for AWS's clients, and for the first look at the origin secret, before any request. What is
    to become a snapshot looks at nothing: it may be restored after days, with a clock that has not counted them.
    """
    origin = stores.origin if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start" else None

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        await stores.aws.warm("ssm", "secretsmanager", "dynamodb")
        if origin is not None:
            try:
                await origin.accepted()
            except StoreUnavailable as error:
                telemetry.log("origin_secret_unreadable", level=40, exc=error)  # every request gets 503, and tries anew
        yield

    return lifespan
