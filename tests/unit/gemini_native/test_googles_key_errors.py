"""A refused key in Google's own words, where the operator wants them."""

import pytest

from shared.gateway.keyring import make_key
from shared.gateway.settings import ConfigurationError, Settings
from tests.unit.gemini_native.conftest import KEY, OTHER_KEY, opened

MODEL = "/v1beta/models/gemini-3.8-flash"
SAY = {"contents": [{"parts": [{"text": "hello"}]}]}
UNKNOWN = make_key("Z" * 16, "s" * 43)
WAYS = [
    ("POST", f"{MODEL}:generateContent"),
    ("POST", f"{MODEL}:streamGenerateContent?alt=sse"),
    ("GET", "/v1beta/models"),
    ("GET", "/v1beta/files"),
]


@pytest.fixture
async def google(running_emulator):
    running_emulator.reset()
    settings = Settings.from_env({"GEMINI_AUTH_ERRORS": "google", "GEMINI_BASE_URL": running_emulator.base_url})
    async with opened(running_emulator, settings) as made:
        yield made
    running_emulator.reset()


async def ask(world, method, path, headers):
    return await world.send(method, path, SAY if method == "POST" else None, headers=headers)


@pytest.mark.parametrize(("method", "path"), WAYS)
async def test_every_bad_key_gets_one_and_the_same_answer(google, method, path):
    two = {"x-goog-api-key": KEY, "authorization": f"Bearer {OTHER_KEY}"}
    bad = [{"x-goog-api-key": text} for text in ("wrong", UNKNOWN, "x" * 300)] + [{"authorization": "Bearer no"}, two]
    answers = [await ask(google, method, path, headers) for headers in bad]
    assert {answer.status for answer in answers} == {400}
    assert len({answer.content for answer in answers}) == 1
    assert "www-authenticate" not in answers[0].headers
    error = answers[0].json["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
    assert error["details"][1]["message"] == error["message"]
    assert google.sent == []


@pytest.mark.parametrize(("method", "path"), WAYS)
async def test_no_key_is_an_unregistered_caller(google, method, path):
    answer = await ask(google, method, path, {"authorization": ""})
    error = answer.json["error"]
    assert (answer.status, error["code"], error["status"]) == (403, 403, "PERMISSION_DENIED")
    assert "unregistered callers" in error["message"]


async def test_a_forbidden_query_key_is_a_bad_one(google):
    google.directory.change(allow_query_key=False)
    answer = await google.send("GET", f"/v1beta/models?key={KEY}")
    assert (answer.status, answer.json["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")


async def test_a_stream_without_events_refuses_in_an_array(google):
    answer = await ask(google, "POST", f"{MODEL}:streamGenerateContent", {"x-goog-api-key": "wrong"})
    (row,) = answer.json
    assert (answer.status, row["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")


async def test_without_the_switch_a_bad_key_is_unauthenticated(world):
    answer = await ask(world, "GET", "/v1beta/models", {"x-goog-api-key": "wrong"})
    assert (answer.status, answer.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "details" not in answer.json["error"]


def test_the_switch_has_two_positions():
    assert Settings.from_env({}).gemini_auth_errors == "unauthenticated"
    with pytest.raises(ConfigurationError, match="GEMINI_AUTH_ERRORS"):
        Settings.from_env({"GEMINI_AUTH_ERRORS": "googel"})
