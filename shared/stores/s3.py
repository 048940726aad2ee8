"""Objects in one S3 bucket, by boto3: files wait there for their way to the upstream, and end after a day."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import PresignedUpload, StoredObject, StoreUnavailable

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Objects:
    """Implements `protocols.ObjectStore` and `protocols.UploadSigner`."""

    def __init__(self, aws: Aws, bucket: str) -> None:
        self._aws = aws
        self._bucket = bucket

    @property
    def bucket(self) -> str:
        return self._bucket

    async def put(self, key: str, data: bytes, media_type: str, labels: Mapping[str, str]) -> None:
        await self._call("put_object", Key=key, Body=data, ContentType=media_type, Metadata=dict(labels))

    async def describe(self, key: str) -> StoredObject | None:
        try:
            answer = await self._aws.call("s3", "head_object", Bucket=self._bucket, Key=key)
        except AwsFailure as failure:
            if failure.code in _ABSENT:
                return None
            raise failure.unavailable() from failure
        return StoredObject(
            key=key,
            size=answer["ContentLength"],
            media_type=answer.get("ContentType", ""),
            created_at=int(answer["LastModified"].timestamp()),
            labels=answer.get("Metadata") or {},
        )

    async def read(self, key: str, start: int, length: int) -> bytes:
        answer = await self._call("get_object", Key=key, Range=f"bytes={start}-{start + length - 1}")
        try:
            data: bytes = await asyncio.to_thread(answer["Body"].read)
        except Exception as error:  # botocore's and urllib3's errors of a body that breaks off share no base
            raise StoreUnavailable(f"s3.get_object: {type(error).__name__}") from error
        if len(data) != length:
            raise StoreUnavailable("s3.get_object: the body ended early")
        return data

    async def page(self, prefix: str, after: str = "", limit: int = 100) -> Sequence[str]:
        place = {"StartAfter": after} if after else {}
        answer = await self._call("list_objects_v2", Prefix=prefix, MaxKeys=limit, **place)
        return [item["Key"] for item in answer.get("Contents", ())]

    async def delete(self, key: str) -> None:
        await self._call("delete_object", Key=key)

    async def presigned(
        self, key: str, size: int, media_type: str, labels: Mapping[str, str], expires_s: int
    ) -> PresignedUpload:
        """The length, the type and the labels are signed with the rest: S3 takes nothing else at this address."""
        given = {"Bucket": self._bucket, "Key": key, "ContentLength": size, "ContentType": media_type}
        client = await asyncio.to_thread(self._aws.client, "s3")
        sign = partial(client.generate_presigned_url, "put_object", ExpiresIn=expires_s, HttpMethod="PUT")
        url: str = await asyncio.to_thread(sign, Params={**given, "Metadata": dict(labels)})
        headers = {"content-type": media_type, **{f"x-amz-meta-{name}": value for name, value in labels.items()}}
        return PresignedUpload(url, "PUT", headers)

    async def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            return await self._aws.call("s3", operation, Bucket=self._bucket, **arguments)
        except AwsFailure as failure:
            raise failure.unavailable() from failure
