"""Recorded chat completion requests, translated: each file of `chat_requests/` holds a client's body, the Gemini model
it is sent to here, and what must come out.

After a wanted change of the translation, `python -m tests.golden.test_chat_requests` writes the outcomes anew; the diff
is then to be read. Sources and licences stand in each file. Long base64 is replaced by tiny valid media, text over
3,000 characters is cut.
"""

import pytest

from shared.dialects.contract import RequestContext
from shared.dialects.openai_chat.request import requested_model, signature_keys, to_gemini, wants_stream
from shared.errors import GatewayError
from shared.gemini.catalog import resolve
from tests.golden.recorded_requests import (
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

FILES = recordings("chat_requests")


def outcome(record: Record, model: str) -> Record:
    body = {**record["request"], "model": model}
    try:
        done = to_gemini(body, RequestContext(resolve(requested_model(body), DAY), {}))
    except GatewayError as error:
        return {"error": {"kind": error.kind, "param": error.param}}
    notes = {
        "choices": done.choices if done.choices > 1 else None,
        "warnings": done.warnings,
        "tool_names": done.tool_names,
        "single_call": done.single_call,
        "stop": list(done.stop),
        "echo_prefix": done.echo_prefix,
        "unfence_json": done.unfence_json,
        "include_usage": done.options.include_usage,
        "legacy_function_call": done.options.legacy_function_call,
        "custom_tools": sorted(done.options.custom_tools),
    }
    return told(done.request, notes)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_request_gives_the_expected_one(path):
    record = recorded(path)
    assert outcome(record, record["model"]) == record["expected"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_family_gets_a_request_that_its_schema_allows(path):
    assert_every_family_accepts(recorded(path), outcome)


def test_the_recordings_are_many_and_from_many_places():
    assert_many(FILES, translated=170, sources=15)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_bodies_pass_the_gateways_own_json_guard(path):
    assert_guarded(path, wants_stream, signature_keys)


if __name__ == "__main__":
    regenerate(FILES, outcome)
