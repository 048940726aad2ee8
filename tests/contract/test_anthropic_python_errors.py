"""The official Python SDK of Anthropic, unmodified: how requests fail, what it retries, what every request costs."""

import json
import re
import time
from datetime import UTC, date, datetime
from hashlib import sha256

import anthropic
import httpx
import pytest

from tests.running import Gateway

FLASH, ARGON = "gemini-3.6-flash", "gemini-4-argon"


def nano(regular_from, *introductory):
    """Nano-dollars a token: introductory prices, which double on a day."""
    factor = 2 if datetime.now(UTC).date() >= regular_from else 1
    return [price * factor for price in introductory]


INPUT, CACHED, OUTPUT = nano(date(2027, 1, 1), 750, 75, 3750)
ARGON_INPUT, ARGON_OUTPUT = nano(date(2026, 12, 1), 2000, 10_000)


@pytest.fixture
def client(gateway: Gateway, client_key, emulator):
    """With a key of the test's own, and no retries."""
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=client_key[1], max_retries=0) as made:
        yield made


@pytest.fixture
def issue(gateway: Gateway, request):
    """A client for a new key with the given options."""
    made = []

    def issued(*options):
        key = gateway.gwctl("keys", "create", request.node.name[:80], *options)["key"]
        made.append(anthropic.Anthropic(base_url=gateway.base_url, api_key=key, max_retries=0))
        return made[-1]

    yield issued
    for client in made:
        client.close()


