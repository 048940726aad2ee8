"""The queue of settlements that could not be written, and the form in which they travel."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import Settlement


class SqsSettlementQueue:
    """Implements `protocols.SettlementQueue`."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._aws = aws
        self._url = url

    async def warm(self) -> None:
        await self._aws.warm("sqs")

    async def send(self, settlement: Settlement) -> None:
        """StoreUnavailable when the queue does not take it either; sending twice does no harm."""
        await self._call("send_message", MessageBody=dumps(settlement))

    async def receive(self) -> Sequence[Mapping[str, Any]]:
        """Up to ten messages as a function's event has them, hidden from others until they are done or come again."""
        answer = await self._call("receive_message", MaxNumberOfMessages=10)
        return [
            {"messageId": message["MessageId"], "body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
            for message in answer.get("Messages", ())
        ]

    async def done(self, message: Mapping[str, Any]) -> None:
        await self._call("delete_message", ReceiptHandle=message["receiptHandle"])

    async def _call(self, operation: str, **request: Any) -> Mapping[str, Any]:
        try:
            return await self._aws.call("sqs", operation, QueueUrl=self._url, **request)
        except AwsFailure as failure:
            raise failure.unavailable() from failure


def dumps(settlement: Settlement) -> str:
    maps = {"modalities": dict(settlement.modalities), "projects": dict(settlement.projects)}
    return json.dumps({**structs.asdict(settlement), **maps})


def loads(body: str) -> Settlement:
    """The settlement of a message. ValueError where the body is none; members of a newer version are ignored."""
    try:
        return msgspec.json.decode(body, type=Settlement)
    except (msgspec.DecodeError, RecursionError) as error:  # ValidationError is one
        raise ValueError(f"no settlement: {error}") from error
