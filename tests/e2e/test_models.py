"""The list of models, read by the SDKs that ask for it."""

import openai
import pytest

from tests.running import running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("models") / "state", {}) as running:
        yield running


def test_openais_sdk_lists_and_gets_models(gateway):
    client = openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.client_key)
    ids = [model.id for model in client.models.list()]
    assert {"gemini-3.6-flash", "gemini-4-argon", "gemini-embedding-001"} <= set(ids)
    assert not any(name.startswith("claude") for name in ids)
    assert client.models.retrieve("gemini-3.6-flash").owned_by == "google"
    assert client.models.retrieve("models/gemini-3.6-flash").id == "gemini-3.6-flash"
    assert client.models.retrieve("gemini-1.5-pro").id == "gemini-1.5-pro"  # retired, served under its alias
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-nonsense")
    client.close()


def test_a_key_sees_its_scope_only(gateway):
    made = gateway.gwctl("keys", "create", "narrow", "--models", "gemini-3.6-*")
    client = openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=made["key"], max_retries=0)
    assert [model.id for model in client.models.list()] == ["gemini-3.6-flash"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gemini-2.5-flash")
    client.close()
