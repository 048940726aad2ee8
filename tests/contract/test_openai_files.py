"""Files and uploads by OpenAI's SDK on a running gateway, whose bucket is the template's own."""

import urllib.request

import openai
import pytest

from infra.local.emulator.media import png
from tests.running import Gateway

MODEL = "gemini-3.6-flash"
LARGE = png("large") + bytes(6_000_000)  # more than a function takes


@pytest.fixture
def client(gateway: Gateway, client_key: tuple[str, str]):
    made = openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=client_key[1], max_retries=0)
    yield made
    made.close()


def test_a_file_is_left_used_and_deleted(client: openai.OpenAI) -> None:
    made = client.files.create(file=("notes.txt", b"the words of the file"), purpose="user_data")
    part = {"type": "file", "file": {"file_id": made.id}}
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [part]}])  # type: ignore[list-item]
    assert "text/plain" in (answer.choices[0].message.content or "")
    assert [item.id for item in client.files.list()] == [made.id]
    assert client.files.delete(made.id).deleted
    assert list(client.files.list()) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_list_of_one_purpose_goes_on_past_files_of_others(client: openai.OpenAI, order: str) -> None:
    for name, purpose in (("a", "vision"), ("b", "user_data"), ("c", "user_data"), ("d", "vision"), ("e", "vision")):
        client.files.create(file=(f"{name}.txt", b"words"), purpose=purpose)  # type: ignore[arg-type]

    def listed(purpose: str, limit: int) -> str:
        found = client.files.list(purpose=purpose, limit=limit, order=order)  # type: ignore[arg-type]
        return "".join(item.filename[0] for item in found)

    for limit in (1, 2, 3, 100):
        assert [listed("vision", limit), listed("user_data", limit)] == (
            ["ade", "bc"] if order == "asc" else ["eda", "cb"]
        )
    page = client.files.list(purpose="vision", limit=1, order=order)  # type: ignore[arg-type]
    assert len(page.data) == 1
    assert page.has_more


def test_media_beyond_a_function_s_limit_comes_by_a_presigned_address(client: openai.OpenAI, emulator) -> None:
    upload = client.uploads.create(bytes=len(LARGE), filename="l.png", mime_type="image/png", purpose="vision")
    presigned = upload.presigned  # type: ignore[attr-defined]
    request = urllib.request.Request(presigned["url"], LARGE, presigned["headers"], method=presigned["method"])
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status == 200
    done = client.uploads.complete(upload.id, part_ids=[])
    assert done.file is not None
    image = {"type": "input_image", "file_id": done.file.id}
    said = client.responses.create(model=MODEL, input=[{"role": "user", "content": [image]}])  # type: ignore[list-item]
    assert "image/png" in said.output_text
    pieces = [item for item in emulator.requests if item["headers"].get("x-goog-upload-offset")]
    assert [item["headers"]["x-goog-upload-command"] for item in pieces][-1] == "upload, finalize"
    sent = [part for part in emulator.requests[-1]["body"]["contents"][0]["parts"] if "fileData" in part]
    assert sent[0]["fileData"]["mimeType"] == "image/png"


def test_the_sdk_sends_parts_that_fit(client: openai.OpenAI) -> None:
    done = client.uploads.upload_file_chunked(
        file=LARGE, filename="l.png", bytes=len(LARGE), mime_type="image/png", purpose="vision", part_size=4_000_000
    )
    assert done.file is not None
    assert done.file.bytes == len(LARGE)
