"""The requests of a vendor's document that are in Gemini's own language (AIStudioToAPI, API usage examples), sent to
the running gateway as they stand there: only host and key are filled in."""

import base64
import json

import pytest

from tests.contract.vendor_requests import DOCUMENTS, Vendor

DOCUMENT = "aistudio_to_api_native"
SAMPLES = DOCUMENTS[DOCUMENT]["samples"]


@pytest.fixture
def send(gateway, client_key, emulator):
    """Sends a sample: (answer, its usage row)."""
    kid, key = client_key

    def sent(name):
        vendor = Vendor(gateway, key, kid)
        answer = vendor.send(DOCUMENT, name)
        assert answer.status_code == 200, answer.text
        row = vendor.row()
        assert (row["dialect"], row["endpoint"], row["status"]) == ("gemini_native", "native", 200)
        assert row["cost_nano_usd"] > 0
        return answer, row

    return sent


def whole(answer):
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    return answer.json()


def streamed(answer):
    assert answer.headers["content-type"] == "text/event-stream"
    *events, end = answer.text.split("\r\n\r\n")
    assert end == ""
    return [json.loads(event.removeprefix("data: ")) for event in events]


def parts_of(chunks):
    return [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]


def text_of(chunks):
    return "".join(part.get("text", "") for part in parts_of(chunks))


def assert_metered(row, chunk):
    usage = chunk["usageMetadata"]
    output = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    assert (row["input_tokens"], row["output_tokens"]) == (usage["promptTokenCount"], output)


def test_text(send):
    answer, row = send("text")
    reply = whole(answer)
    assert text_of([reply]) == "Echo: 你好,最近怎么样?"
    assert_metered(row, reply)


def test_streamed_text(send):
    answer, row = send("streamed text")
    chunks = streamed(answer)
    assert text_of(chunks) == "Echo: 写一首关于秋天的诗"
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert row["stream"] is True
    assert_metered(row, chunks[-1])


@pytest.mark.parametrize("name", ["picture", "streamed picture"])
def test_a_picture(send, name):
    answer, row = send(name)
    chunks = streamed(answer) if "streamed" in name else [whole(answer)]
    (picture,) = [part["inlineData"] for part in parts_of(chunks) if "inlineData" in part]
    assert picture["mimeType"] == "image/png" and base64.b64decode(picture["data"]).startswith(b"\x89PNG")
    assert_metered(row, chunks[-1])
    assert row["output_tokens"] > 1000


@pytest.mark.parametrize(("name", "count"), [("imagen", 1), ("imagen batch", 4)])
def test_imagen(send, emulator, name, count):
    """Imagen is gone: its successor draws, once for every picture, and the answer says so."""
    answer, row = send(name)
    predictions = answer.json()["predictions"]
    assert [prediction["mimeType"] for prediction in predictions] == ["image/png"] * count
    assert all(base64.b64decode(one["bytesBase64Encoded"]).startswith(b"\x89PNG") for one in predictions)
    assert answer.headers["x-gateway-warnings"] == "model:gemini-3.1-flash-image"
    assert len(emulator.requests) == count
    assert row["model"] == "gemini-3.1-flash-image" and row["output_tokens"] > 1000 * count


@pytest.mark.parametrize("name", ["speech", "speech of one voice", "speech of two voices"])
def test_speech(send, emulator, name):
    answer, row = send(name)
    reply = whole(answer)
    (part,) = parts_of([reply])
    assert part["inlineData"]["mimeType"].startswith("audio/L16;codec=pcm;rate=24000")
    assert len(base64.b64decode(part["inlineData"]["data"])) > 1000
    sent = json.loads(SAMPLES[name]["text"])
    assert emulator.requests[-1]["body"]["generationConfig"] == sent["generationConfig"]
    assert_metered(row, reply)


@pytest.mark.parametrize(("name", "count"), [("embedding", 1), ("embeddings", 2)])
def test_embeddings(send, name, count):
    answer, row = send(name)
    assert [len(embedding["values"]) for embedding in answer.json()["embeddings"]] == [3072] * count
    assert row["cost_nano_usd"] == row["input_tokens"] * 150
