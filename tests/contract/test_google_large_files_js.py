"""A large file from Google's JavaScript SDK, whose pieces of 8 MiB come through a gateway that is no function."""

import pytest

from tests.clients.installation import installed
from tests.running import running_gateway

PIECE = 8 * 1024 * 1024
SIZE = PIECE + 100_000


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    environment = {
        "GEMINI_API_KEY": "test-upstream-key",
        "GEMINI_BASE_URL": upstream.base_url,
        "MAX_BODY_BYTES": str(PIECE),
    }
    with running_gateway(tmp_path_factory.mktemp("gateway") / "state", environment) as running:
        yield running


@pytest.fixture(scope="session")
def scenarios():
    return ["node", installed("google-genai") / "large_files.mjs"]


def test_a_large_file_comes_in_pieces_and_is_its_owners_alone(play, gateway, client_key, emulator):
    stranger = gateway.new_key("stranger")["key"]
    seen = play("used", model="gemini-3.8-flash", size=SIZE, stranger=stranger)
    assert (seen["file"]["display"], seen["file"]["size"]) == ("large", str(SIZE))
    assert seen["listed"] == [seen["file"]["name"]]
    assert seen["theirs"] == [404, 404]
    sent = [row for row in emulator.requests if row["path"].startswith("/upload/")]
    assert [len(row["raw"]) for row in sent[1:]] == [PIECE, SIZE - PIECE]
    assert {tuple(row["credentials"]) for row in sent} == {(("x-goog-api-key", "test-upstream-key"),)}
    usage = seen["usage"]
    (row,) = gateway.row(client_key[0])
    output = usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0)
    assert (row["input_tokens"], row["output_tokens"]) == (usage["promptTokenCount"], output)
    assert row["cost_nano_usd"] == row["input_tokens"] * 750 + row["output_tokens"] * 3750
