"""`candidateCount`: as many calls of the upstream, one answer for the client."""

import pytest

from infra.local.emulator.server import EmulatorServer
from shared.dialects.gemini_native.choices import together
from shared.gateway.settings import Settings
from tests.unit.gemini_native.conftest import opened

MODEL = "/v1beta/models/gemini-3.8-flash"
METHODS = ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"]


@pytest.fixture
async def lone_world():
    """With an emulator of its own: a request that is called off may arrive after the test that made it."""
    with EmulatorServer() as emulator:
        async with opened(emulator, Settings(commit_after_s=5)) as made:
            yield made


def say(count, **more):
    return {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
        "generationConfig": {"candidateCount": count},
        **more,
    }


def chunks_of(got, method):
    return got.events if "sse" in method else got.json if "stream" in method else [got.json]


@pytest.mark.parametrize("method", METHODS)
async def test_each_candidate_is_a_call_of_its_own(world, method):
    texts = ["alpha beta", "gamma delta", "epsilon zeta"]
    world.emulator.script(*({"text": text, "chunks": 2} for text in texts))
    got = await world.post(f"{MODEL}:{method}", say(3))
    chunks = chunks_of(got, method)
    said, ends = {}, {}
    for candidate in [candidate for chunk in chunks for candidate in chunk["candidates"]]:
        parts = candidate.get("content", {}).get("parts", [])
        said[candidate["index"]] = said.get(candidate["index"], "") + "".join(part.get("text", "") for part in parts)
        ends[candidate["index"]] = candidate.get("finishReason", ends.get(candidate["index"]))
    assert sorted(said.values()) == sorted(texts)
    assert ends == {0: "STOP", 1: "STOP", 2: "STOP"}
    assert len({chunk["responseId"] for chunk in chunks}) == 1
    assert [row["body"].get("generationConfig") for row in world.sent] == [None] * 3
    assert all(("stream" in row["path"]) == ("stream" in method) for row in world.sent)
    if method == "generateContent":
        assert [candidate["index"] for candidate in got.json["candidates"]] == [0, 1, 2]


@pytest.mark.parametrize("method", METHODS)
async def test_usage_is_the_sum_of_all_calls(world, method):
    alone = await world.post(f"{MODEL}:generateContent", say(1))
    one = world.ledger.rows.pop()
    got = await world.post(f"{MODEL}:{method}", say(2))
    usage = chunks_of(got, method)[-1]["usageMetadata"]
    assert usage["promptTokenCount"] == 2 * alone.json["usageMetadata"]["promptTokenCount"]
    assert usage["totalTokenCount"] == 2 * alone.json["usageMetadata"]["totalTokenCount"]
    row = world.row
    assert (row.input_tokens, row.output_tokens) == (2 * one.input_tokens, 2 * one.output_tokens)
    assert (row.cost_nano, row.attempts, row.state) == (2 * one.cost_nano, 2, "done")
    first, second = world.ledger.admissions
    assert second.estimate_nano == 2 * first.estimate_nano


async def test_each_candidate_is_paid_in_the_tier_that_served_it(world):
    """The tier of the one that began last was that of all."""
    costs = {}
    for tier in ("standard", "priority"):
        world.emulator.script({"text": "one two", "service_tier": tier})
        await world.post(f"{MODEL}:generateContent", say(1, serviceTier="priority"))
        costs[tier] = world.ledger.rows.pop().cost_nano
    slow = {"text": "one two", "chunks": 2, "pace_ms": 100}
    world.emulator.script({**slow, "service_tier": "priority"}, {**slow, "service_tier": "standard"})
    await world.post(f"{MODEL}:streamGenerateContent?alt=sse", say(2, serviceTier="priority"))
    assert world.row.cost_nano == costs["standard"] + costs["priority"]
    assert costs["priority"] * 10 == costs["standard"] * 18


@pytest.mark.parametrize("count", [0, 9, -1])
async def test_as_many_as_google_allows(world, count):
    got = await world.post(f"{MODEL}:generateContent", say(count))
    (violation,) = got.json["error"]["details"][0]["fieldViolations"]
    assert (got.status, violation["field"]) == (400, "generation_config.candidate_count")
    assert world.sent == []


async def test_the_first_failure_is_everyones(lone_world):
    lone_world.emulator.script({"text": "one"}, {"error": 400})
    got = await lone_world.post(f"{MODEL}:generateContent", say(2))
    assert (got.status, got.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert lone_world.row.status == 400


async def test_a_failure_in_mid_stream_ends_every_candidate(lone_world):
    lone_world.emulator.script(*[{"text": "a b c", "chunks": 3, "error_after": {"chunks": 1, "status": 503}}] * 2)
    got = await lone_world.post(f"{MODEL}:streamGenerateContent", say(2))
    assert [chunk["error"]["code"] for chunk in got.json if "error" in chunk] == [503]
    assert "error" in got.json[-1]
    assert lone_world.row.state == "partial"


async def test_an_empty_candidate_is_asked_for_again_by_itself(world):
    world.emulator.script({"text": "one"}, {"empty": "no_parts"}, {"text": "two"})
    got = await world.post(f"{MODEL}:generateContent", say(2))
    said = [candidate["content"]["parts"][0]["text"] for candidate in got.json["candidates"]]
    assert sorted(said) == ["one", "two"]
    assert len(world.sent) == world.row.attempts == 3
    assert world.row.input_tokens == got.json["usageMetadata"]["promptTokenCount"]


async def test_hops_are_joined_for_every_candidate(world):
    """The SDK follows one token a request, and could not follow two."""
    world.emulator.script({"continuation": {"hops": 2, "token": "new"}, "text": "one two three four", "times": 4})
    sdk = {"x-goog-api-client": "google-genai-sdk/3.4.0 gl-python/3.13.0"}
    got = await world.post("/v1beta/models/gemini-4-argon:streamGenerateContent?alt=sse", say(2), headers=sdk)
    reasons = [row.get("finishReason") for chunk in got.events for row in chunk["candidates"]]
    assert [reason for reason in reasons if reason] == ["STOP", "STOP"]
    assert len(world.sent) == 4
    usage = got.events[-1]["usageMetadata"]
    assert world.row.input_tokens == usage["promptTokenCount"]


def test_a_block_is_told_where_no_candidate_stands_for_it():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}, "responseId": "b"}
    answered = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3}, "responseId": "a"}
    assert together([blocked, blocked]) == {**blocked, "usageMetadata": {"promptTokenCount": 6}}
    made = together([blocked, answered])
    assert made["candidates"] == [{"finishReason": "STOP", "index": 1}] and "promptFeedback" not in made
    assert made["responseId"] == "b" and made["usageMetadata"] == {"promptTokenCount": 6}
