"""More embeddings than the upstream takes at once: several batches, one answer, every one of them paid for."""

import math

import pytest

from shared.dialects.gemini_native.embeddings import Embedding, joined
from shared.errors import GatewayError
from shared.stores.protocols import Credential
from tests.unit.gemini_native.conftest import UPSTREAM_KEY

PATH = "/v1beta/models/{}:batchEmbedContents"


def requests(number):
    return {"requests": [{"content": {"parts": [{"text": f"text {at}"}]}} for at in range(number)]}


def batches(world):
    return [row["body"]["requests"] for row in world.sent if row["path"].endswith(":batchEmbedContents")]


@pytest.mark.parametrize(
    ("number", "sizes"), [(1, [1]), (100, [100]), (101, [1, 100]), (450, [50, 100, 100, 100, 100])]
)
async def test_batches_are_joined_in_order(world, number, sizes):
    got = await world.post(PATH.format("gemini-embedding-2"), requests(number))
    assert got.status == 200
    assert sorted(map(len, batches(world))) == sizes
    rows = got.json["embeddings"]
    assert len(rows) == number
    for at in {0, 99, 100, 299, number - 1} & set(range(number)):
        alone = await world.post(PATH.format("gemini-embedding-2"), {"requests": [requests(number)["requests"][at]]})
        assert alone.json["embeddings"] == [rows[at]]


async def test_more_than_memory_is_meant_for_are_refused_before_anything_is_sent(world):
    got = await world.post(PATH.format("gemini-embedding-2"), requests(501))
    assert (got.status, got.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "500" in got.json["error"]["message"]
    assert not world.sent and not world.ledger.rows


async def test_usage_is_the_sum_of_the_batches(world):
    got = await world.post(PATH.format("gemini-embedding-2"), requests(230))
    usage = got.json["usageMetadata"]
    assert world.row.input_tokens == usage["promptTokenCount"] >= 230
    assert usage["promptTokenDetails"] == [{"modality": "TEXT", "tokenCount": usage["promptTokenCount"]}]
    assert world.row.cost_nano == world.row.input_tokens * 200
    assert world.row.attempts == 3
    assert len(world.ledger.rows) == 1


async def test_each_batch_is_booked_on_the_project_that_answered_it(world):
    world.secrets.credentials = [Credential(name, f"{UPSTREAM_KEY}-{name}", project=f"team-{name}") for name in "ab"]
    answered = dict.fromkeys(("team-a", "team-b"), 0)
    for _ in range(3):
        await world.post(PATH.format("gemini-embedding-2"), requests(450))
    for sent in world.sent:
        answered["team-" + sent["headers"]["x-goog-api-key"][-1]] += len(sent["body"]["requests"])
    booked = {name: sum(row.projects.get(name, 0) for row in world.ledger.rows) for name in answered}
    each = world.ledger.rows[0].cost_nano // 450
    assert booked == {name: number * each for name, number in answered.items()}


async def test_a_model_without_usage_is_counted_batch_by_batch(world):
    got = await world.post(PATH.format("gemini-embedding-001"), requests(120))
    assert "usageMetadata" not in got.json
    counted = [row for row in world.sent if row["path"].endswith(":countTokens")]
    assert sorted(len(row["body"]["contents"]) for row in counted) == [20, 100]
    assert world.row.input_tokens >= 120 and not world.row.estimated


async def test_vectors_of_a_retired_model_have_unit_norm_in_every_batch(world):
    got = await world.post(PATH.format("text-embedding-004"), requests(101))
    assert all(math.isclose(math.hypot(*row["values"]), 1) for row in got.json["embeddings"])


async def test_a_batch_that_was_answered_is_paid_when_a_later_one_fails(world, monkeypatch):
    monkeypatch.setattr("shared.gateway.native_media._AT_ONCE", 1)
    alone = await world.post(PATH.format("gemini-embedding-2"), requests(100))
    world.ledger.rows.clear()
    world.emulator.script({"error": 400, "match": {"method": "batchEmbedContents", "text": "text 149"}})
    got = await world.post(PATH.format("gemini-embedding-2"), requests(150))
    assert (got.status, world.row.status) == (400, 400)
    assert world.row.input_tokens == alone.json["usageMetadata"]["promptTokenCount"] > 0


def test_replies_that_miss_a_vector_are_never_joined():
    two = [Embedding([{}, {}], unit=False), Embedding([{}], unit=False)]
    row = {"values": [1.0]}
    assert joined([{"embeddings": [row, row]}, {"embeddings": [row]}], two) == {"embeddings": [row] * 3}
    with pytest.raises(GatewayError, match="number of embeddings"):
        joined([{"embeddings": [row]}, {"embeddings": [row]}], two)


def test_usage_that_one_reply_lacks_is_not_told():
    one = Embedding([{}], unit=False)
    told = {"embeddings": [{}], "usageMetadata": {"promptTokenCount": 3}}
    assert joined([told, told], [one, one])["usageMetadata"]["promptTokenCount"] == 6
    assert "usageMetadata" not in joined([told, {"embeddings": [{}]}], [one, one])


def test_usage_without_details_is_the_sum_all_the_same():
    one = Embedding([{}], unit=False)
    told = {"embeddings": [{}], "usageMetadata": {"promptTokenCount": 3, "promptTokenDetails": None}}
    assert joined([told, told], [one, one])["usageMetadata"]["promptTokenCount"] == 6
