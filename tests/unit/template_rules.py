"""Rules for the templates beyond what cfn-lint checks: each is a function from a template to complaints."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.local.template import TemplateLoader

PROJECT = Path(__file__).parents[2]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
EVERY = re.compile(r"rate\((1 (minute|hour|day)|([2-9]|[1-9]\d+) (minutes|hours|days))\)|cron\((\S+ ){5}\S+\)")
Template = dict[str, Any]

LOG = {"logs:CreateLogStream": "LogGroup", "logs:PutLogEvents": "LogGroup"}
TRACE = {"xray:PutTelemetryRecords": "*", "xray:PutTraceSegments": "*"}

# The whole of what each policy allows, and which policies each role puts together. A new action is a decision: it is
# made here first.
ALLOWED = {
    "AddressPolicy": {"secretsmanager:GetSecretValue": ":secret:gw/${Stage}/origin-*", **TRACE},
    "ServePolicy": {
        "dynamodb:BatchGetItem": "UsageTable",
        "dynamodb:BatchWriteItem": "UsageTable",
        "dynamodb:ConditionCheckItem": "UsageTable",
        "dynamodb:GetItem": "UsageTable",
        "dynamodb:PutItem": "UsageTable",
        "dynamodb:UpdateItem": "UsageTable",
        "sqs:SendMessage": "SettleQueue",
        "ssm:GetParameter": ":parameter/gw/${Stage}/keys/*",
        "kms:Decrypt": ":key/*",
        "secretsmanager:GetSecretValue": ":secret:gw/${Stage}/",
        "s3:GetObject": "UploadBucket.Arn}/*",
        "s3:ListBucket": "UploadBucket",
    },
    "KeepPolicy": {
        "dynamodb:DeleteItem": "UsageTable",
        "dynamodb:Query": "UsageTable",
        "s3:DeleteObject": "UploadBucket.Arn}/*",
        "s3:PutObject": "UploadBucket.Arn}/*",
        "lambda:InvokeFunction": ":function:${AWS::StackName}-",
    },
    "OperatePolicy": {
        "dynamodb:BatchGetItem": "UsageTable",
        "dynamodb:GetItem": "UsageTable",
        "dynamodb:PutItem": "UsageTable",
        "dynamodb:Query": "UsageTable",
        "dynamodb:UpdateItem": "UsageTable",
        "ssm:GetParameter": ":parameter/gw/${Stage}/keys",
        "ssm:GetParametersByPath": ":parameter/gw/${Stage}/keys",
        "ssm:PutParameter": ":parameter/gw/${Stage}/keys",
        "kms:Decrypt": ":key/*",
        "kms:Encrypt": ":key/*",
        "secretsmanager:CreateSecret": ":secret:gw/${Stage}/keys/*",
        "secretsmanager:GetSecretValue": ":secret:gw/${Stage}/",
        "secretsmanager:ListSecrets": "*",
        "secretsmanager:PutSecretValue": ":secret:gw/${Stage}/keys/*",
        "secretsmanager:UpdateSecretVersionStage": ":secret:gw/${Stage}/keys/*",
    },
    "MaintainPolicy": {
        "dynamodb:BatchGetItem": "UsageTable",
        "dynamodb:GetItem": "UsageTable",
        "dynamodb:PutItem": "UsageTable",
        "dynamodb:Query": "UsageTable",
        "dynamodb:UpdateItem": "UsageTable",
        "ssm:GetParametersByPath": ":parameter/gw/${Stage}/keys",
        "kms:Decrypt": ":key/*",
        "secretsmanager:GetSecretValue": ":secret:gw/${Stage}/keys/*",
        "secretsmanager:ListSecrets": "*",
        "sqs:DeleteMessage": "SettleQueue",
        "sqs:GetQueueAttributes": "SettleQueue",
        "sqs:ReceiveMessage": "SettleQueue",
        "dynamodb:DescribeStream": "${UsageTable.Arn}/stream/*",
        "dynamodb:GetRecords": "${UsageTable.Arn}/stream/*",
        "dynamodb:GetShardIterator": "${UsageTable.Arn}/stream/*",
        "dynamodb:ListStreams": "${UsageTable.Arn}/stream/*",
        "s3:GetObject": "BilledCostsUri",
        "logs:DescribeLogGroups": ":log-group:*",
        "logs:FilterLogEvents": ":log-group:/gw/${Stage}/${AWS::StackName}/*",
        **TRACE,
    },
    "DataPlaneRole": LOG,
    "StatefulRole": LOG,
    "ControlRole": LOG,
    "GatewayRole": LOG,
    "MaintenanceRole": LOG,
}
ROLES = {
    "DataPlaneRole": {"AddressPolicy", "ServePolicy"},
    "StatefulRole": {"AddressPolicy", "ServePolicy", "KeepPolicy"},
    "ControlRole": {"AddressPolicy", "OperatePolicy"},
    # the union of the three
    "GatewayRole": {"AddressPolicy", "ServePolicy", "KeepPolicy", "OperatePolicy"},
    "MaintenanceRole": {"MaintainPolicy"},
}


BESIDE = ("infra/edge.yaml", "infra/observability.yaml", "infra/snapstart.yaml")  # the stacks around the application


def load(name: str = "template.yaml") -> Template:
    template: Template = yaml.load((PROJECT / name).read_text(), TemplateLoader)
    return template


def resources(template: Template, kind: str) -> dict[str, Any]:
    return {name: entry for name, entry in template["Resources"].items() if entry["Type"] == kind}


def functions(template: Template) -> dict[str, Template]:
    """Properties of every function, Globals merged in as SAM does it."""
    shared = template["Globals"]["Function"]
    merged = {}
    for name, entry in resources(template, "AWS::Serverless::Function").items():
        own = entry["Properties"]
        both = {key: {**shared[key], **own[key]} for key in own if isinstance(own[key], dict) and key in shared}
        merged[name] = {**shared, **own, **both}
    return merged


def can_be(value: Any, template: Template) -> list[Any]:
    """Every literal a property can have; nothing for what only AWS knows."""
    if not isinstance(value, dict):
        return [value]
    if "Fn::If" in value:
        return [item for arm in value["Fn::If"][1:] for item in can_be(arm, template)]
    parameter = template["Parameters"].get(value.get("Ref"), {})
    bounds = [parameter[key] for key in ("Default", "MinValue", "MaxValue") if key in parameter]
    return bounds + list(parameter.get("AllowedValues", []))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: Template) -> Iterator[tuple[str, Any]]:
    for name, policy in resources(template, "AWS::IAM::ManagedPolicy").items():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement
    for name, role in resources(template, "AWS::IAM::Role").items():
        properties = role["Properties"]
        for document in [
            *(policy["PolicyDocument"] for policy in properties["Policies"]),
            properties["AssumeRolePolicyDocument"],
        ]:
            for statement in document["Statement"]:
                yield name, statement


def runtimes(template: Template) -> Iterator[str]:
    for name, function in functions(template).items():
        for runtime in can_be(function["Runtime"], template):
            if runtime not in ("python3.12", "python3.13", "python3.14"):
                yield f"{name}: {runtime}"


def timeouts(template: Template) -> Iterator[str]:
    for name, function in functions(template).items():
        for seconds in can_be(function["Timeout"], template):
            if not 1 <= seconds <= 900:
                yield f"{name}: {seconds}"


def environment_size(template: Template) -> Iterator[str]:
    """Lambda allows 4 KB; what only AWS knows counts as 150."""
    for name, function in functions(template).items():
        size = 0
        for key, value in function["Environment"]["Variables"].items():
            literals = [len(str(literal)) for literal in can_be(value, template)]
            size += len(key) + max(literals, default=150)
        if size > 3_500:
            yield f"{name}: {size}"


def invoke_modes(template: Template) -> Iterator[str]:
    for name, function in functions(template).items():
        url = function.get("FunctionUrlConfig")
        if url and (url.get("InvokeMode"), url.get("AuthType")) != ("RESPONSE_STREAM", "NONE"):
            yield f"{name}: {url}"


def snap_start(template: Template) -> Iterator[str]:
    for name, function in functions(template).items():
        if "SnapStart" in function and "ProvisionedConcurrencyConfig" in function:
            yield f"{name}: both"
        if "AutoPublishAlias" in function:
            yield f"{name}: a changed parameter publishes no version"


def schedules(template: Template) -> Iterator[str]:
    for name, function in functions(template).items():
        for event in function.get("Events", {}).values():
            expression = event["Properties"].get("Schedule") or event["Properties"].get("ScheduleExpression")
            if expression is not None and not EVERY.fullmatch(expression):
                yield f"{name}: {expression}"


def visibility(template: Template) -> Iterator[str]:
    """A queue hides a message for at least six times as long as its consumer may take."""
    for name, function in functions(template).items():
        for event in function.get("Events", {}).values():
            source = event["Properties"].get("Queue", {}).get("Fn::GetAtt", [None])[0]
            if event["Type"] == "SQS":
                hidden = template["Resources"][source]["Properties"].get("VisibilityTimeout", 30)
                if event["Properties"].get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                    yield f"{name}: one failure would bring the whole batch again"
                if hidden < 6 * max(can_be(function["Timeout"], template)):
                    yield f"{name}: {source} {hidden}"


def statement_shapes(template: Template) -> Iterator[str]:
    for name, statement in statements(template):
        sound = statement.get("Effect") in ("Allow", "Deny") and "Action" in statement
        if not sound or not {"Resource", "Principal"} & set(statement):
            yield f"{name}: {statement}"


def least_privilege(template: Template) -> Iterator[str]:
    """No action outside ALLOWED, none on another resource, and no policy but those of ROLES, which are our own."""
    for name, role in resources(template, "AWS::IAM::Role").items():
        policies = {json.dumps(arn) for arn in role["Properties"].get("ManagedPolicyArns", [])}
        if policies != {json.dumps({"Ref": policy}) for policy in ROLES.get(name, ())}:
            yield f"{name}: other policies than decided"
    for name, statement in statements(template):
        if "Principal" in statement:
            if statement["Principal"] != {"Service": "lambda.amazonaws.com"}:
                yield f"{name}: assumed by {statement['Principal']}"
            continue
        for action in as_list(statement["Action"]):
            expected = ALLOWED.get(name, {}).get(action)
            for resource in as_list(statement["Resource"]):
                text = resource if isinstance(resource, str) else json.dumps(resource)
                if expected is None or expected not in text or (text == "*") != (expected == "*"):
                    yield f"{name}: {action} on {text}"
        if any(
            action.startswith("kms:") for action in as_list(statement["Action"])
        ) and "kms:ViaService" not in json.dumps(statement.get("Condition")):
            yield f"{name}: every key of the account"


def roles(template: Template) -> Iterator[str]:
    """SAM's own role would bring managed policies with `*`."""
    for name, function in functions(template).items():
        if "Fn::GetAtt" not in function.get("Role", {}) or "Policies" in function:
            yield name


