"""What neither cfn-lint nor a local engine would notice about template.yaml, and what the role may do.

The real template gives no rule cause to complain; for each rule a fault is injected, which must be complained about.
"""

import copy
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit import template_rules as rules
from tests.unit.template_rules import ALLOWED, PROJECT, Template, as_list, functions, load, statements


def put(*path: str, value: Any) -> Callable[[Template], None]:
    def fault(template: Template) -> None:
        place = template
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = value

    return fault


def drop(*path: str) -> Callable[[Template], None]:
    def fault(template: Template) -> None:
        place = template
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return fault


def grant(action: str, resource: Any) -> Callable[[Template], None]:
    def fault(template: Template) -> None:
        document = template["Resources"]["DataPlaneRole"]["Properties"]["Policies"][0]["PolicyDocument"]
        document["Statement"].append({"Effect": "Allow", "Action": action, "Resource": resource})

    return fault


def drop_effect(template: Template) -> None:
    del template["Resources"]["DataPlaneRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][0]["Effect"]


CHAT = ("Resources", "ChatCompletionsFunction", "Properties")
MAINTENANCE = ("Resources", "MaintenanceFunction", "Properties")
TABLE = ("Resources", "UsageTable")
ROLE = ("Resources", "DataPlaneRole", "Properties")
PEPPER = ("Resources", "PepperSecret")
SCHEDULE = {"Tick": {"Type": "Schedule", "Properties": {"Schedule": "rate(5 minute)"}}}
CONSUMER = {"Settle": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["SettleQueue", "Arn"]}}}}

ANYONE = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}

