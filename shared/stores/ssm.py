"""The key registry on SSM: one SecureString per key, good to about a thousand keys."""

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.stores import key_records
from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import KeyRecord, StoreConflict, StoreUnavailable

_log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 4_096  # of a standard parameter; SSM itself counts it, local engines do not
_LOOKUP_S = 0.5  # one try of a lookup, the decryption by KMS included
_PAGE = 10  # the most that GetParametersByPath gives
_KID = re.compile(r"[0-9A-Za-z]{1,64}")


class SsmKeyStore:
    """Implements `protocols.KeyStore`. `prefix` is `/gw/<stage>/keys/`. An operator's lookup is `patient`, a request's
    has half a second."""

    def __init__(self, aws: Aws, prefix: str, *, patient: bool = False) -> None:
        self._aws = aws
        self._patient = patient
        self._prefix = prefix if prefix.endswith("/") else prefix + "/"

    async def warm(self) -> None:
        await self._aws.warm("ssm")

    async def resolve(self, kid: str, *, fresh: bool = False) -> KeyRecord | None:
        if not _KID.fullmatch(kid):
            return None  # it would not stay inside the prefix
        await self.warm()  # the import of boto3 is not part of the lookup's time
        try:
            async with asyncio.timeout(None if self._patient else _LOOKUP_S):
                answer = await self._aws.call(
                    "ssm", "get_parameter", patient=self._patient, Name=self._prefix + kid, WithDecryption=True
                )
        except TimeoutError as error:
            raise StoreUnavailable("ssm.get_parameter: no answer in time") from error
        except AwsFailure as failure:
            if failure.code == "ParameterNotFound":
                return None
            raise failure.unavailable() from failure
        return _record(answer["Parameter"])

    async def put(self, record: KeyRecord, *, overwrite: bool = True) -> None:
        if not _KID.fullmatch(record.kid):
            raise ValueError("a kid consists of letters and digits")
        text = key_records.dumps(record)
        if (size := len(text.encode())) > MAX_RECORD_BYTES:
            raise ValueError(f"the key record has {size} bytes, at most {MAX_RECORD_BYTES} fit: use shorter lists")
        try:
            await self._aws.call(
                "ssm",
                "put_parameter",
                patient=True,
                Name=self._prefix + record.kid,
                Value=text,
                Type="SecureString",
                Overwrite=overwrite,
            )
        except AwsFailure as failure:
            if failure.code != "ParameterAlreadyExists":
                raise failure.unavailable() from failure
            if await self.resolve(record.kid, fresh=True) != record:  # else the answer to our own write was lost
                raise StoreConflict(f"the key {record.kid} exists already") from failure

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        request: dict[str, Any] = {"Path": self._prefix, "WithDecryption": True, "MaxResults": _PAGE}
        if cursor is not None:
            request["NextToken"] = cursor
        try:
            answer = await self._aws.call("ssm", "get_parameters_by_path", patient=True, **request)
        except AwsFailure as failure:
            if failure.code in ("InvalidNextToken", "ValidationException"):
                raise ValueError("the cursor is not valid") from failure
            raise failure.unavailable() from failure
        return list(_readable(answer["Parameters"])), answer.get("NextToken") or None


def _readable(parameters: Iterable[Mapping[str, Any]]) -> Iterator[KeyRecord]:
    """One damaged record must not hide all others from their operator: it is left out, and named in the log."""
    for parameter in parameters:
        try:
            yield _record(parameter)
        except StoreUnavailable as error:
            _log.error("key_record_damaged", extra={"fields": {"error": str(error)}})


def _record(parameter: Mapping[str, Any]) -> KeyRecord:
    try:
        return key_records.loads(parameter["Value"])
    except ValueError as error:  # the text itself stays out of the message
        raise StoreUnavailable(f"the parameter {parameter['Name']} is no key record") from error
