"""What neither cfn-lint nor a local engine would notice about the templates, and what each role may do.

The real templates give no rule cause to complain; for each rule a fault is injected, which must be complained about.
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

from shared.gateway.settings import Settings
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
        document = template["Resources"]["ServePolicy"]["Properties"]["PolicyDocument"]
        document["Statement"].append({"Effect": "Allow", "Action": action, "Resource": resource})

    return fault


def drop_effect(template: Template) -> None:
    del template["Resources"]["ServePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]["Effect"]


def change(index: int, name: str, value: Any, where: str = "CacheBehaviors") -> Callable[[Template], None]:
    """In a list of the distribution's configuration."""

    def fault(template: Template) -> None:
        template["Resources"]["Distribution"]["Properties"]["DistributionConfig"][where][index][name] = value

    return fault


CHAT = ("Resources", "ChatCompletionsFunction", "Properties")
MAINTENANCE = ("Resources", "MaintenanceFunction", "Properties")
TABLE = ("Resources", "UsageTable")
ROLE = ("Resources", "DataPlaneRole", "Properties")
PEPPER = ("Resources", "PepperSecret")
BUCKET = ("Resources", "UploadBucket")
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
            put(*ROLE, "ManagedPolicyArns", value=[{"Ref": "AddressPolicy"}, {"Ref": "OperatePolicy"}]),
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
        rules.buckets,
        [
            drop(*BUCKET, "DeletionPolicy"),
            drop(*BUCKET, "Properties", "BucketEncryption"),
            put(*BUCKET, "Properties", "PublicAccessBlockConfiguration", "BlockPublicAcls", value=False),
            drop(*BUCKET, "Properties", "LifecycleConfiguration"),
            drop("Resources", "UploadBucketPolicy"),
        ],
    ),
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
        [
            drop("Outputs", "UsageTableName", "Description"),
            put("Outputs", "OpenAIBaseUrl", "Value", "Fn::If", value=["Single", "https://x", "https://x"]),
            put("Outputs", "ModelsHost", "Export", "Name", value={"Fn::Sub": "${AWS::StackName}-Models"}),
        ],
    ),
    (
        rules.shapes,
        [
            drop("Resources", "ChatCompletionsFunction", "Condition"),
            drop("Resources", "ChatCompletionsLogGroup", "Condition"),
            put(*CHAT, "LoggingConfig", "LogGroup", "Ref", value="ControlLogGroup"),
        ],
    ),
]

