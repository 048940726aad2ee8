"""The control plane held to its own description: generated requests, good and bad, against a running gateway.

The requests are schemathesis's, by its own strategies; its plugin for pytest is not used, since it does not know the
pytest of today.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
)

from tests.running import Gateway

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
OPERATIONS = {
    "create": "POST /admin/keys",
    "list": "GET /admin/keys",
    "read": "GET /admin/keys/{kid}",
    "change": "PATCH /admin/keys/{kid}",
    "revoke": "DELETE /admin/keys/{kid}",
    "rotate": "POST /admin/keys/{kid}/rotate",
    "usage": "GET /admin/usage",
    "requests": "GET /admin/usage/requests",
    "own usage": "GET /v1/usage",
    "own requests": "GET /v1/usage/requests",
}
COMMON = settings(max_examples=8, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def described(gateway: Gateway) -> Any:
    return schemathesis.openapi.from_url(f"{gateway.base_url}/openapi.json")


@pytest.fixture(scope="module")
def operations(described: Any) -> dict[str, Any]:
    found = (result.ok() for result in described.include(path_regex=r"^/(admin|v1/usage)").get_all_operations())
    return {operation.label: operation for operation in found}


def test_every_operation_is_tried(operations: dict[str, Any]) -> None:
    assert set(OPERATIONS.values()) == operations.keys()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_an_operation_answers_as_described(
    name: str, mode: GenerationMode, operations: dict[str, Any], gateway: Gateway
) -> None:
    operation = operations[OPERATIONS[name]]
    # unknown query parameters are ignored everywhere; a body is held to its schema
    checks = CHECKS if operation.method == "get" else [*CHECKS, negative_data_rejection]
    key = gateway.client_key if operation.path.startswith("/v1/") else gateway.admin_key

    @COMMON
    @given(st.data())
    def try_out(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        answer = case.call(headers={"authorization": f"Bearer {key}"})
        case.validate_response(answer, checks=checks)
        assert answer.headers["x-request-id"]
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "param"}

    try_out()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_wants_a_key(name: str, operations: dict[str, Any]) -> None:
    case = operations[OPERATIONS[name]].Case(path_parameters={"kid": "x"})
    assert case.call(headers={"authorization": "Bearer nothing"}).status_code in (401, 429)
