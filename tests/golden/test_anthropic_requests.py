"""Recorded Anthropic message requests, translated: each file of `anthropic_requests/` holds a client's body, the Gemini
model it is sent to here, and what must come out.

After a wanted change of the translation, `python -m tests.golden.test_anthropic_requests` writes the outcomes anew; the
diff is then to be read. Sources and licences stand in each file. Base64 media are replaced by tiny valid ones, foreign
signatures and text over 1,500 characters are cut.
"""

import copy
import json

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
from tests.golden.recorded_requests import (
    FAMILIES,
    Record,
    assert_every_family_accepts,
    assert_guarded,
    assert_many,
    recorded,
    recordings,
    regenerate,
    told,
)
from tests.golden.upstream_rules import DAY

FILES = recordings("anthropic_requests")
COUNT = "/v1/messages/count_tokens"


def outcome(record: Record, model: str) -> Record:
    body = record["request"]
    context = RequestContext(resolve(model, DAY), {})
    try:
        if record["path"] == COUNT:
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
    return told(done.request, notes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_request_gives_the_expected_one(path):
    record = recorded(path)
    before = copy.deepcopy(record["request"])
    assert outcome(record, record["model"]) == record["expected"]
    assert record["request"] == before


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_family_gets_a_request_that_its_schema_allows(path):
    for request in assert_every_family_accepts(recorded(path), outcome):
        assert "stopSequences" not in request.get("generationConfig", {})
        assert "cache_control" not in json.dumps(request.get("tools", []))


@pytest.mark.parametrize("model", [*FAMILIES, "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemma-4-31b-it"])
def test_the_emulated_upstream_takes_them_all(model):
    taken = 0
    for path in FILES:
        record = recorded(path)
        made = outcome(record, model)
        if "request" in made:
            validate.check(parse("GenerateContentRequest", made["request"]), MODELS[model], stream=True)
            taken += 1
    assert taken >= 160


def test_the_recordings_are_many_and_from_many_places():
    assert_many(FILES, translated=160, sources=12)
    assert {record["path"] for record in map(recorded, FILES)} == {"/v1/messages", COUNT}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_bodies_pass_the_gateways_own_json_guard(path):
    decoded = assert_guarded(path, wants_stream, signature_keys)
    assert requested_model(decoded) == recorded(path)["request"]["model"]


if __name__ == "__main__":
    regenerate(FILES, outcome)