def say(content, model=FLASH, max_tokens=4096, **more):
    return {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": content}], **more}


def final(client, request, streamed):
    if not streamed:
        return client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        return stream.get_final_message()


# the way in


def post(gateway, headers, path="/v1/messages"):
    return httpx.post(gateway.base_url + path, json=say("hello"), headers=headers, timeout=20)


def test_either_header_carries_the_key(gateway):
    key = gateway.client_key
    bearer = {"authorization": f"Bearer {key}"}
    for headers in (bearer, {"x-api-key": key}, {**bearer, "x-api-key": key}, {**bearer, "x-api-key": ""}):
        assert post(gateway, headers).status_code == 200
    for headers in ({}, {"x-api-key": ""}, {"x-api-key": "sk-ant-x"}, {**bearer, "x-api-key": "sk-gw1_other"}):
        refused = post(gateway, headers)
        assert refused.status_code == 401
        assert refused.json()["error"]["type"] == "authentication_error"
        assert refused.json()["request_id"] == refused.headers["request-id"]


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21", "2031-01-01"])
def test_every_version_and_beta_is_served(gateway, version):
    headers = {"x-api-key": gateway.client_key, "anthropic-beta": "never-heard-of-2030-01-01"}
    headers |= {"anthropic-version": version} if version else {}
    answer = post(gateway, headers, "/v1/messages?beta=true")
    assert (answer.status_code, answer.json()["type"]) == (200, "message")


def test_a_base_url_that_ends_in_v1_works_too(gateway):
    with anthropic.Anthropic(base_url=f"{gateway.base_url}/v1", api_key=gateway.client_key, max_retries=0) as client:
        assert client.messages.create(**say("doubled")).content
        messages = [{"role": "user", "content": "doubled"}]
        assert client.messages.count_tokens(model=FLASH, messages=messages).input_tokens > 0
        assert FLASH in [model.id for model in client.models.list(limit=1000)]
        assert client.models.retrieve("claude-gemini-3.6-flash").type == "model"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_probes_need_no_key(gateway, method, path):
    answer = httpx.request(method, gateway.base_url + path)
    assert answer.status_code == 200
    assert method == "GET" or answer.content == b""


# refusals


def test_refusals_have_anthropics_classes_types_and_request_ids(gateway, client, client_key, issue):
    def refused(kind, call):
        with pytest.raises(kind) as caught:
            call()
        error = caught.value.body["error"]
        assert caught.value.request_id == caught.value.body["request_id"]
        assert caught.value.request_id.startswith("req_")
        return error["type"], error["message"]

    with anthropic.Anthropic(base_url=gateway.base_url, api_key="sk-ant-wrong", max_retries=0) as stranger:
        wrong = refused(anthropic.AuthenticationError, lambda: stranger.messages.create(**say("x")))
    assert wrong[0] == "authentication_error"
    unknown = refused(anthropic.NotFoundError, lambda: client.messages.create(**say("x", "gpt-nonsense")))
    assert unknown == ("not_found_error", "model: gpt-nonsense")
    kind, text = refused(anthropic.BadRequestError, lambda: client.messages.create(**say([{"type": "smell"}])))
    assert (kind, text.partition(":")[0]) == ("invalid_request_error", "messages.0.content.0.type")
    kind, text = refused(anthropic.BadRequestError, lambda: client.messages.create(**say("x", stop_sequences=[" "])))
    assert (kind, text.partition(":")[0]) == ("invalid_request_error", "stop_sequences.0")
    huge = refused(anthropic.RequestTooLargeError, lambda: client.messages.create(**say("x" * 6_000_000)))
    assert huge[0] == "request_too_large"
    kind, text = refused(anthropic.NotFoundError, lambda: client.messages.batches.list())
    assert (kind, text.partition(":")[0]) == ("not_found_error", "Message batches are not served")
    narrow = issue("--models", "gemini-2.5-*", "--endpoints", "messages")
    assert refused(anthropic.NotFoundError, lambda: narrow.messages.create(**say("x"))) == (
        "not_found_error",
        f"model: {FLASH}",
    )
    assert refused(anthropic.PermissionDeniedError, lambda: list(narrow.models.list()))[0] == "permission_error"
    assert gateway.rows(client_key[0]) == []  # nothing was called


@pytest.mark.parametrize(
    "ask",
    [
        lambda files: files.list(),
        lambda files: files.upload(file=("a.txt", b"text", "text/plain")),
        lambda files: files.retrieve_metadata("file_011CNha8iCJcU1wXNR6q4V8w"),
        lambda files: files.download("file_011CNha8iCJcU1wXNR6q4V8w"),
        lambda files: files.delete("file_011CNha8iCJcU1wXNR6q4V8w"),
    ],
)
def test_anthropics_files_are_not_taken_for_openais(client, ask):
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask(client.beta.files)
    assert caught.value.type == "not_found_error"
    assert caught.value.request_id.startswith("req_")


def test_an_overlong_prompt_is_refused_in_the_words_that_make_agents_compact(client, gateway, client_key):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**say("word " * 860_000))
    said = re.fullmatch(r"prompt is too long: (\d+) tokens > (\d+) maximum", caught.value.body["error"]["message"])
    assert int(said[1]) > int(said[2]) == 1_048_576
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["cost_nano_usd"]) == (400, 0)


def test_a_keys_own_limits_are_told_in_anthropics_headers(issue):
    client = issue("--rpm", "1", "--rpm-burst", "1")
    raw = client.messages.with_raw_response.create(**say("x"))
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "1"
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", raw.headers["anthropic-ratelimit-requests-reset"])
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**say("x"))
    assert caught.value.body["error"]["type"] == "rate_limit_error"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert client.messages.count_tokens(model=FLASH, messages=[{"role": "user", "content": "x"}]).input_tokens


def test_a_spent_budget_is_not_tried_again(issue):
    client = issue("--budget-usd", "0.000001").with_options(max_retries=2)
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**say("x"))
    assert (caught.value.status_code, caught.value.body["error"]["type"]) == (402, "billing_error")


# an upstream in trouble


@pytest.mark.parametrize(
    ("step", "status", "kind"),
    [
        ({"error": 503}, 529, "overloaded_error"),
        ({"error": 500}, 500, "api_error"),
        ({"error": 504}, 504, "timeout_error"),
        ({"cut_after": 0}, 502, "api_error"),
        ({"finish": "MALFORMED_FUNCTION_CALL"}, 500, "api_error"),
    ],
    ids=str,
)
@pytest.mark.parametrize("streamed", [True, False])
def test_upstream_failures_before_the_answer_keep_their_status(client, emulator, step, status, kind, streamed):
    emulator.script({**step, "times": 3})
    with pytest.raises(anthropic.APIStatusError) as caught:
        final(client, say("x"), streamed)
    assert (caught.value.status_code, caught.value.body["error"]["type"]) == (status, kind)
    assert caught.value.body["request_id"] == caught.value.response.headers["request-id"]


