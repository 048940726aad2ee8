"""The requests that the vendors' documents show, and how they are sent to a gateway and read back.

`vendor_samples/` holds the requests, one file a document: `body` is JSON, `text` is a sample that is not JSON. `{key}`,
`{jpeg}` and `{media}` stand where a document leaves a place to fill in.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import httpx
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.contract.test_openai_python import png
from tests.running import Gateway

SAMPLES = Path(__file__).parent / "vendor_samples"
DOCUMENTS = {path.stem: json.loads(path.read_text()) for path in SAMPLES.glob("*.json")}


def jpeg(width, height):
    size = height.to_bytes(2) + width.to_bytes(2)
    app0 = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    return b"\xff\xd8" + app0 + b"\xff\xc0\x00\x0b\x08" + size + b"\x01\x01\x11\x00" + b"\xff\xd9"


def box(brand):
    return b"\x00\x00\x00\x18ftyp" + brand + bytes(12)


# First bytes of every type that the documents name: a type is also told from them where a sample gives none.
MEDIA = {
    "image/png": png(7, 5),
    "image/jpeg": jpeg(7, 5),
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "image/heic": box(b"heic"),
    "image/heif": box(b"mif1"),
    "audio/wav": b"RIFF\x00\x00\x00\x00WAVEfmt ",
    "audio/mp3": b"ID3\x04" + bytes(20),
    "audio/aiff": b"FORM\x00\x00\x00\x00AIFFCOMM",
    "audio/aac": b"\xff\xf1\x50\x80" + bytes(20),
    "audio/ogg": b"OggS" + bytes(24),
    "audio/flac": b"fLaC" + bytes(34),
    "video/mp4": box(b"isom"),
    "video/mpeg": b"\x00\x00\x01\xba" + bytes(20),
    "video/mov": box(b"qt  "),
    "video/avi": b"RIFF\x00\x00\x00\x00AVI LIST",
    "video/x-flv": b"FLV\x01\x05" + bytes(20),
    "video/mpg": b"\x00\x00\x01\xba" + bytes(20),
    "video/webm": b"\x1aE\xdf\xa3" + bytes(20),
    "video/wmv": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(20),
    "video/3gpp": box(b"3gp5"),
}


def base64_of(kind):
    return base64.b64encode(MEDIA[kind]).decode()


@dataclass(frozen=True)
class Vendor:
    """Sends a document's samples to the gateway with the test's own key."""

    gateway: Gateway
    key: str
    kid: str = ""

    def row(self):
        (row,) = self.gateway.row(self.kid)
        return row

    def send(self, document, name, *, text=None, media=None, **changes):
        """The answer to one sample; `text` replaces its body, `changes` are laid over it, `media` fills its place."""
        sample = DOCUMENTS[document]["samples"][name]
        if text is None:
            text = sample["text"] if "text" in sample else json.dumps(sample["body"] | changes, ensure_ascii=False)
        return self.post(sample["path"], filled(text, media), sample["headers"])

    def post(self, path, body, headers=None):
        text = body if isinstance(body, str) else json.dumps(body)
        headers = headers or {"Authorization": "Bearer {key}", "Content-Type": "application/json"}
        headers = {name: value.replace("{key}", self.key) for name, value in headers.items()}
        return httpx.post(self.gateway.base_url + path, content=text.encode(), headers=headers, timeout=30)


def filled(text, media=None):
    return text.replace("{jpeg}", base64_of("image/jpeg")).replace("{media}", media or "")


def frames(answer):
    """The JSON of every `data:` frame; the last frame has to be `[DONE]`."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(item) for item in data]


def streamed(answer):
    """The completion that the official SDK makes of a stream."""
    state = ChatCompletionStreamState()
    for item in frames(answer):
        state.handle_chunk(ChatCompletionChunk.model_validate(item))
    return state.get_final_completion()


def completed(answer):
    assert answer.status_code == 200, answer.text
    return ChatCompletion.model_validate(answer.json())


def error(answer, status):
    """The error object, in OpenAI's body."""
    assert answer.status_code == status, answer.text
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def sent(emulator):
    (record,) = emulator.requests
    return record["body"]