BESIDE: list[tuple[str, Callable[[Template], Iterator[str]], list[Callable[[Template], None]]]] = [
    (
        "infra/edge.yaml",
        rules.behaviours,
        [
            change(0, "CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6"),
            change(1, "Compress", True),
            change(2, "AllowedMethods", ["GET", "HEAD"]),
            put("Resources", "Own", value={"Type": "AWS::CloudFront::OriginRequestPolicy"}),
        ],
    ),
    (
        "infra/edge.yaml",
        rules.origins,
        [
            put("Parameters", "OriginReadTimeout", "MaxValue", value=500),
            change(0, "OriginCustomHeaders", [{"HeaderName": "host", "HeaderValue": "x"}], "Origins"),
        ],
    ),
    (
        "infra/edge.yaml",
        rules.imports,
        [change(0, "DomainName", {"Fn::ImportValue": {"Fn::Sub": "${AppStack}-NobodyHost"}}, "Origins")],
    ),
    (
        "infra/observability.yaml",
        rules.imports,
        [put("Resources", "SlowAlarm", value={"Fn::ImportValue": {"Fn::Sub": "${AppStack}-Nothing"}})],
    ),
    (
        "infra/observability.yaml",
        rules.watched,
        [
            drop("Resources", "SettleDeadLetterAlarm"),
            drop("Resources", "SpendAlarm", "Properties", "AlarmActions"),
            drop("Resources", "SlowAlarm", "Properties", "TreatMissingData"),
            drop("Resources", "Budget", "Condition"),
        ],
    ),
    (
        "infra/snapstart.yaml",
        rules.imports,
        [put("Resources", "ModelsVersion", value={"Fn::ImportValue": {"Fn::Sub": "${AppStack}-ModelsName"}})],
    ),
    (
        "infra/snapstart.yaml",
        rules.published,
        [
            put("Resources", "MessagesUrl", "Properties", "InvokeMode", value="BUFFERED"),
            drop("Resources", "MessagesUrl", "DependsOn"),
            drop("Resources", "GatewayInvokePermission"),
            drop("Outputs", "ModelsHost"),
        ],
    ),
    *(
        (
            name,
            rule,
            [put("Resources", "Inner", value={"Type": "AWS::CloudFormation::Stack"})]
            if rule is rules.nested
            else [drop("Parameters", "AppStack", "Description")],
        )
        for name in rules.BESIDE
        for rule in (rules.nested, rules.parameters)
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


@pytest.mark.parametrize(("name", "rule"), [(name, rule) for name, rule, _ in BESIDE])
def test_stack_beside_keeps(name: str, rule: Callable[[Template], Iterator[str]]) -> None:
    assert list(rule(load(name))) == []


@pytest.mark.parametrize(
    ("name", "rule", "fault"), [(name, rule, fault) for name, rule, faults in BESIDE for fault in faults]
)
def test_fault_of_a_stack_beside_is_seen(
    name: str, rule: Callable[[Template], Iterator[str]], fault: Callable[[Template], None]
) -> None:
    template = copy.deepcopy(load(name))
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


# settings that no deployment has a reason to change, and what only a laptop has
UNDECLARED = {
    "COMMIT_AFTER_SECONDS", "DEFAULT_OUTPUT_RESERVATION", "HEARTBEAT_SECONDS", "MAX_BODY_BYTES", "MAX_HOPS",
    "REQUEST_TIMEOUT_SECONDS", "UPSTREAM_CONNECT_SECONDS", "UPSTREAM_WHOLE_SECONDS", "UPSTREAM_WRITE_SECONDS",
}  # fmt: skip


def defaults() -> dict[str, str]:
    """The functions' variables as a deployment without any parameter has them; "x" for what only AWS knows."""
    template = load()
    parameters = {name: str(parameter.get("Default", "x")) for name, parameter in template["Parameters"].items()}
    return {
        name: parameters.get(value.get("Ref"), "x") if isinstance(value, dict) else value
        for name, value in template["Globals"]["Function"]["Environment"]["Variables"].items()
    }


def test_every_setting_can_be_set_by_a_deployment() -> None:
    text = (PROJECT / "shared" / "gateway" / "settings.py").read_text()
    names = set(re.findall(r'\b(?:text|flag|number)\(\s*"([A-Z_]+)"', text))
    assert len(names) > 20
    assert names - set(defaults()) == UNDECLARED


def test_a_deployment_without_parameters_has_the_defaults_of_the_code() -> None:
    assert Settings.from_env(defaults()) == Settings.from_env({"STAGE": "prod"})


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
    variables = defaults()
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
    assert tasks == {"sweep", "reconcile", "recount", "compare_billing"}


def test_the_first_key_command_is_one_our_command_line_knows() -> None:
    text = load()["Outputs"]["FirstKeyCommand"]["Value"]["Fn::Sub"].replace("${AWS::StackName}", "gemini-gateway")
    assert text.startswith(".venv/bin/python -m infra.cli ")
    command = [sys.executable, *text.split()[1:], "--help"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_metric_of_ours_that_is_watched_is_written_somewhere() -> None:
    text = (PROJECT / "infra" / "observability.yaml").read_text()
    alarms = re.findall(r"Namespace: GeminiGateway\n\s+MetricName: (\w+)", text)
    shown = re.findall(r'"GeminiGateway", "(\w+)"', text)
    searched = re.findall(r'GeminiGateway,service,\w+\} MetricName=\\"(\w+)', text)
    assert len(alarms) > 10 and len(shown) > 15 and len(searched) > 3
    code = "".join(path.read_text() for path in (PROJECT / "shared" / "gateway").glob("*.py"))
    assert [name for name in {*alarms, *shown, *searched} if f'"{name}"' not in code] == []


def test_a_formula_that_adds_metrics_of_different_lines_fills_those_that_are_missing() -> None:
    """CloudWatch's arithmetic has no value where one side has none: without refusals there was no error rate."""
    alarms = load("infra/observability.yaml")["Resources"]
    for alarm in ("ServerErrorAlarm", "UpstreamLimitAlarm"):
        formula = alarms[alarm]["Properties"]["Metrics"][0]["Expression"]
        bare = re.sub(r"FILL\((\w+), 0\)", "filled", formula)
        assert not re.search(r"\b(refusals|limited|exhausted)\b", bare), formula
    assert not re.search(
        r"(?<!FILL\()\brequests\b", alarms["ServerErrorAlarm"]["Properties"]["Metrics"][0]["Expression"]
    )


def test_the_dashboard_is_json_and_shows_the_gateways_own_metrics() -> None:
    text, names = load("infra/observability.yaml")["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name in re.findall(r"\$\{([^}]+)\}", text):
        assert name in names or name in ("AppStack", "AWS::Region")
    widgets = json.loads(text)["widgets"]
    shown = json.dumps(widgets)
    assert {"Requests", "TtftMs", "CostNanoUsd", "UpstreamErrors"} <= set(re.findall(r"[A-Z][A-Za-z]+", shown))
    # DynamoDB publishes others, such as ThrottledRequests, for each operation of a table only
    of_tables = {line[1] for widget in widgets for line in widget["properties"]["metrics"] if line[0] == "AWS/DynamoDB"}
    assert of_tables == {f"Consumed{kind}CapacityUnits" for kind in ("Read", "Write")} | {
        f"{kind}ThrottleEvents" for kind in ("Read", "Write")
    }
    for widget in widgets:
        assert widget["x"] + widget["width"] <= 24


def test_samconfig_needs_no_questions() -> None:
    config = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    environments = {name: sections for name, sections in config.items() if isinstance(sections, dict)}
    assert {"default", "local", "edge", "observability"} <= set(environments)
    for sections in environments.values():
        deploy = sections["deploy"]["parameters"]
        assert set(deploy["capabilities"].split()) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}
        assert deploy["resolve_s3"] is True
        assert sections["global"]["parameters"]["stack_name"]
        if "template_file" in deploy:
            assert (PROJECT / deploy["template_file"]).is_file()
        else:
            assert sections["build"]["parameters"]["build_in_source"] is True
        assert "GeminiApiKeys" not in deploy.get("parameter_overrides", "")
