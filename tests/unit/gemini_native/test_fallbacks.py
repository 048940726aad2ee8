"""Aliases with fallbacks on the native paths: the next model answers before the client has seen anything."""

import pytest

from shared.gateway.settings import Settings
from tests.unit.gemini_native.conftest import opened

PATH = "/v1beta/models/team-model"
SAY = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
# at its quota for the day: no other try would help
SPENT = {"error": {"status": 429, "kind": "per-day"}, "match": {"model": "gemini-3.8-flash"}, "times": 3}


@pytest.fixture
async def team(running_emulator):
    running_emulator.reset()
    aliases = {"team-model": ("gemini-3.8-flash", "gemini-3.5-flash-lite")}
    async with opened(running_emulator, Settings(commit_after_s=5, model_aliases=aliases)) as made:
        yield made
    running_emulator.reset()


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
async def test_the_next_model_answers(team, method):
    team.emulator.script(SPENT)
    got = await team.post(f"{PATH}:{method}", SAY)
    assert got.status == 200, got.content
    last = got.events[-1] if "sse" in method else got.json
    assert last["modelVersion"] == "gemini-3.5-flash-lite"
    assert got.headers["x-gateway-model"] == "gemini-3.5-flash-lite"
    assert "model:gemini-3.5-flash-lite" in got.headers["x-gateway-warnings"].split(",")
    assert (team.row.model, team.row.status, team.row.attempts) == ("gemini-3.5-flash-lite", 200, 2)


async def test_candidates_fall_back_each_by_itself(team):
    team.emulator.script({**SPENT, "times": 2})
    got = await team.post(f"{PATH}:generateContent", {**SAY, "generationConfig": {"candidateCount": 2}})
    assert [candidate["finishReason"] for candidate in got.json["candidates"]] == ["STOP", "STOP"]
    assert team.row.attempts >= 3


async def test_a_count_is_of_one_model(team):
    team.emulator.script({**SPENT, "match": {"model": "gemini-3.8-flash", "method": "countTokens"}})
    got = await team.post(f"{PATH}:countTokens", SAY)
    assert (got.status, len(team.sent)) == (429, 1)


async def test_a_model_called_by_its_own_name_never_falls_back(team):
    team.emulator.script(SPENT)
    got = await team.post("/v1beta/models/gemini-3.8-flash:generateContent", SAY)
    assert (got.status, got.json["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert len(team.sent) == 1