def secrets_in_variables(template: Template) -> Iterator[str]:
    hidden = {name for name, parameter in template["Parameters"].items() if parameter.get("NoEcho")}
    hidden |= set(resources(template, "AWS::SecretsManager::Secret"))
    for name, function in functions(template).items():
        for key, value in function["Environment"]["Variables"].items():
            text = json.dumps(value)
            if "{{resolve:" in text or any(re.search(rf"\b{secret}\b", text) for secret in hidden):
                yield f"{name}: {key}"


def secret_parameters(template: Template) -> Iterator[str]:
    for name, parameter in template["Parameters"].items():
        if re.search("(?i)key|secret|token|password", name) and not parameter.get("NoEcho"):
            yield name


def generated_secrets(template: Template) -> Iterator[str]:
    for name, entry in resources(template, "AWS::SecretsManager::Secret").items():
        if "Name" not in entry["Properties"]:
            yield f"{name}: policies need its name"
        rules = entry["Properties"].get("GenerateSecretString")
        if rules and (rules.get("ExcludePunctuation"), rules.get("ExcludeCharacters")) != (True, PUNCTUATION):
            yield f"{name}: punctuation"


def tables(template: Template) -> Iterator[str]:
    """The engines drop TTL and point-in-time recovery without a word."""
    for name, entry in resources(template, "AWS::DynamoDB::Table").items():
        properties = entry["Properties"]
        if (entry.get("DeletionPolicy"), entry.get("UpdateReplacePolicy")) != ("Retain", "Retain"):
            yield f"{name}: not retained"
        for wanted in (
            {"BillingMode": "PAY_PER_REQUEST"},
            {"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True}},
            {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}},
            {"SSESpecification": {"SSEEnabled": True}},
            {"StreamSpecification": {"StreamViewType": "NEW_IMAGE"}},
        ):
            if not wanted.items() <= properties.items():
                yield f"{name}: {wanted}"


