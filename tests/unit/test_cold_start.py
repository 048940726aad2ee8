"""What a hot handler imports is the user's wait."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from shared.http1 import tls_context

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "USAGE_TABLE": "t",
    "KEY_PARAMETER_PREFIX": "/gw/test/keys/",
    "PEPPER_SECRET_ID": "gw/test/pepper",
    "SETTLE_QUEUE_URL": "https://queue.example/q",
}


@pytest.mark.parametrize("module", ["handlers.chat_completions", "handlers.gateway"])
def test_a_streaming_handler_leaves_the_heavy_libraries_out(module):
    code = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "starlette" in loaded
    assert loaded.isdisjoint(
        {"fastapi", "pydantic", "boto3", "botocore", "genai_prices", "h11", "mangum", "typer", "uvicorn", "yaml"}
    )


OF_THE_RESPONSES_API = {
    "shared.gateway.memory", "shared.gateway.sealing", "shared.stores.lambda_invoke", "shared.stores.responses",
}  # fmt: skip
OF_NO_STREAMING_FUNCTION = {  # as deployed by default
    "html", "http.server", "importlib.resources", "shared.gateway.grounding_links", "shared.stores.secrets_keys",
    "starlette.applications", "zipfile",
}  # fmt: skip


@pytest.mark.parametrize("name", ["chat_completions", "messages", "responses", "generate_content"])
def test_a_streaming_handler_loads_what_its_own_endpoints_need(name):
    code = f"import handlers.{name}, sys, json; print(json.dumps(sorted(sys.modules)))"
    environment = ENVIRONMENT | {"GEMINI_BASE_URL": "https://upstream.example"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert loaded & (OF_THE_RESPONSES_API | OF_NO_STREAMING_FUNCTION) == (
        OF_THE_RESPONSES_API if name == "responses" else set()
    )


def test_the_roots_of_trust_are_certifis():
    trusted = ssl.create_default_context(cafile=certifi.where()).get_ca_certs(binary_form=True)
    assert sorted(tls_context().get_ca_certs(binary_form=True)) == sorted(trusted)
    assert len(trusted) > 100


def test_a_function_without_its_configuration_says_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-c", "import handlers.chat_completions"], cwd=ROOT, env={}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "USAGE_TABLE, KEY_PARAMETER_PREFIX" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "traced"), [({}, False), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True)]
)
def test_spans_are_loaded_only_where_a_collector_is_named(more, traced):
    code = "import handlers.chat_completions, sys; print('shared.gateway.tracing' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT | more, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(traced)
