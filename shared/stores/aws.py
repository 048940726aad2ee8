"""The one door to AWS: signed calls of our own for what every request needs, boto3 for the rest, one kind of failure.

boto3 costs hundreds of milliseconds to import and blocks; it is therefore imported inside the functions that make a
client and called on threads of our own.
"""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from msgspec import Struct

from shared.http1 import HttpClient, HttpFailure, tls_context
from shared.stores.attributes import Attributes, Item, decode_item
from shared.stores.aws_direct import DirectAws, DirectFailure
from shared.stores.protocols import StoreUnavailable

_THREADS = 32
_BATCH = 100  # the most keys of one BatchGetItem
_WRITE_BATCH = 25  # the most items of one BatchWriteItem, which may hold 16 MB: 25 of the largest take 10
_BASE_DELAY_S = 0.02
_CONNECT_S = 1.0


class _Patience(Struct, frozen=True):
    """Seconds to connect and to read, and tries of one call: botocore makes them by itself, for direct calls we do."""

    connect: float
    read: float
    tries: int


# DynamoDB is retried by the stores, which know what is idempotent; a key lookup has half a second for one try.
_PATIENCE = {
    "dynamodb": _Patience(1.0, 2.0, 1),
    "ssm": _Patience(0.5, 0.5, 1),
    "secretsmanager": _Patience(1.0, 2.0, 3),
    "sqs": _Patience(1.0, 2.0, 3),
    "s3": _Patience(1.0, 20.0, 3),
}
# SigV4 for presigned URLs in every region, and no checksum that their users would have to compute
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"signature_version": "s3v4", "request_checksum_calculation": "when_required"},
}
_PATIENT = _Patience(2.0, 10.0, 3)  # an operator's listing or write

_TRANSIENT = frozenset(
    {
        "ConnectionFailure",
        "InternalFailure",
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


class CancellationReason(Struct, frozen=True):
    """Why one item of a transaction failed; code "None" where it did not. `item` is the image in DynamoDB's form."""

    code: str
    item: Mapping[str, Any] | None = None


class AwsFailure(Exception):
    """A call that AWS refused or that never arrived. `code` is AWS's own, or ConnectionFailure."""

    def __init__(
        self,
        call: str,
        code: str,
        *,
        status: int = 0,
        item: Mapping[str, Any] | None = None,
        reasons: tuple[CancellationReason, ...] = (),
    ) -> None:
        super().__init__(f"{call}: {code}")
        self.code = code
        self.status = status
        self.item = item
        self.reasons = reasons

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a moment later."""
        if self.reasons:
            codes = {reason.code for reason in self.reasons if reason.code != "None"}
            return bool(codes) and codes <= _TRANSIENT
        return self.code in _TRANSIENT or self.status >= 500

    def unavailable(self) -> StoreUnavailable:
        return StoreUnavailable(str(self))


class Aws:
    """Clients of one account and region.

    `environ` None: boto3's own search (the operator's profile). A mapping, a function's environment: exactly its
    AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; and
    boto3's own search where it holds no keys. `direct` sends what every request needs past boto3; its connections
    belong to one event loop, so it is for a process that has one.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, direct: bool = False) -> None:
        self._environ = environ
        self._http = HttpClient(tls_context, connect_s=_CONNECT_S, keep=_THREADS)
        self._direct = DirectAws.from_environ(environ, self._http) if direct and environ is not None else None
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, bool], Any] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="aws")

    def client(self, service: str, *, patient: bool = False) -> Any:
        """The client of a service, made on first use. Blocks; safe from any thread."""
        with self._lock:
            made = self._clients.get((service, patient))
            if made is None:
                made = self._clients[service, patient] = self._make(
                    service, _PATIENT if patient else _PATIENCE[service]
                )
            return made

    def _make(self, service: str, patience: _Patience) -> Any:
        import boto3
        import botocore.session
        from botocore.config import Config

        config = Config(
            connect_timeout=patience.connect,
            read_timeout=patience.read,
            retries={"mode": "standard", "total_max_attempts": patience.tries},
            max_pool_connections=_THREADS,
            **_OPTIONS.get(service, {}),
        )
        named = self._named()
        if self._session is None:
            # a given environment is the whole truth: no profile of the operator's may add to it
            settings = {} if self._environ is None else {"profile": (None, None, None, None)}
            core = botocore.session.Session(session_vars=settings)
            chosen = {name: value for name, value in named.items() if name != "endpoint_url"}
            self._session = boto3.Session(botocore_session=core, **chosen)
        return self._session.client(service, config=config, endpoint_url=named.get("endpoint_url"))

    def _named(self) -> dict[str, str]:
        if self._environ is None:
            return {}
        find = self._environ.get
        named = {
            "endpoint_url": find("AWS_ENDPOINT_URL"),
            "region_name": find("AWS_REGION") or find("AWS_DEFAULT_REGION"),
            "aws_access_key_id": find("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": find("AWS_SECRET_ACCESS_KEY"),
            "aws_session_token": find("AWS_SESSION_TOKEN"),
        }
        return {name: value for name, value in named.items() if value}

    async def warm(self, *services: str) -> None:
        """Pay for boto3's import and clients now, outside the event loop's thread, where the first calls need them."""
        if self._direct is not None:
            return
        loop = asyncio.get_running_loop()
        for service in services:
            await loop.run_in_executor(self._threads, self.client, service)

    def call(
        self, service: str, operation: str, *, patient: bool = False, **request: Any
    ) -> Coroutine[Any, Any, Mapping[str, Any]]:
        """One API call, `operation` as boto3 spells it. Raises AwsFailure."""
        if self._direct is None or not self._direct.serves(service, operation):
            return self._in_thread(service, operation, patient, request)
        patience = _PATIENT if patient else _PATIENCE[service]
        if patience.tries == 1:
            return self._straight(self._direct, service, operation, request, patience.read)
        attempt = partial(self._straight, self._direct, service, operation, request, patience.read)
        return retrying(attempt, patience.tries)

    @staticmethod
    async def _straight(
        direct: DirectAws, service: str, operation: str, request: dict[str, Any], read_s: float
    ) -> Mapping[str, Any]:
        until = asyncio.get_running_loop().time() + _CONNECT_S + read_s
        try:
            return await direct.call(service, operation, request, until)
        except DirectFailure as failure:
            raise _refusal(f"{service}.{operation}", failure.code, failure.status, failure.body) from failure
        except (HttpFailure, TimeoutError) as failure:
            raise AwsFailure(f"{service}.{operation}", "ConnectionFailure") from failure

    async def _in_thread(
        self, service: str, operation: str, patient: bool, request: dict[str, Any]
    ) -> Mapping[str, Any]:
        work = partial(self._call, service, operation, patient, request)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _call(self, service: str, operation: str, patient: bool, request: dict[str, Any]) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
        from botocore.exceptions import ConnectionError as NotConnected

        call = f"{service}.{operation}"
        try:
            client = self.client(service, patient=patient)
            answer: Mapping[str, Any] = getattr(client, operation)(**request)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "Unknown")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise _refusal(call, code, status, error.response) from error
        except ParamValidationError:  # a bug of the caller's, not a failure of AWS
            raise
        except (HTTPClientError, NotConnected) as error:  # refused, timed out, closed before an answer
            raise AwsFailure(call, "ConnectionFailure") from error
        except BotoCoreError as error:  # no credentials, no region, no such profile: configuration
            raise AwsFailure(call, type(error).__name__) from error
        return answer

    def close(self) -> None:
        """Waits for boto3's calls under way."""
        self._http.close()
        self._threads.shutdown(wait=True)
        for client in self._clients.values():
            client.close()
        self._clients.clear()


