"""Recorded Responses requests, translated: each file of `responses_requests/` holds a client's body, the Gemini model
it is sent to here, and what must come out. Of kept responses that a body builds on only the calls it answers are known.

After a wanted change of the translation, `python -m tests.golden.test_responses_requests` writes the outcomes anew; the
diff is then to be read. Sources and licences stand in each file. Media are replaced by tiny valid ones, text over 3,000
characters is cut.
"""

from typing import Any

import pytest

from shared.dialects.contract import RequestContext
from shared.dialects.openai_responses import requested_model, signature_keys, state_refs, to_gemini, wants_stream
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

FILES = recordings("responses_requests")
CALL = {"type": "function_call", "name": "earlier"}


def kept_before(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls that a body answers out of a response it builds upon."""
    if not body.get("previous_response_id") or not isinstance(body["input"], list):
        return []
    made = {item.get("call_id") for item in body["input"] if not str(item.get("type", "")).endswith("_output")}
    ids = [item["call_id"] for item in body["input"] if str(item.get("type", "")).endswith("_output")]
    return [{**CALL, "call_id": call_id, "arguments": "{}"} for call_id in dict.fromkeys(ids) if call_id not in made]


def outcome(record: Record, model: str) -> Record:
    body = {**record["request"], "model": model}
    references = {item_id: {"role": "assistant", "content": "Earlier."} for item_id in state_refs(body).items}
    context = RequestContext(resolve(requested_model(body), DAY), {}, history=kept_before(body), references=references)
    try:
        done = to_gemini(body, context)
    except GatewayError as error:
        return {"error": {"kind": error.kind, "param": error.param}}
    notes = {
        "warnings": done.warnings,
        "tool_names": done.tool_names,
        "single_call": done.single_call,
        "echo_prefix": done.echo_prefix,
        "unfence_json": done.unfence_json,
        "include": sorted(done.options.include),
        "kinds": {name: [kind.form, kind.namespace] for name, kind in done.options.kinds.items()},
        "transformations": [item["reason"] for item in done.options.transformations],
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
    assert_many(FILES, translated=120, sources=12)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_bodies_pass_the_gateways_own_json_guard(path):
    assert_guarded(path, wants_stream, signature_keys)


if __name__ == "__main__":
    regenerate(FILES, outcome)