RULES: list[tuple[Callable[[Template], Iterator[str]], list[Callable[[Template], None]]]] = [
    (
        rules.runtimes,
        [
            put(*CHAT, "Runtime", value="python3.99"),
            put("Parameters", "PythonRuntime", "AllowedValues", value=["python3.11"]),
        ],
    ),
    (rules.timeouts, [put("Globals", "Function", "Timeout", value=901), put(*CHAT, "Timeout", value=0)]),
    (rules.environment_size, [put(*CHAT, "Environment", value={"Variables": {"A": "x" * 3_500}})]),
    (
        rules.invoke_modes,
        [
            put(*CHAT, "FunctionUrlConfig", "InvokeMode", value="RESPONSE_STREAMING"),
            drop(*CHAT, "FunctionUrlConfig", "InvokeMode"),
        ],
    ),
    (rules.snap_start, [put("Globals", "Function", "AutoPublishAlias", value="live")]),
    (rules.schedules, [put(*CHAT, "Events", value=SCHEDULE)]),
    (
        rules.visibility,
        [
            put(*CHAT, "Events", value=CONSUMER),
            drop(*MAINTENANCE, "Events", "Settlements", "Properties", "FunctionResponseTypes"),
            put(*MAINTENANCE, "Timeout", value=61),
        ],
    ),
    (rules.statement_shapes, [drop_effect]),
    (
        rules.least_privilege,
        [
            grant("dynamodb:Scan", {"Fn::GetAtt": ["UsageTable", "Arn"]}),
            grant("dynamodb:GetItem", "*"),
            grant("ssm:GetParameter", {"Fn::Sub": "arn:aws:ssm:::parameter/*"}),
            grant("kms:Decrypt", {"Fn::Sub": "arn:aws:kms:us-east-1:1:key/*"}),
            grant("kms:Encrypt", {"Fn::Sub": "arn:aws:kms:us-east-1:1:key/*"}),
            put(*ROLE, "ManagedPolicyArns", value=["arn:aws:iam::aws:policy/AdministratorAccess"]),
            put(*ROLE, "AssumeRolePolicyDocument", "Statement", value=[ANYONE]),
        ],
    ),
    (rules.roles, [drop(*CHAT, "Role"), put(*CHAT, "Policies", value=["AmazonDynamoDBFullAccess"])]),
    (
        rules.secrets_in_variables,
        [
            put("Globals", "Function", "Environment", "Variables", "KEYS", value={"Ref": "GeminiApiKeys"}),
            put(*CHAT, "Environment", value={"Variables": {"P": "{{resolve:secretsmanager:gw/prod/pepper}}"}}),
        ],
    ),
    (rules.secret_parameters, [drop("Parameters", "GeminiApiKeys", "NoEcho")]),
    (
        rules.generated_secrets,
        [
            drop(*PEPPER, "Properties", "Name"),
            drop(*PEPPER, "Properties", "GenerateSecretString", "ExcludePunctuation"),
            put(*PEPPER, "Properties", "GenerateSecretString", "ExcludeCharacters", value=","),
        ],
    ),
    (
        rules.tables,
        [
            drop(*TABLE, "DeletionPolicy"),
            drop(*TABLE, "UpdateReplacePolicy"),
            drop(*TABLE, "Properties", "TimeToLiveSpecification"),
            put(*TABLE, "Properties", "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled", value=False),
        ],
    ),
    (rules.pepper, [drop(*PEPPER, "DeletionPolicy")]),
    (
        rules.log_groups,
        [
            drop("Resources", "ChatCompletionsLogGroup", "Properties", "RetentionInDays"),
            drop(*CHAT, "LoggingConfig", "LogGroup"),
        ],
    ),
    (
        rules.queues,
        [
            drop("Resources", "SettleQueue", "Properties", "RedrivePolicy"),
            drop("Resources", "SettleDeadLetterQueue", "Properties", "SqsManagedSseEnabled"),
        ],
    ),
    (
        rules.builds,
        [
            drop("Resources", "ChatCompletionsFunction", "Metadata"),
            put(*CHAT, "InlineCode", value="x"),
            drop("Globals", "Function", "ReservedConcurrentExecutions"),
        ],
    ),
    (rules.alarms, [drop("Resources", "SettleDeadLetterAlarm")]),
    (rules.nested, [put("Resources", "Edge", value={"Type": "AWS::CloudFormation::Stack"})]),
    (
        rules.parameters,
        [
            put("Parameters", "New", value={"Type": "String", "AllowedPattern": "x", "Description": "y"}),
            drop("Parameters", "Stage", "AllowedPattern"),
        ],
    ),
    (
        rules.outputs,
        [drop("Outputs", "UsageTableName", "Description"), put("Outputs", "OpenAIBaseUrl", "Value", value="https://x")],
    ),
]


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES], ids=lambda rule: rule.__name__)
def test_template_keeps(rule: Callable[[Template], Iterator[str]]) -> None:
    assert list(rule(load())) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [(rule, fault) for rule, faults in RULES for fault in faults],
    ids=[f"{rule.__name__}-{number}" for rule, faults in RULES for number, _ in enumerate(faults)],
)
def test_fault_is_seen(rule: Callable[[Template], Iterator[str]], fault: Callable[[Template], None]) -> None:
    template = copy.deepcopy(load())
    fault(template)
    assert list(rule(template))


def test_every_allowed_action_is_granted() -> None:
    granted: dict[str, set[str]] = {name: set() for name in ALLOWED}
    for name, statement in statements(load()):
        if "Principal" not in statement:
            granted[name] |= set(as_list(statement["Action"]))
    assert granted == {name: set(actions) for name, actions in ALLOWED.items()}


def test_names_of_the_variables_are_fixed() -> None:
    assert {
        "STAGE", "USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "GEMINI_POOL_SECRET_ID", "SETTLE_QUEUE_URL",
        "GEMINI_BASE_URL", "AWS_ENDPOINT_URL", "FORCE_STREAM", "LOG_LEVEL", "AWS_LAMBDA_EXEC_WRAPPER",
    } <= set(load()["Globals"]["Function"]["Environment"]["Variables"])  # fmt: skip