def test_an_overloaded_upstream_is_tried_again_at_one_layer_only(client, gateway, client_key, emulator):
    emulator.script({"error": 503, "times": 9})
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.with_options(max_retries=2).messages.create(**say("again"))
    assert (caught.value.status_code, caught.value.response.headers["x-should-retry"]) == (529, "false")
    assert len(emulator.requests) == 3
    (row,) = gateway.row(client_key[0])
    assert row["status"] == 529


def test_the_sdk_waits_as_long_as_the_upstream_asked(client, emulator):
    """The gateway waits itself while it can hold the status line; what is left reaches the SDK as `retry-after`."""
    emulator.script({"error": {"status": 429, "retry": 1}, "times": 3})
    began = time.monotonic()
    retrying = client.with_options(max_retries=1)
    raw = retrying.messages.with_raw_response.create(**say("patience", "gemini-3.5-flash-lite"))
    assert raw.retries_taken == 1
    assert "patience" in raw.parse().content[0].text
    assert len(emulator.requests) == 4
    assert time.monotonic() - began >= 3


def test_a_long_wait_is_told_at_once(client, emulator):
    emulator.script({"error": {"status": 429, "retry": 30.2}})
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**say("x", "gemini-3.1-flash-lite"))
    assert caught.value.response.headers["retry-after"] == "31"
    assert caught.value.body["error"]["type"] == "rate_limit_error"


def test_a_daily_quota_is_not_tried_again(client, gateway, client_key, emulator):
    emulator.script({"error": {"status": 429, "kind": "per-day"}})
    with pytest.raises(anthropic.RateLimitError) as caught:  # a model of its own: the credential rests for it
        client.with_options(max_retries=2).messages.create(**say("x", "gemini-2.5-pro"))
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(emulator.requests) == 1
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["cost_nano_usd"]) == (429, 0)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"cut_after": 2}, "api_error"),
        ({"reset_after": 2}, "api_error"),
        ({"error_after": {"chunks": 2, "form": "bare", "status": 503}}, "overloaded_error"),
        ({"error_after": {"chunks": 2, "form": "data", "status": 500}}, "api_error"),
    ],
    ids=str,
)
def test_a_stream_that_breaks_is_an_error_never_an_end(client, gateway, client_key, emulator, step, kind):
    emulator.script({"text": "a b c d e f g h", "chunks": 8, "pace_ms": 20, **step})
    seen = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        for event in client.messages.create(**say("x"), stream=True):
            seen.append(event.type)
    assert caught.value.body["error"]["type"] == kind
    assert caught.value.body["request_id"].startswith("req_")
    assert "content_block_delta" in seen
    assert not {"message_delta", "message_stop"} & set(seen)
    (row,) = gateway.row(client_key[0])
    assert row["cost_nano_usd"] > 0
    assert client.messages.create(**say("and now?")).stop_reason == "end_turn"


# what it costs


COUNTERS = {
    "promptTokenCount": 5000,
    "cachedContentTokenCount": 3000,
    "thoughtsTokenCount": 700,
    "candidatesTokenCount": 300,
    "totalTokenCount": 6000,
}


@pytest.mark.parametrize("streamed", [True, False])
def test_one_call_is_one_row_with_the_upstreams_own_numbers(client, gateway, client_key, emulator, streamed):
    emulator.script({"thoughts": "Hm.", "text": "Well.", "usage": COUNTERS})
    thinking = {"type": "enabled", "budget_tokens": 1024}
    usage = final(client, say("go", "claude-gemini-3.6-flash", thinking=thinking), streamed).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (2000, 3000, 0)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (1000, 700)
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["cached_tokens"]) == (5000, 3000)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (1000, 700)
    assert row["cost_nano_usd"] == 2000 * INPUT + 3000 * CACHED + 1000 * OUTPUT
    assert (row["status"], row["stream"], row["finish_reason"]) == (200, streamed, "STOP")
    assert (row["dialect"], row["endpoint"], row["model"]) == ("anthropic_messages", "messages", FLASH)
    assert not row["estimated"]