def buckets(template: Template) -> Iterator[str]:
    """Private, encrypted, over TLS, and empty after a day; an engine would drop all of it without a word."""
    policies = resources(template, "AWS::S3::BucketPolicy").values()
    for name, entry in resources(template, "AWS::S3::Bucket").items():
        properties = entry["Properties"]
        block = properties.get("PublicAccessBlockConfiguration", {})
        if len(block) != 4 or not all(block.values()):
            yield f"{name}: open"
        if "BucketEncryption" not in properties:
            yield f"{name}: not encrypted"
        rules = properties.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any(rule.get("ExpirationInDays") == 1 and rule["Status"] == "Enabled" for rule in rules):
            yield f"{name}: keeps what is of use for a day"
        if entry.get("DeletionPolicy") != "Retain":
            yield f"{name}: a stack with objects in it could not be deleted"
        own = [policy for policy in policies if policy["Properties"]["Bucket"] == {"Ref": name}]
        if not any("aws:SecureTransport" in json.dumps(policy) for policy in own):
            yield f"{name}: without TLS"


def pepper(template: Template) -> Iterator[str]:
    entry = template["Resources"]["PepperSecret"]
    if (entry.get("DeletionPolicy"), entry.get("UpdateReplacePolicy")) != ("Retain", "Retain"):
        yield "not retained: every key would be void"


