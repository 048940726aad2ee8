"""Settlements on their way through the queue."""

import json
from collections.abc import Mapping

import pytest

from shared.stores import sqs
from shared.stores.aws import Aws
from shared.stores.protocols import StoreUnavailable
from shared.stores.sqs import SqsSettlementQueue
from tests.stores.bench import Bench


async def test_a_settlement_travels_whole_and_settles_at_the_other_end(
    bench: Bench, environment: Mapping[str, str]
) -> None:
    key = await bench.account(budget_limit_nano=1_000, tpm=600)
    await bench.admit(request := bench.request(key))
    settlement = bench.settlement(request)
    url = environment["SETTLE_QUEUE_URL"]
    await SqsSettlementQueue(bench.aws, url).send(settlement)

    client = bench.aws.client("sqs")
    (message,) = client.receive_message(QueueUrl=url)["Messages"]
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    received = sqs.loads(message["Body"])
    assert received == settlement
    for _ in range(2):
        await bench.ledger.settle(received)
    assert bench.state(key)["spent"] == 50


def test_a_message_of_a_newer_version_is_read_a_foreign_one_refused(bench: Bench) -> None:
    from tests.stores.test_keys import PLAIN

    settlement = bench.settlement(bench.request(PLAIN))
    newer = json.loads(sqs.dumps(settlement)) | {"news": 1}
    assert sqs.loads(json.dumps(newer)) == settlement
    whole = json.loads(sqs.dumps(settlement))
    wrong = ({"cost_nano": "7"}, {"cost_nano": 0.5}, {"modalities": None}, {"projects": {"p": 1.5}}, {"acct": 5})
    bodies = [
        "",
        "[]",
        "{}",
        '{"acct":"a"}',
        "\ud83d",
        '{"x":' + 100_000 * "[",
        *(json.dumps(whole | one) for one in wrong),
    ]
    for body in bodies:
        with pytest.raises(ValueError):
            sqs.loads(body)


async def test_a_queue_that_does_not_take_it_says_so(bench: Bench, aws: Aws, environment: Mapping[str, str]) -> None:
    from tests.stores.test_keys import PLAIN

    with pytest.raises(StoreUnavailable):
        await SqsSettlementQueue(aws, environment["SETTLE_QUEUE_URL"] + "-gone").send(
            bench.settlement(bench.request(PLAIN))
        )
