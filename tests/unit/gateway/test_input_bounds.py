"""The rules for every dialect's body."""

from typing import Any

import pytest
from msgspec import structs

from shared.errors import GatewayError
from shared.gateway.input_bounds import MAX_TOOLS, check_tools, refuse_routing
from shared.gateway.settings import ConfigurationError, Settings
from shared.stores.protocols import KeyRecord

KEY = KeyRecord(kid="k", acct="a", hash="h", pepper_id="p")


def functions(count: int, schema: Any = None) -> Any:
    declared = {"parametersJsonSchema": schema} if schema is not None else {}
    return {"tools": [{"functionDeclarations": [{"name": f"f{number}", **declared} for number in range(count)]}]}


def test_code_runs_for_keys_that_may() -> None:
    request: Any = {"tools": [{"codeExecution": {}}]}
    check_tools(request, KEY)
    with pytest.raises(GatewayError) as caught:
        check_tools(request, structs.replace(KEY, code_exec=False))
    assert caught.value.kind == "feature_not_allowed"
    check_tools(functions(1), structs.replace(KEY, code_exec=False))


def test_functions_are_counted_over_all_tools() -> None:
    check_tools(functions(MAX_TOOLS), KEY)
    two: Any = {"tools": functions(MAX_TOOLS)["tools"] + functions(1)["tools"]}
    with pytest.raises(GatewayError):
        check_tools(two, KEY)


@pytest.mark.parametrize(
    "schema",
    [
        {"description": "x" * (128 * 1024)},
        {"enum": [str(number) for number in range(1_001)]},
        {"properties": {"a": {"enum": ["x"] * 600}, "b": {"items": {"enum": ["y"] * 600}}}},
    ],
)
def test_schemas_nobody_translates_are_bounded_too(schema: Any) -> None:
    check_tools(functions(1, schema), KEY)
    with pytest.raises(GatewayError) as caught:
        check_tools(functions(1, schema), KEY, schemas=True)
    assert (caught.value.kind, caught.value.param) == ("invalid_request", "tools")


def test_routing_is_not_the_client_s() -> None:
    refuse_routing({"model": "x", "api_base": None})
    with pytest.raises(GatewayError) as caught:
        refuse_routing({"api_base": "http://127.0.0.1"})
    assert (caught.value.kind, caught.value.param) == ("unsupported_parameter", "api_base")


def test_the_fetcher_s_switch() -> None:
    assert Settings.from_env({}).url_fetch == "on"
    assert Settings.from_env({"URL_FETCH": "off"}).url_fetch == "off"
    assert Settings.from_env({"URL_FETCH": "https"}).url_fetch == "https"
    with pytest.raises(ConfigurationError):
        Settings.from_env({"URL_FETCH": "maybe"})