def _refusal(call: str, code: str, status: int, body: Mapping[str, Any]) -> AwsFailure:
    reasons = tuple(
        CancellationReason(reason.get("Code", "None"), reason.get("Item"))
        for reason in body.get("CancellationReasons") or ()
    )
    return AwsFailure(call, code, status=status, item=body.get("Item"), reasons=reasons)


async def retrying[T](attempt: Callable[[], Awaitable[T]], tries: int) -> T:
    """`attempt` until it succeeds, fails for good, or `tries` are used up: full jitter on 20 ms doubled each time."""
    for number in range(tries - 1):
        try:
            return await attempt()
        except AwsFailure as failure:
            if not failure.transient:
                raise
        await asyncio.sleep(random.random() * _BASE_DELAY_S * 2**number)  # noqa: S311 - spreads load, guards nothing
    return await attempt()


async def read_items(
    aws: Aws, table: str, keys: Sequence[Attributes], tries: int, *, consistent: bool = False
) -> list[Item]:
    """The items of a table that exist under these keys, in no order. Raises StoreUnavailable."""

    async def read(batch: Sequence[Attributes]) -> list[Mapping[str, Any]]:
        asked = {table: {"Keys": batch, "ConsistentRead": consistent}}
        return await _batch(aws, "batch_get_item", asked, "UnprocessedKeys", tries)

    answers = await _in_batches(read, keys, _BATCH)
    return [decode_item(item) for answer in answers for item in answer["Responses"].get(table, ())]


async def write_items(aws: Aws, table: str, items: Sequence[Attributes], tries: int) -> None:
    """Items of a table, no two under one key, in place of what stood there. Raises StoreUnavailable, and then some of
    them may be written."""

    async def write(batch: Sequence[Attributes]) -> list[Mapping[str, Any]]:
        puts = [{"PutRequest": {"Item": item}} for item in batch]
        return await _batch(aws, "batch_write_item", {table: puts}, "UnprocessedItems", tries)

    await _in_batches(write, items, _WRITE_BATCH)


async def _in_batches(
    ask: Callable[[Sequence[Attributes]], Awaitable[list[Mapping[str, Any]]]], things: Sequence[Attributes], size: int
) -> list[Mapping[str, Any]]:
    """All answers. Nearly always there is one batch at the most, which needs no task of its own."""
    try:
        if len(things) <= size:
            return await ask(things) if things else []
        batches = (things[start : start + size] for start in range(0, len(things), size))
        return [answer for answers in await asyncio.gather(*map(ask, batches)) for answer in answers]
    except AwsFailure as failure:
        raise failure.unavailable() from failure


async def _batch(
    aws: Aws, operation: str, asked: Mapping[str, Any], unprocessed: str, tries: int
) -> list[Mapping[str, Any]]:
    """The answers to a batch, asked again for what the one before left over."""
    answers: list[Mapping[str, Any]] = []

    async def ask() -> None:
        nonlocal asked
        answers.append(await aws.call("dynamodb", operation, RequestItems=asked))
        asked = answers[-1].get(unprocessed) or {}
        if asked:
            raise AwsFailure(f"dynamodb.{operation}", "ThrottlingException")

    await retrying(ask, tries)
    return answers