def log_groups(template: Template) -> Iterator[str]:
    groups = resources(template, "AWS::Logs::LogGroup")
    for name, entry in groups.items():
        if "RetentionInDays" not in entry["Properties"]:
            yield f"{name}: kept for ever"
    for name, function in functions(template).items():
        if function["LoggingConfig"].get("LogGroup", {}).get("Ref") not in groups:
            yield f"{name}: no log group of its own"
        if function["LoggingConfig"].get("LogFormat") != "JSON":
            yield f"{name}: not JSON"


def queues(template: Template) -> Iterator[str]:
    for name, entry in resources(template, "AWS::SQS::Queue").items():
        if not entry["Properties"].get("SqsManagedSseEnabled"):
            yield f"{name}: not encrypted"
    if template["Resources"]["SettleQueue"]["Properties"].get("RedrivePolicy", {}).get("maxReceiveCount") != 10:
        yield "SettleQueue: no dead-letter queue after ten tries"


def builds(template: Template) -> Iterator[str]:
    for name, entry in resources(template, "AWS::Serverless::Function").items():
        if entry.get("Metadata") != {"BuildMethod": "makefile"}:
            yield f"{name}: would not be built by the makefile"
        if "InlineCode" in entry["Properties"]:
            yield f"{name}: inline code"
    for name, function in functions(template).items():
        if not function.get("ReservedConcurrentExecutions"):
            yield f"{name}: no reserved concurrency to choose"


def nested(template: Template) -> Iterator[str]:
    for kind in ("AWS::Serverless::Application", "AWS::CloudFormation::Stack"):
        yield from resources(template, kind)