def test_no_value_of_ours_hides_an_engines_endpoint() -> None:
    """A literal empty AWS_ENDPOINT_URL would override what a local engine sets: the function would call real AWS."""
    variables = load()["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL"] == {"Ref": "AwsEndpointUrl"}
    assert load()["Parameters"]["AwsEndpointUrl"]["Default"] == ""


def test_keys_of_the_table() -> None:
    properties = load()["Resources"]["UsageTable"]["Properties"]
    assert [key["AttributeName"] for key in properties["KeySchema"]] == ["pk", "sk"]
    (index,) = properties["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "GSI1"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["gsi1pk", "gsi1sk"]
    assert index["Projection"] == {"ProjectionType": "ALL"}


@pytest.mark.parametrize("keys", ["", "AIzaSyA-b_1", "AQ.Ab8_x-y,AIzaSyA"])
def test_gemini_keys_fit_their_pattern_and_the_secret_is_json(keys: str) -> None:
    template = load()
    assert re.fullmatch(template["Parameters"]["GeminiApiKeys"]["AllowedPattern"], keys)
    text = template["Resources"]["GeminiPoolSecret"]["Properties"]["SecretString"]["Fn::Sub"]
    assert json.loads(text.replace("${GeminiApiKeys}", keys)) == {"comma_separated": keys}


@pytest.mark.parametrize("keys", ['a","b', "a b", "a,", ",a", "a\nb"])
def test_what_would_break_the_secret_is_refused(keys: str) -> None:
    assert not re.fullmatch(load()["Parameters"]["GeminiApiKeys"]["AllowedPattern"], keys)


def test_handlers_can_be_imported_and_hold_an_application_where_a_url_leads_to_them() -> None:
    """As both loops see them; with a function's variables and nothing else in the environment. What has no URL has no
    application: our loop then hands over to AWS's own."""
    variables = {
        name: "x" for name, value in load()["Globals"]["Function"]["Environment"]["Variables"].items() if value
    }
    blank = (
        "GEMINI_BASE_URL",
        "KEY_STORE",
        "MODEL_ALIASES",
        "METERING_FAIL_MODE",
        "STRICT_PARAMETERS",
        "SAFETY_OFF",
        "STRICT_VERSION",
        "FAST_AS_PRIORITY",
        "GEMINI_AUTH_ERRORS",
        "AWS_ENDPOINT_URL",
    )
    variables |= dict.fromkeys(blank, "") | {"LOG_LEVEL": "INFO"}
    for function in functions(load()).values():
        module, _, name = function["Handler"].rpartition(".")
        sound = "callable(h.app) and callable(h.infer)" if "FunctionUrlConfig" in function else "not hasattr(h, 'app')"
        code = f"from {module} import {name} as h; assert callable(h) and {sound}"
        environment = {"PATH": os.environ["PATH"], **variables}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_schedule_says_what_the_maintenance_understands() -> None:
    events = functions(load())["MaintenanceFunction"]["Events"].values()
    tasks = {json.loads(event["Properties"]["Input"])["task"] for event in events if event["Type"] == "Schedule"}
    assert tasks == {"sweep", "reconcile"}


def test_the_first_key_command_is_one_our_command_line_knows() -> None:
    text = load()["Outputs"]["FirstKeyCommand"]["Value"]["Fn::Sub"].replace("${AWS::StackName}", "gemini-gateway")
    assert text.startswith(".venv/bin/python -m infra.cli ")
    command = [sys.executable, *text.split()[1:], "--help"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_samconfig_needs_no_questions() -> None:
    config = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    environments = {name: sections for name, sections in config.items() if isinstance(sections, dict)}
    assert {"default", "local"} <= set(environments)
    for sections in environments.values():
        deploy = sections["deploy"]["parameters"]
        assert set(deploy["capabilities"].split()) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
        assert deploy["resolve_s3"] is True
        assert sections["global"]["parameters"]["stack_name"]
        assert sections["build"]["parameters"]["build_in_source"] is True
        assert "GeminiApiKeys" not in deploy.get("parameter_overrides", "")
