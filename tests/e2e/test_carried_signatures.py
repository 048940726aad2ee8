"""A client that carries its reasoning items needs no memory of ours: another process, without the store, goes on."""

import json

import openai
import pytest

from infra.local.aws import ENVIRONMENT_FILE
from infra.local.emulator import EmulatorServer
from shared.stores.aws import Aws
from tests.running import running_gateway

MODEL = "gemini-3.8-flash"
CARRIED = ["reasoning.encrypted_content"]
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}
TURNS = [
    {"call": [{"name": "f", "args": {"x": 1}}, {"name": "f", "args": {"x": 2}}]},
    {"call": {"name": "f", "args": {"x": 3}}},
    {"text": "Done."},
]


def forget_signatures(state) -> int:
    """Deletes every stored signature; how many there were."""
    environment = json.loads((state / "aws" / ENVIRONMENT_FILE).read_text())
    aws = Aws(environment)
    table, client = environment["USAGE_TABLE"], aws.client("dynamodb")
    pages = client.get_paginator("scan").paginate(TableName=table)
    keys = [{name: item[name] for name in ("pk", "sk")} for page in pages for item in page["Items"]]
    stored = [key for key in keys if key["pk"]["S"].startswith("S#")]
    for key in stored:
        client.delete_item(TableName=table, Key=key)
    aws.close()
    return len(stored)


@pytest.mark.slow
def test_carried_signatures_outlive_the_process_and_the_store(tmp_path):
    task = [{"role": "user", "content": "Go.\n@emulator " + json.dumps({"turns": TURNS})}]
    items, rounds = list(task), 0
    with EmulatorServer() as upstream:
        environment = {"GEMINI_API_KEY": "test-upstream-key", "GEMINI_BASE_URL": upstream.base_url}
        answer = None
        while answer is None or not answer.output_text:
            with running_gateway(tmp_path / "state", environment) as gateway:
                assert (forget_signatures(gateway.state) > 0) is (rounds > 0)
                client = openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.client_key, max_retries=0)
                with client:
                    answer = client.responses.create(
                        model=MODEL, input=items, tools=[TOOL], store=False, include=CARRIED
                    )
            items += [item.model_dump(exclude_none=True) for item in answer.output]
            for call in answer.output:
                if call.type == "function_call":
                    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "ok"})
            rounds += 1
            assert rounds <= len(TURNS)
        sent = [record["body"] for record in upstream.requests]
    assert (answer.output_text, rounds) == ("Done.", 3)
    assert "skip_thought_signature_validator" not in json.dumps(sent)
    signed = [part for turn in sent[-1]["contents"] for part in turn["parts"] if "thoughtSignature" in part]
    assert [part["functionCall"]["args"]["x"] for part in signed] == [1, 3]