def test_the_log_tells_which_session_asked(gateway, client, client_key):
    client.messages.create(
        **say("go"),
        metadata={"user_id": '{"device_id":"d","session_id":"session-1"}'},
        extra_headers={"X-Claude-Code-Session-Id": "session-1", "anthropic-version": "2031-01-01"},
    )
    gateway.row(client_key[0])
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    (told,) = [line["client"] for line in lines if line["message"] == "upstream_start" and line["kid"] == client_key[0]]
    assert told["version"] == "2031-01-01"
    assert told["session"] == "session-1"
    assert told["user"] == sha256(b"session-1").hexdigest()[:16]


def test_the_price_stands_in_the_header_of_a_buffered_answer(client, gateway, client_key):
    raw = client.messages.with_raw_response.create(**say("How much?"))
    (row,) = gateway.row(client_key[0])
    assert raw.headers["x-gateway-cost-usd"] == f"{row['cost_nano_usd'] / 1e9:.9f}"
    assert raw.headers["x-gateway-model"] == FLASH


@pytest.mark.parametrize("streamed", [True, False])
def test_no_output_wanted_is_no_output_made_and_none_paid(client, gateway, client_key, emulator, streamed):
    """How clients warm the cache."""
    request = say("warm the cache", max_tokens=0)
    answer = final(client, request, streamed)
    assert (answer.content, answer.stop_reason) == ([], "max_tokens")
    counted = client.messages.count_tokens(model=FLASH, messages=request["messages"]).input_tokens
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (counted, 0)
    assert all(record["path"].endswith(":countTokens") for record in emulator.requests)
    (row,) = gateway.row(client_key[0])
    assert (row["status"], row["cost_nano_usd"]) == (200, 0)


def test_a_search_is_priced_by_its_queries(client, gateway, client_key, emulator):
    search = {"type": "web_search_20250305", "name": "web_search"}
    answer = client.messages.create(**say("What is new?", tools=[search]))
    (row,) = gateway.row(client_key[0])
    tokens = row["input_tokens"] * INPUT + row["output_tokens"] * OUTPUT
    assert row["cost_nano_usd"] == tokens + answer.usage.server_tool_use.web_search_requests * 14_000_000


# long answers


def test_a_long_answer_without_a_stream(client, gateway, client_key, emulator):
    """Claude Code repeats a broken stream this way; the SDK allows it where a timeout is given."""
    text = "0123456789abcde " * 15_900  # 63,600 tokens
    emulator.script({"text": text, "chunks": 300})
    answer = client.messages.create(**say("long", max_tokens=64_000, thinking={"type": "disabled"}), timeout=120)
    assert answer.content[0].text == text
    assert answer.stop_reason == "end_turn"
    assert emulator.requests[-1]["path"].endswith(":streamGenerateContent")
    assert emulator.requests[-1]["body"]["generationConfig"]["maxOutputTokens"] == 64_000
    (row,) = gateway.row(client_key[0])
    assert row["output_tokens"] == answer.usage.output_tokens > 63_000


@pytest.mark.parametrize("streamed", [True, False])
def test_the_hops_of_a_long_decode_are_one_answer(client, gateway, client_key, emulator, streamed):
    emulator.script({"text": "part one, part two, part three", "continuation": {"hops": 3}, "times": 3})
    answer = final(client, say("long", ARGON, max_tokens=20_000), streamed)
    assert answer.content[0].text == "part one, part two, part three"
    assert answer.stop_reason == "end_turn"
    bodies = [record["body"] for record in emulator.requests]
    assert ["continuationToken" in body for body in bodies] == [False, True, True]
    assert all(body["generationConfig"]["maxOutputTokens"] == 20_000 for body in bodies)
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert row["cost_nano_usd"] == row["input_tokens"] * ARGON_INPUT + row["output_tokens"] * ARGON_OUTPUT
