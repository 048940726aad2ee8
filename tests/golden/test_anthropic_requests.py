"""Recorded Anthropic message requests, translated: each file of `anthropic_requests/` holds a client's body, the Gemini
model it is sent to here, and what must come out.

After a wanted change of the translation, `python -m tests.golden.test_anthropic_requests` writes the outcomes anew; the
diff is then to be read. Sources and licences stand in each file. Base64 media are replaced by tiny valid ones, foreign
signatures and text over 1,500 characters are cut.
"""

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra.local.emulator import validate
from infra.local.emulator.models import MODELS
from infra.local.emulator.parsing import parse
from shared.dialects.anthropic_messages.request import (
    count_request,
    requested_model,
    signature_keys,
    to_gemini,
    wants_stream,
)
from shared.dialects.contract import RequestContext
from shared.errors import GatewayError
from shared.gemini.catalog import resolve
from shared.json_codec import decode_object
from tests.golden.upstream_rules import VALIDATOR, assert_sound

HERE = Path(__file__).parent
FILES = sorted((HERE / "anthropic_requests").glob("*.json"))
DAY = date(2026, 11, 21)
FAMILIES = ("gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.6-flash", "gemini-4-argon")
COUNT = "/v1/messages/count_tokens"


def outcome(body: dict[str, Any], path: str, model: str) -> dict[str, Any]:
    """What the gateway makes of `body`: the request and, where they say something, the notes beside it."""
    context = RequestContext(resolve(model, DAY), {})
    try:
        if path == COUNT:
            return {"request": dict(count_request(body, context))}
        done = to_gemini(body, context)
    except GatewayError as error:
        return {"error": {"kind": error.kind, "param": error.param}}
    options = done.options
    notes = {
        "warnings": done.warnings,
        "tool_names": done.tool_names,
        "single_call": done.single_call,
        "stop": list(done.stop),
        "echo_prefix": done.echo_prefix,
        "unfence_json": done.unfence_json,
        "thinking_asked": options.thinking_asked,
        "show_thinking": options.show_thinking,
        "server_tools": sorted(options.server_tools),
        "only_server_tools": options.only_server_tools,
        "speed": options.speed,
    }
    return {"request": dict(done.request)} | {name: note for name, note in notes.items() if note}


def recorded(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_request_gives_the_expected_one(path):
    record = recorded(path)
    before = copy.deepcopy(record["request"])
    assert outcome(record["request"], record["path"], record["model"]) == record["expected"]
    assert record["request"] == before


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_family_gets_a_request_that_its_schema_allows(path):
    record = recorded(path)
    for model in FAMILIES:
        made = outcome(record["request"], record["path"], model)
        if "error" in record["expected"]:
            assert made == record["expected"]
            continue
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(made["request"])] == []
        assert_sound(made["request"], model)
        assert "stopSequences" not in made["request"].get("generationConfig", {})
        assert "cache_control" not in json.dumps(made["request"].get("tools", []))


@pytest.mark.parametrize("model", [*FAMILIES, "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemma-4-31b-it"])
def test_the_emulated_upstream_takes_them_all(model):
    taken = 0
    for path in FILES:
        record = recorded(path)
        made = outcome(record["request"], record["path"], model)
        if "request" in made:
            validate.check(parse("GenerateContentRequest", made["request"]), MODELS[model], stream=True)
            taken += 1
    assert taken >= 160


def test_the_recordings_are_many_and_from_many_places():
    records = [recorded(path) for path in FILES]
    assert len([record for record in records if "request" in record["expected"]]) >= 160
    assert len({record["source"] for record in records}) >= 12
    assert {record["model"] for record in records} == set(FAMILIES)
    assert {record["path"] for record in records} == {"/v1/messages", COUNT}
    assert all(record["license"] and record["source_path"] for record in records)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_bodies_pass_the_gateways_own_json_guard(path):
    body = recorded(path)["request"]
    decoded = decode_object(json.dumps(body).encode())
    assert requested_model(decoded) == body["model"]
    assert wants_stream(decoded) is bool(body.get("stream"))
    assert signature_keys(decoded) == signature_keys(body)


def regenerate() -> None:
    for path in FILES:
        record = recorded(path)
        record["expected"] = outcome(record["request"], record["path"], record["model"])
        path.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    regenerate()
