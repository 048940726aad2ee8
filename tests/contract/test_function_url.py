"""The same SDK, and Google's, through the streaming runtime loop: one Lambda function behind a function URL, as
`make function-url` runs it."""

import base64
import json
import subprocess
import sys
import time
from dataclasses import replace

import openai
import pytest
from google import genai
from google.genai import types

from tests.contract.test_openai_python import WEATHER, Solution, directive, png, say
from tests.running import ROOT, Gateway, clean_environment, free_port


@pytest.fixture(scope="module", params=["chat_completions"])
def function(request, tmp_path_factory):
    """A `Gateway` whose address is the function's; the emulator behind it takes its script from the prompt."""
    state = tmp_path_factory.mktemp("function") / "state"
    port = free_port()
    log = state.parent / "function.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.function_url", "--handler", request.param, "--port", str(port)],
            cwd=ROOT,
            env=clean_environment() | {"GATEWAY_STATE_DIR": str(state)},
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
        )
    try:
        line = process.stdout.readline()
        assert f":{port}" in line, log.read_text()
        made = json.loads((state / "credentials.json").read_text())
        running = Gateway(f"http://127.0.0.1:{port}", made["client_key"], made["admin_key"], state, process, log, False)
        issued = running.gwctl("keys", "create", "function")
        yield replace(running, client_key=issued["key"]), issued["kid"]
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


@pytest.fixture
def client(function):
    with openai.OpenAI(base_url=f"{function[0].base_url}/v1", api_key=function[0].client_key, max_retries=0) as made:
        yield made


def test_everything_a_chat_client_does_and_one_row_for_each_request(function, client):
    gateway, kid = function
    buffered = client.chat.completions.create(**say("Hello function."))
    assert "Hello function." in buffered.choices[0].message.content

    paced = say(f"count\n{directive(text='one two three four', chunks=4, pace_ms=200)}")
    arrivals, text = [], ""
    for chunk in client.chat.completions.create(**paced, stream=True):
        if chunk.choices[0].delta.content:
            arrivals.append(time.monotonic())
            text += chunk.choices[0].delta.content
    assert text == "one two three four"
    assert arrivals[-1] - arrivals[0] > 0.4  # as the upstream sent it, not all at once

    turns = [{"call": [{"name": "get_weather", "args": {"city": "Paris"}}]}, {"text": "Dry."}]
    messages = [{"role": "user", "content": directive(turns=turns)}]
    call = (
        client.chat.completions.create(model="gemini-3.6-flash", messages=messages, tools=[WEATHER]).choices[0].message
    )
    asked = [{"id": item.id, "type": "function", "function": item.function.model_dump()} for item in call.tool_calls]
    messages += [
        {"role": "assistant", "tool_calls": asked},
        {"role": "tool", "tool_call_id": asked[0]["id"], "content": "dry"},
    ]
    answer = client.chat.completions.create(model="gemini-3.6-flash", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "Dry."

    url = "data:image/png;base64," + base64.b64encode(png(3, 4)).decode()
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    seen = client.chat.completions.create(model="gemini-3.6-flash", messages=[{"role": "user", "content": content}])
    assert "image/png" in seen.choices[0].message.content

    parsed = client.chat.completions.parse(**say("Solve it."), response_format=Solution)
    assert isinstance(parsed.choices[0].message.parsed, Solution)

    rows = gateway.row(kid, 6)
    assert all(row["cost_nano_usd"] > 0 and row["status"] == 200 for row in rows)
    assert sum(row["stream"] for row in rows) == 1


def test_errors_keep_their_shape_behind_the_loop(function, client):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(**say("x", "gpt-nonsense"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.APIStatusError) as large:
        client.chat.completions.create(**say("x" * 5_700_000))
    assert (large.value.status_code, large.value.code) == (413, "request_too_large")
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(**say(directive(text="a b c", chunks=3, cut_after=2)), stream=True):
            pass


@pytest.mark.parametrize("function", ["generate_content"], indirect=True)
def test_googles_sdk_reads_streams_that_hold_nothing_but_events(function):
    gateway, _ = function
    options = types.HttpOptions(base_url=gateway.base_url)
    with genai.Client(api_key=gateway.client_key, http_options=options) as client:
        asked = {"model": "gemini-3.6-flash", "contents": directive(text="one two three", chunks=3)}
        chunks = list(client.models.generate_content_stream(**asked))
    assert "".join(chunk.text or "" for chunk in chunks) == "one two three"
