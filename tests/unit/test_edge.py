"""Every path of the gateway, sent through the distribution's behaviours, arrives at a function that serves it."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from shared.gateway.registry import ROWS, Row
from tests.unit.template_rules import PROJECT, functions, load

VARIABLES = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "GEMINI_POOL_SECRET_ID", "SETTLE_QUEUE_URL")
# asked inside AWS only, with a ticket
INTERNAL = ("/internal/responses/run",)
CONTROL = (
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys/abc/rotate"),
    ("GET", "/admin/usage/requests"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/usage/requests"),
    ("GET", "/console"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
)
PROBES = (("GET", "/"), ("HEAD", "/"), ("GET", "/api/hello"), ("POST", "/api/event_logging/batch"), ("GET", "/health"))


def examples(row: Row) -> list[tuple[str, str]]:
    """What clients ask for by this row: each method, with the longest and the shortest of what the braces stand for."""
    long = {"name": "gemini-3.6-flash:streamGenerateContent", "model": "publishers/google/models/gemini-3.6-flash"}
    short = {"name": "text-embedding-004:embedContent", "model": "gpt-4o"}
    paths = {
        re.sub(r"\{(\w+)(?::path)?\}", lambda match, words=words: words.get(match[1], "a-1"), row.path)
        for words in (long, short)
    }
    return [(method, path) for method in row.methods for path in sorted(paths)]


def asked() -> list[tuple[str, str]]:
    rows = [pair for row in ROWS if row.path not in INTERNAL for pair in examples(row)]
    return [*rows, *CONTROL, *PROBES]


def destination(path: str) -> str:
    """The first pattern that matches, as CloudFront does it: `*` and `?` stand for anything, slashes too."""
    config = load("infra/edge.yaml")["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    for behaviour in config["CacheBehaviors"]:
        pattern = re.escape(behaviour["PathPattern"]).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(pattern, path, re.DOTALL):
            return behaviour["TargetOriginId"]
    return config["DefaultCacheBehavior"]["TargetOriginId"]


def origins() -> dict[str, str]:
    """Origin -> logical id of the function whose host it names."""
    hosts = {
        name: re.findall(r'"(\w+)FunctionUrl', json.dumps(output["Value"]))
        for name, output in load()["Outputs"].items()
        if name.endswith("Host")
    }
    found = {}
    for origin in load("infra/edge.yaml")["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["Origins"]:
        host = origin["DomainName"]["Fn::ImportValue"]["Fn::Sub"][0].removeprefix("${Stack}-")
        single, own = hosts[host]
        assert single == "Gateway"
        found[origin["Id"]] = f"{own}Function"
    return found


def unserved(requests: dict[str, list[tuple[str, str]]]) -> list[list[str]]:
    """Handler -> what it is asked; returns what no route of the handler's application takes."""
    code = """
import importlib, json, sys
from starlette.routing import Match
asked, missing = json.load(sys.stdin), []
for name, pairs in asked.items():
    app = importlib.import_module(name.rpartition(".")[0]).handler.app
    routes = getattr(app, "data", app).routes
    for method, path in pairs:
        scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
        if not any(route.matches(scope)[0] is Match.FULL for route in routes):
            missing.append([name, method, path])
print(json.dumps(missing))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **dict.fromkeys(VARIABLES, "x")},
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missing: list[list[str]] = json.loads(done.stdout)
    return missing


@pytest.fixture(scope="module")
def handlers() -> dict[str, str]:
    """Origin -> handler."""
    template: dict[str, Any] = functions(load())
    return {origin: template[function]["Handler"] for origin, function in origins().items()}


def test_every_path_reaches_a_function_that_serves_it(handlers: dict[str, str]) -> None:
    requests: dict[str, list[tuple[str, str]]] = {}
    for method, path in asked():
        requests.setdefault(handlers[destination(path)], []).append((method, path))
    assert unserved(requests) == []
    assert set(requests) == set(handlers.values())  # no function waits in vain


def test_the_check_can_fail(handlers: dict[str, str]) -> None:
    wrong = ("POST", "/v1/messages")
    assert unserved({handlers["Embeddings"]: [wrong]}) == [[handlers["Embeddings"], *wrong]]


def test_one_function_serves_every_path() -> None:
    """Its data plane; that the control plane's paths leave it is proven with the front door."""
    requests = [pair for pair in asked() if pair not in CONTROL]
    assert unserved({"handlers.gateway.handler": requests}) == []


def test_methods_of_google_go_to_googles_function_under_v1_too() -> None:
    assert destination("/v1/models/gemini-3.6-flash:generateContent") == "GenerateContent"
    assert destination("/v1/models/gemini-3.6-flash") == "Models"
    assert destination("/v1beta/models/gemini-3.6-flash") == "GenerateContent"


@pytest.mark.parametrize("path", INTERNAL)
def test_what_is_internal_reaches_no_function_that_serves_it(path: str, handlers: dict[str, str]) -> None:
    handler = handlers[destination(path)]
    assert unserved({handler: [("POST", path)]}) == [[handler, "POST", path]]
