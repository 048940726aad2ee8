"""LangChain's Gemini classes, unmodified but for their base URL, against the running gateway; their side of each test
is a scenario in tests/clients/langchain, run in an environment of its own."""

import pytest

from tests.clients.installation import CLIENTS, python_environment

FLASH = "gemini-3.8-flash"


@pytest.fixture(scope="session")
def scenarios():
    return [python_environment("langchain"), CLIENTS / "langchain" / "scenarios.py"]


def metered(row):
    return row["input_tokens"], row["output_tokens"]


def test_invoke(play, gateway, client_key):
    answer = play("invoke", model=FLASH, prompt="Say hello to the gateway.")
    assert "Say hello to the gateway." in answer["text"]
    assert answer["finish"] == "STOP"
    (row,) = gateway.row(client_key[0])
    assert metered(row) == (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])
    assert row["dialect"] == "gemini_native"


def test_stream(play, gateway, client_key, emulator):
    emulator.script({"text": "one two three four five six", "chunks": 4})
    answer = play("stream", model=FLASH, prompt="count")
    assert answer["text"] == "one two three four five six"
    assert answer["chunks"] >= 4
    (row,) = gateway.row(client_key[0])
    assert row["stream"] is True
    assert metered(row) == (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])


def test_tools(play, gateway, client_key, emulator):
    """The upstream refuses a 3.x conversation whose calls came back without their signatures."""
    calls = [{"name": "get_weather", "args": {"city": city}} for city in ("Oslo", "Rome")]
    emulator.script({"call": calls}, {"text": "It is sunny."})
    seen = play("tools", model=FLASH, prompt="How is the weather?")
    assert seen == {"asked": ["Oslo", "Rome"], "text": "It is sunny."}
    last = emulator.requests[-1]["body"]["contents"]
    sent = [part for content in last for part in content["parts"] if "functionCall" in part]
    assert sent[0]["thoughtSignature"]
    results = [part["functionResponse"]["name"] for part in last[-1]["parts"]]
    assert results == ["get_weather", "get_weather"]
    assert len(gateway.row(client_key[0], number=2)) == 2


def test_structured_output(play):
    assert isinstance(play("structured", model=FLASH, prompt="a number")["n"], int)


def test_embed(play, gateway, client_key):
    sizes = play("embed", model="gemini-embedding-001", texts=[f"text {number}" for number in range(120)], size=8)
    assert sizes == [8] * 121
    rows = gateway.row(client_key[0], number=len(gateway.rows(client_key[0])))
    assert sum(row["input_tokens"] for row in rows) >= 121
    assert all(row["cost_nano_usd"] == row["input_tokens"] * 150 for row in rows)


def test_a_refusal_says_why(play):
    seen = play("refused", model="gpt-nonsense", prompt="x")
    assert seen["kind"] == "GoogleModelNotFoundError"
    assert "404" in seen["message"] and "NOT_FOUND" in seen["message"]
