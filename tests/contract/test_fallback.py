"""Chains of models on a running gateway: every dialect, both forms, what the client is told and what is booked."""

import json

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.running import running_gateway

FIRST, SECOND = "gemini-3.8-flash", "gemini-2.5-pro"
CHAINS = {"safe": [FIRST, SECOND], "gpt-4o": [FIRST, SECOND], "claude-team": [FIRST, SECOND]}


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    environment = {
        "GEMINI_API_KEY": "test-upstream-key",
        "GEMINI_BASE_URL": upstream.base_url,
        "BREAKER_FAILURES": "0",
        "MODEL_ALIASES": json.dumps(CHAINS),
    }
    with running_gateway(tmp_path_factory.mktemp("gateway") / "state", environment) as running:
        yield running


@pytest.fixture
def down(emulator):
    """The first model of the chain is."""
    emulator.script({"error": 503, "times": 9, "match": {"model": FIRST}})
    return emulator


def chat(base, key, model, stream):
    with openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "hello"}], stream=stream
        )
        parsed = raw.parse()
        if stream:
            return raw.headers, "".join(c.choices[0].delta.content or "" for c in parsed if c.choices)
        return raw.headers, parsed.choices[0].message.content


def responses(base, key, model, stream):
    with openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0) as client:
        raw = client.responses.with_raw_response.create(model=model, input="hello", stream=stream)
        parsed = raw.parse()
        if stream:
            return raw.headers, list(parsed)[-1].response.output_text
        return raw.headers, parsed.output_text


def messages(base, key, model, stream):
    with anthropic.Anthropic(base_url=base, api_key=key, max_retries=0) as client:
        asked = {"model": model, "max_tokens": 4000, "messages": [{"role": "user", "content": "hello"}]}
        raw = client.messages.with_raw_response.create(**asked, stream=stream)
        parsed = raw.parse()
        if stream:
            events = list(parsed)
            assert events[-1].type == "message_stop"
            return raw.headers, "".join(getattr(getattr(e, "delta", None), "text", "") or "" for e in events)
        return raw.headers, parsed.content[-1].text


def native(base, key, model, stream):
    with genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base)) as client:
        if not stream:
            answer = client.models.generate_content(model=model, contents="hello")
            return answer.sdk_http_response.headers, answer.text
        chunks = list(client.models.generate_content_stream(model=model, contents="hello"))
        return chunks[0].sdk_http_response.headers, "".join(chunk.text or "" for chunk in chunks)


WAYS = [
    pytest.param(chat, "gpt-4o", id="chat"),
    pytest.param(responses, "gpt-4o", id="responses"),
    pytest.param(messages, "claude-team", id="messages"),
    pytest.param(native, "safe", id="native"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "stream"])
@pytest.mark.parametrize(("ask", "alias"), WAYS)
def test_the_next_model_answers_and_is_named(gateway, client_key, down, ask, alias, stream):
    headers, answer = ask(gateway.base_url, client_key[1], alias, stream)
    assert "hello" in answer
    assert headers["x-gateway-model"] == SECOND
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["model"], row["model_version"]) == (200, SECOND, SECOND)
    assert row["cost_nano_usd"] == row["input_tokens"] * 1250 + row["output_tokens"] * 10_000
    models = [record["path"].rpartition("/")[2].partition(":")[0] for record in down.requests]
    assert models == [FIRST] * 3 + [SECOND]


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "stream"])
def test_a_model_asked_for_by_name_has_no_stand_in(gateway, client_key, down, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(gateway.base_url, client_key[1], FIRST, stream)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(down.requests) == 3
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["model"]) == (503, FIRST)


def test_a_link_outside_the_keys_scope_is_not_taken(gateway, down, request):
    made = gateway.gwctl("keys", "create", request.node.name, "--models", f"safe,{FIRST}")
    with pytest.raises(openai.InternalServerError):
        chat(gateway.base_url, made["key"], "safe", False)
    assert len(down.requests) == 3


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "stream"])
def test_the_dearest_link_must_fit_the_budget(gateway, emulator, request, stream):
    """8,192 tokens of output: 31 thousandths of a dollar at the first model, 82 at the second."""
    made = gateway.gwctl("keys", "create", request.node.name[:60], "--budget-usd", "0.05", "--period", "day")
    with pytest.raises(openai.RateLimitError) as caught:
        chat(gateway.base_url, made["key"], "safe", stream)
    assert caught.value.code == "insufficient_quota"
    assert chat(gateway.base_url, made["key"], FIRST, stream)[1]
    assert len(emulator.requests) == 1
