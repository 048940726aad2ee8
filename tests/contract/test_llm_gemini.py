"""`llm` with its Gemini plug-in, unmodified, on its own command line. The plug-in knows Google's host and no other: it
meets the gateway there through a proxy, as in a company that answers for that name."""

import json
import subprocess
from urllib.parse import urlsplit

import pytest

from tests.clients.installation import python_environment
from tests.contract.google_host import GOOGLE, googles_host
from tests.contract.vendor_requests import MEDIA
from tests.running import Gateway, clean_environment

FLASH = "gemini/gemini-3.8-flash"
WEATHER = """def get_weather(city: str) -> str:
    "The weather of a city."
    return f"sunny in {city}"
"""


@pytest.fixture(scope="session")
def command():
    return python_environment("llm-gemini").parent / "llm"


@pytest.fixture(scope="module")
def google(gateway: Gateway, tmp_path_factory):
    with googles_host(urlsplit(gateway.base_url).port, tmp_path_factory.mktemp("certificates")) as stand:
        yield stand


@pytest.fixture
def llm(command, google, client_key, emulator, tmp_path):
    """Runs the command line with a key and a log of the test's own."""

    def run(*arguments, key=client_key[1]):
        environment = clean_environment() | google.environment | {"LLM_USER_PATH": str(tmp_path), "LLM_GEMINI_KEY": key}
        return subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def told(llm):
    """What the command says on its output."""

    def said(*arguments):
        done = llm(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    return said


def logged(told):
    """The last exchange as the tool's own log has it."""
    return json.loads(told("logs", "list", "--json", "-n", "1"))[0]


def test_a_prompt(told, gateway, client_key, google):
    google.tunnels.clear()
    assert told("-m", FLASH, "--no-stream", "Say hello to the gateway.") == "Echo: Say hello to the gateway."
    assert google.tunnels == [f"{GOOGLE}:443"]
    (row,) = gateway.row(client_key[0])
    seen = logged(told)
    assert (row["input_tokens"], row["output_tokens"]) == (seen["input_tokens"], seen["output_tokens"])
    assert (row["dialect"], row["endpoint"], row["status"]) == ("gemini_native", "native", 200)
    assert row["cost_nano_usd"] == row["input_tokens"] * 750 + row["output_tokens"] * 3750
    assert seen["resolved_model"] == row["model_version"] == "gemini-3.8-flash"


def test_a_stream(told, gateway, client_key, emulator):
    """Without `alt=sse`: one array that grows."""
    emulator.script({"text": "one two three four five six", "thoughts": "I count", "chunks": 4})
    assert "one two three four five six" in told("-m", FLASH, "count")
    (sent,) = emulator.requests
    assert "alt" not in sent["query"] and sent["path"].endswith(":streamGenerateContent")
    (row,) = gateway.row(client_key[0])
    seen = logged(told)
    assert (row["stream"], row["input_tokens"], row["output_tokens"]) == (
        True,
        seen["input_tokens"],
        seen["output_tokens"],
    )


def test_a_tool(told, gateway, client_key, emulator):
    """Parallel calls, run by the tool itself; the upstream refuses them without their signature and their ids."""
    calls = [{"name": "get_weather", "args": {"city": city}} for city in ("Oslo", "Rome")]
    emulator.script({"call": calls}, {"text": "It is sunny."})
    assert told("-m", FLASH, "--functions", WEATHER, "How is the weather?") == "It is sunny."
    contents = emulator.requests[-1]["body"]["contents"]
    sent = [part for content in contents for part in content["parts"] if "functionCall" in part]
    assert sent[0]["thoughtSignature"]
    results = [part["functionResponse"] for part in contents[-1]["parts"]]
    assert [result["response"]["output"] for result in results] == ["sunny in Oslo", "sunny in Rome"]
    assert len(gateway.row(client_key[0], number=2)) == 2


def test_a_conversation(told, emulator):
    assert told("-m", FLASH, "Hello there") == "Echo: Hello there"
    assert told("-c", "And again") == "Echo: And again"
    assert [content["role"] for content in emulator.requests[-1]["body"]["contents"]] == ["user", "model", "user"]


def test_a_picture(told, gateway, client_key, emulator, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(MEDIA["image/png"])
    assert "image/png" in told("-m", FLASH, "What is this?", "-a", str(picture))
    parts = emulator.requests[-1]["body"]["contents"][0]["parts"]
    assert [part["inlineData"]["mimeType"] for part in parts if "inlineData" in part] == ["image/png"]
    assert len(gateway.row(client_key[0])) == 1


def test_json_by_schema(told):
    assert set(json.loads(told("-m", FLASH, "--schema", "name, age int", "Invent a dog"))) == {"name", "age"}


def test_an_embedding(told, gateway, client_key):
    assert len(json.loads(told("embed", "-m", "gemini-embedding-2-768", "-c", "some words"))) == 768
    (row,) = gateway.row(client_key[0])
    assert row["cost_nano_usd"] == row["input_tokens"] * 200 > 0


def test_lists(told, gateway, client_key):
    """The list of files sends the key in the query, and it must be written nowhere."""
    names = [model["name"] for model in json.loads(told("gemini", "models", "--method", "generateContent"))]
    assert "models/gemini-3.8-flash" in names
    told("gemini", "files")
    secret = client_key[1].rpartition("_")[2].encode()
    written = [path for path in gateway.state.rglob("*") if path.is_file() and path.name != "credentials.json"]
    assert gateway.log in written
    assert [path for path in written if secret in path.read_bytes()] == []


def test_a_wrong_key_is_refused(llm):
    """In the form of the answer that the tool reads: an array with one error."""
    done = llm("-m", FLASH, "hello", key="wrong")
    assert (done.returncode, done.stderr.strip()) == (1, "Error: Incorrect API key provided.")
