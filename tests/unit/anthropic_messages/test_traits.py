"""What the log is told of Anthropic's clients."""

import json

import pytest

from shared.dialects.anthropic_messages import client_traits

HEADERS = {
    b"anthropic-version": b"2023-06-01",
    b"anthropic-beta": b"effort-2025-11-24,one-2031-01-01",
    b"x-claude-code-session-id": b"s1",
    b"x-claude-code-agent-id": b"a1",
    b"x-claude-code-parent-agent-id": b"a0",
    b"x-api-key": b"secret",
}


def user_of(body):
    return client_traits({}, body).get("user")


def test_claude_codes_session_and_agents_and_the_api_it_speaks():
    assert client_traits(HEADERS, {}) == {
        "version": "2023-06-01",
        "betas": "effort-2025-11-24,one-2031-01-01",
        "session": "s1",
        "agent": "a1",
        "parent_agent": "a0",
    }


def test_the_user_is_a_digest_of_the_session_where_there_is_one():
    told = user_of({"metadata": {"user_id": json.dumps({"device_id": "d", "account_uuid": "u", "session_id": "s1"})}})
    assert told == user_of({"metadata": {"user_id": "s1"}})
    assert told is not None
    assert len(told) == 16
    assert "s1" not in told


@pytest.mark.parametrize("text", ["{", "{}", '{"session_id":5}', '{"a":' * 50_000, "x" * 10_000, "\ud800"])
def test_any_text_may_be_a_user(text):
    assert len(user_of({"metadata": {"user_id": text}})) == 16


@pytest.mark.parametrize("metadata", [None, "x", [], {}, {"user_id": None}, {"user_id": 5}, {"user_id": ""}])
def test_nobody_is_told_where_nobody_is_named(metadata):
    assert user_of({"metadata": metadata}) is None


def test_long_headers_are_cut():
    assert len(client_traits({b"anthropic-beta": b"x" * 9_000}, {})["betas"]) == 400
