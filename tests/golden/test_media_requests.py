"""Recorded requests to OpenAI's embeddings, images and audio endpoints: each file of `media_requests/` holds a client's
body (JSON, or a form as base64 with its content type), its path, and what goes upstream for it.

After a wanted change, `python -m tests.golden.test_media_requests` writes the outcomes anew; the diff is then to be
read. Sources and licences stand in each file; recordings in forms are cut short.
"""

import base64
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from shared.dialects.contract import RequestContext
from shared.dialects.openai_media import embeddings, images, speech, transcription
from shared.dialects.openai_media.members import Form
from shared.errors import GatewayError
from shared.gateway.multipart import FormReader
from shared.gemini.catalog import resolve
from tests.golden.upstream_rules import VALIDATOR, assert_sound

FILES = sorted((Path(__file__).parent / "media_requests").glob("*.json"))
DAY = date(2026, 11, 21)
VERBS = {
    "/v1/embeddings": embeddings.parse,
    "/v1/images/generations": images.generation,
    "/v1/images/edits": images.edit,
    "/v1/images/variations": images.variation,
    "/v1/audio/speech": speech.parse,
    "/v1/audio/transcriptions": lambda form, context: transcription.parse(form, "transcribe", context),
    "/v1/audio/translations": lambda form, context: transcription.parse(form, "translate", context),
}


def body_of(record: dict[str, Any]) -> dict[str, Any] | Form:
    if "request" in record:
        return record["request"]
    boundary = re.search(r"boundary=(\S+)", record["content_type"])[1].encode()
    reader = FormReader(boundary)
    reader.feed(base64.b64decode(record["form"]))
    return reader.close()


def outcome(record: dict[str, Any]) -> dict[str, Any]:
    body = body_of(record)
    name = (body.members() if isinstance(body, Form) else body).get("model") or images.DEFAULT_MODEL
    try:
        context = RequestContext(resolve(name, DAY), {})
        job = VERBS[record["path"]](body, context)
    except GatewayError as error:
        return {"error": {"kind": error.kind, "param": error.param}}
    said = {key: value for key, value in asdict(job).items() if value not in (None, False, "", 0, 0.0, (), [])}
    return {"model": context.model.id} | json.loads(json.dumps(said))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_request_gives_the_expected_one(path):
    record = json.loads(path.read_text())
    assert outcome(record) == record["expected"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_upstream_accepts_what_is_sent(path):
    made = json.loads(path.read_text())["expected"]
    if "request" in made:
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(made["request"])] == []
        assert_sound(made["request"], made["model"])
    else:
        assert "texts" in made or made["error"]["param"] in ("model", "input", "images[0].image_url")


def test_every_endpoint_has_its_recordings():
    records = [json.loads(path.read_text()) for path in FILES]
    assert {record["path"] for record in records} == set(VERBS)
    assert all(record["license"] and record["source"] for record in records)


def regenerate() -> None:
    for path in FILES:
        record = json.loads(path.read_text())
        record["expected"] = outcome(record)
        path.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    regenerate()
