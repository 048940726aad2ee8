"""Makes the resources of template.yaml in the embedded AWS where they are missing; what exists is left alone."""

import json
import secrets
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from infra.local.template import Template
from shared.stores.aws import Aws

REGION = "us-east-1"
ACCOUNT = "000000000000"  # of ministack's access key `test`

# the variables by which functions find their stores
_STORE_VARIABLES = (
    "STAGE",
    "USAGE_TABLE",
    "KEY_PARAMETER_PREFIX",
    "PEPPER_SECRET_ID",
    "GEMINI_POOL_SECRET_ID",
    "SETTLE_QUEUE_URL",
    "UPLOAD_BUCKET",
)


def create_missing(template: Template, aws: Aws, stage: str) -> dict[str, str]:
    """Tables, queues, buckets, secrets and parameters; returns the variables of `_STORE_VARIABLES`."""
    _Creation(template, aws, stage).run()
    variables = template.environment()
    return {name: str(template.resolve(variables[name])) for name in _STORE_VARIABLES if name in variables}


class _Creation:
    def __init__(self, template: Template, aws: Aws, stage: str) -> None:
        self._template = template
        self._stage = stage
        self._dynamodb = aws.client("dynamodb", patient=True)
        self._sqs = aws.client("sqs", patient=True)
        self._secrets = aws.client("secretsmanager", patient=True)
        self._ssm = aws.client("ssm", patient=True)
        self._s3 = aws.client("s3", patient=True)

    def run(self) -> None:
        for name, properties in self._template.resources("AWS::DynamoDB::Table").items():
            self._table(name, self._template.resolve(dict(properties)))
        # a queue names its dead-letter queue, which therefore comes first
        queues = self._template.resources("AWS::SQS::Queue")
        for name, properties in sorted(queues.items(), key=lambda item: "RedrivePolicy" in item[1]):
            self._queue(name, self._template.resolve(dict(properties)))
        for name, properties in self._template.resources("AWS::S3::Bucket").items():
            self._bucket(name, self._template.resolve(dict(properties)))
        for name, properties in self._template.resources("AWS::SecretsManager::Secret").items():
            self._secret(name, self._template.resolve(dict(properties)))
        for name, properties in self._template.resources("AWS::SSM::Parameter").items():
            self._parameter(name, self._template.resolve(dict(properties)))

    def _generated(self, name: str) -> str:
        """CloudFormation invents names from the stack's and the logical one; here the stage stands for the stack."""
        return f"gw-{self._stage}-{name}"

    def _table(self, name: str, properties: Mapping[str, Any]) -> None:
        table = self._template.physical[name] = properties.get("TableName") or self._generated(name)
        given = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
        request = {key: properties[key] for key in given if key in properties}
        if "StreamSpecification" in properties:
            request["StreamSpecification"] = {"StreamEnabled": True, **properties["StreamSpecification"]}
        try:
            self._dynamodb.create_table(TableName=table, **request)
        except self._dynamodb.exceptions.ResourceInUseException:
            return
        if "TimeToLiveSpecification" in properties:
            expiry = {"AttributeName": properties["TimeToLiveSpecification"]["AttributeName"], "Enabled": True}
            self._dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=expiry)

    def _queue(self, name: str, properties: Mapping[str, Any]) -> None:
        queue = properties.get("QueueName") or self._generated(name)
        kept = ("VisibilityTimeout", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds")
        attributes = {key: str(properties[key]) for key in kept if key in properties}
        if "RedrivePolicy" in properties:
            attributes["RedrivePolicy"] = json.dumps(properties["RedrivePolicy"])
        try:
            url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        except self._sqs.exceptions.QueueDoesNotExist:
            url = self._sqs.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
        # a URL from before a restart names the old port; only its path counts
        self._template.physical[name] = self._sqs.meta.endpoint_url + urlsplit(url).path
        self._template.physical[f"{name}.Arn"] = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
        self._template.physical[f"{name}.QueueName"] = queue

    def _bucket(self, name: str, properties: Mapping[str, Any]) -> None:
        """Its lifecycle is left to the cloud: the embedded S3 never deletes by itself."""
        bucket = properties.get("BucketName") or self._generated(name).lower()
        self._template.physical[name] = bucket
        self._template.physical[f"{name}.Arn"] = f"arn:aws:s3:::{bucket}"
        self._s3.create_bucket(Bucket=bucket)  # of its own account's, this changes nothing where it exists

    def _secret(self, name: str, properties: Mapping[str, Any]) -> None:
        secret = self._template.physical[name] = properties.get("Name") or self._generated(name)
        value = properties.get("SecretString")
        if value is None:
            value = generated_secret(properties.get("GenerateSecretString", {}))
        try:
            self._secrets.create_secret(Name=secret, SecretString=value)
        except self._secrets.exceptions.ResourceExistsException:
            return

    def _parameter(self, name: str, properties: Mapping[str, Any]) -> None:
        parameter = self._template.physical[name] = properties.get("Name") or self._generated(name)
        try:
            self._ssm.put_parameter(
                Name=parameter, Value=str(properties["Value"]), Type=properties["Type"], Overwrite=False
            )
        except self._ssm.exceptions.ParameterAlreadyExists:
            return


def generated_secret(rules: Mapping[str, Any]) -> str:
    """CloudFormation's GenerateSecretString, with letters and digits only."""
    password = "".join(
        secrets.choice(string.ascii_letters + string.digits) for _ in range(int(rules.get("PasswordLength", 32)))
    )
    if "GenerateStringKey" not in rules:
        return password
    return json.dumps({**json.loads(rules.get("SecretStringTemplate", "{}")), rules["GenerateStringKey"]: password})