def parameters(template: Template) -> Iterator[str]:
    for name, parameter in template["Parameters"].items():
        if not parameter.get("Description"):
            yield f"{name}: no description"
        if not {"AllowedPattern", "AllowedValues", "MinValue"} & set(parameter) and name != "ModelAliases":
            yield f"{name}: anything goes"
    grouped = [
        name
        for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    if sorted(grouped) != sorted(template["Parameters"]):
        yield "the interface's groups do not hold every parameter once"


def outputs(template: Template) -> Iterator[str]:
    for name, output in template["Outputs"].items():
        if not output.get("Description"):
            yield f"{name}: no description"
        export = output.get("Export", {}).get("Name", {}).get("Fn::Sub")
        if export is not None and export != f"${{AWS::StackName}}-{name}":
            yield f"{name}: exported as {export}"
    one, many = template["Outputs"]["OpenAIBaseUrl"]["Value"]["Fn::If"][1:]
    if one != {"Fn::Sub": "${GatewayFunctionUrl.FunctionUrl}v1"}:
        yield "OpenAIBaseUrl is not the function URL and /v1"
    if many != {"Fn::Sub": "${ChatCompletionsFunctionUrl.FunctionUrl}v1"}:
        yield "OpenAIBaseUrl is not the function URL and /v1"


def shapes(template: Template) -> Iterator[str]:
    """Each function is in one shape with its role and log group, but the scheduled one, which is in both."""
    for name, function in functions(template).items():
        condition = template["Resources"][name].get("Condition")
        if condition not in ("Single", "PerEndpoint") and name != "MaintenanceFunction":
            yield f"{name}: in both shapes"
        for other in (function["Role"]["Fn::GetAtt"][0], function["LoggingConfig"]["LogGroup"]["Ref"]):
            if template["Resources"][other].get("Condition") != condition:
                yield f"{name}: {other} is in another shape"
        logs = json.dumps(
            [statement for owner, statement in statements(template) if owner == function["Role"]["Fn::GetAtt"][0]]
        )
        if f'["{function["LoggingConfig"]["LogGroup"]["Ref"]}", "Arn"]' not in logs:
            yield f"{name}: its role may not write its log"


def imports(template: Template) -> Iterator[str]:
    """What a stack beside imports, the application exports."""
    exports = {
        output["Export"]["Name"]["Fn::Sub"].replace("${AWS::StackName}", "")
        for output in load()["Outputs"].values()
        if "Export" in output
    }
    for value in _imported(template):
        text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        stack, _, name = text.rpartition("}")
        if stack not in ("${AppStack", "${Stack") or name not in exports:
            yield text


def _imported(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "Fn::ImportValue" in node:
            yield node["Fn::ImportValue"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _imported(item)


# of AWS: CachingDisabled and AllViewerExceptHostHeader
POLICIES = ("4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "b689b0a8-53d0-40ab-baf2-68738e2966ac")


def behaviours(template: Template) -> Iterator[str]:
    config = template["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    every = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    if len(every) > 75:
        yield "more behaviours than CloudFront's quota"
    for behaviour in every:
        name = behaviour.get("PathPattern", "default")
        if (behaviour.get("CachePolicyId"), behaviour.get("OriginRequestPolicyId")) != POLICIES:
            yield f"{name}: policies"
        if behaviour.get("Compress") is not False:
            yield f"{name}: a compressor gathers what should stream"
        if behaviour.get("ViewerProtocolPolicy") != "https-only" or len(behaviour.get("AllowedMethods", ())) != 7:
            yield f"{name}: not every method, or not https alone"
    # a policy of our own may not name Authorization, and one that passes Host on is refused by the function URL
    for kind in ("AWS::CloudFront::OriginRequestPolicy", "AWS::CloudFront::CachePolicy"):
        yield from resources(template, kind)


def origins(template: Template) -> Iterator[str]:
    for origin in template["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["Origins"]:
        name, custom = origin["Id"], origin["CustomOriginConfig"]
        if (custom.get("OriginProtocolPolicy"), custom.get("OriginSSLProtocols")) != ("https-only", ["TLSv1.2"]):
            yield f"{name}: transport"
        if not all(1 <= seconds <= 120 for seconds in can_be(custom["OriginReadTimeout"], template)):
            yield f"{name}: read timeout"
        (header,) = origin["OriginCustomHeaders"]
        secret = "{{resolve:secretsmanager:${Name}:SecretString:current::${OriginSecretVersion}}}"
        if header["HeaderName"] != "x-origin-verify" or header["HeaderValue"]["Fn::Sub"][0] != secret:
            yield f"{name}: origin secret"


def published(template: Template) -> Iterator[str]:
    """Each alias has a streaming URL and both permissions that a URL needs; the names are those the edge looks for."""
    for name in resources(template, "AWS::Lambda::Alias"):
        stem = name.removesuffix("Alias")
        entry = template["Resources"].get(f"{stem}Url", {})
        url = entry.get("Properties", {})
        if (url.get("InvokeMode"), url.get("AuthType"), url.get("Qualifier")) != ("RESPONSE_STREAM", "NONE", "live"):
            yield f"{stem}: URL"
        if entry.get("DependsOn") != name:
            yield f"{stem}: its URL may come before its alias"
        actions = {
            permission["Properties"]["Action"]
            for permission in resources(template, "AWS::Lambda::Permission").values()
            if permission["Properties"]["FunctionName"] == {"Ref": name}
        }
        if actions != {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}:
            yield f"{stem}: permissions"
    hosts = {name for name in load()["Outputs"] if name.endswith("Host")}
    if set(template["Outputs"]) != hosts:
        yield "other hosts than the application exports"


def watched(template: Template) -> Iterator[str]:
    """Every alarm tells the topic, both ways; every queue is watched."""
    alarms = {name: entry["Properties"] for name, entry in resources(template, "AWS::CloudWatch::Alarm").items()}
    told = {"Fn::If": ["HasEmail", [{"Ref": "Topic"}], {"Ref": "AWS::NoValue"}]}
    for name, properties in alarms.items():
        if (properties.get("AlarmActions"), properties.get("OKActions")) != (told, told):
            yield f"{name}: tells nobody"
        if properties.get("TreatMissingData") != "notBreaching":
            yield f"{name}: an idle gateway would be alarming"
    for queue in ("SettleQueueName", "SettleDeadLetterQueueName"):
        if f"}}-{queue}" not in json.dumps(alarms):
            yield f"{queue}: nobody would notice"
    for name in resources(template, "AWS::Budgets::Budget"):
        if template["Resources"][name].get("Condition") != "HasBudget":
            yield f"{name}: no local engine knows budgets"
