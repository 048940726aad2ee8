"""Files larger than a function takes, with Google's own SDKs before a gateway as it is deployed. Python's sends the
file to the upstream's own address; JavaScript's sends every piece to the host of its base URL, and is told at once."""

import pytest
from google import genai
from google.genai import errors, types

from tests.clients.installation import installed

FLASH = "gemini-3.8-flash"
SIZE = 8 * 1024 * 1024 + 100_000  # two pieces of Google's SDKs
OWN_KEY = [("x-goog-api-key", "test-upstream-key")]


@pytest.fixture(scope="session")
def scenarios():
    return ["node", installed("google-genai") / "large_files.mjs"]


def using(gateway, key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gateway.base_url))


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.txt"
    path.write_bytes(b"x" * SIZE)
    return path


def uploads(emulator):
    return [row for row in emulator.requests if row["path"].startswith("/upload/")]


def check_row(gateway, client_key, prompt, candidates, thoughts):
    """The key's only row says what the answer said, and its exact price."""
    (row,) = gateway.row(client_key[0])
    assert (row["input_tokens"], row["output_tokens"]) == (prompt, candidates + (thoughts or 0))
    assert row["cost_nano_usd"] == row["input_tokens"] * 750 + row["output_tokens"] * 3750
    assert row["estimated"] is False


def test_a_large_file_is_uploaded_used_and_its_owners_alone(gateway, client_key, emulator, large):
    with using(gateway, client_key[1]) as client:
        file = client.files.upload(file=large, config=types.UploadFileConfig(display_name="large"))
        assert (file.display_name, file.size_bytes, file.state) == ("large", SIZE, types.FileState.ACTIVE)
        assert client.files.get(name=file.name).uri == file.uri
        assert [listed.name for listed in client.files.list()] == [file.name]
        answer = client.models.generate_content(model=FLASH, contents=["What is it?", file])
        start, *pieces = uploads(emulator)
        assert start["credentials"] == OWN_KEY
        assert [(row["credentials"], len(row["raw"])) for row in pieces] == [([], SIZE - 100_000), ([], 100_000)]
        with using(gateway, gateway.new_key("stranger")["key"]) as other:
            for call in (
                lambda: other.files.get(name=file.name),
                lambda: other.files.delete(name=file.name),
                lambda: other.models.generate_content(model=FLASH, contents=["What is it?", file]),
            ):
                with pytest.raises(errors.ClientError) as foreign:
                    call()
                assert foreign.value.code == 404
            assert list(other.files.list()) == []
        client.files.delete(name=file.name)
        with pytest.raises(errors.ClientError, match="404"):
            client.files.get(name=file.name)
    usage = answer.usage_metadata
    check_row(gateway, client_key, usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)


async def test_the_asynchronous_client_uploads_alike(gateway, client_key, emulator, large):
    with using(gateway, client_key[1]) as client, large.open("rb") as data:
        file = await client.aio.files.upload(file=data, config=types.UploadFileConfig(mime_type="text/plain"))
        assert (await client.aio.files.get(name=file.name)).size_bytes == SIZE
        await client.aio.aclose()
    assert [row["credentials"] for row in uploads(emulator)] == [OWN_KEY, [], []]


def test_a_large_file_gets_its_name(gateway, client_key, emulator, large):
    with using(gateway, client_key[1]) as client, pytest.raises(errors.ClientError, match="cannot be named") as refused:
        client.files.upload(file=large, config=types.UploadFileConfig(name="mine"))
    assert refused.value.code == 400 and uploads(emulator) == []


def test_javascript_is_told_before_the_first_piece(play, emulator):
    seen = play("refused", size=SIZE)
    assert (seen["status"], seen["error"]["status"]) == (413, "INVALID_ARGUMENT")
    assert "5500000 bytes" in seen["error"]["message"] and "/v1/uploads" in seen["error"]["message"]
    assert uploads(emulator) == []


def test_javascript_finds_what_it_is_told(play, gateway, client_key, emulator):
    seen = play("elsewhere", model=FLASH, size=SIZE)
    assert seen["sent"] == 200
    usage = seen["usage"]
    check_row(
        gateway, client_key, usage["promptTokenCount"], usage["candidatesTokenCount"], usage.get("thoughtsTokenCount")
    )
    assert sum(len(row["raw"]) for row in uploads(emulator)[1:]) == SIZE
