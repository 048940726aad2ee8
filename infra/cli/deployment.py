"""Which gateway an operator means, and its stores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.gateway.key_registry import KeyRegistry
from shared.stores.aws import Aws, AwsFailure
from shared.stores.dynamodb import DynamoLedger
from shared.stores.dynamodb_usage import DynamoUsageReader
from shared.stores.key_stores import open_key_store
from shared.stores.protocols import KeyStore
from shared.stores.secrets import SecretsManagerStore
from shared.stores.usage_protocols import UsageReader


class NoDeployment(Exception):
    """Nothing says where the stores are; the message says what would."""


@dataclass(frozen=True, slots=True)
class Deployment:
    registry: KeyRegistry
    keys: KeyStore
    usage: UsageReader


@dataclass(frozen=True, slots=True)
class Target:
    """What the operator named: a CloudFormation stack, a stage, or neither."""

    stack: str | None = None
    stage: str | None = None


async def open_deployment(environ: Mapping[str, str], target: Target) -> Deployment:
    """The stores of a stack, or those that the variables of the functions name, reached with the operator's AWS
    credentials. With neither stack, stage nor USAGE_TABLE: the embedded AWS of a running `make run`."""
    if target.stack is not None:
        aws = Aws()
        return _stores(aws, await _of_stack(aws, target.stack))
    if target.stage in (None, "local") and not environ.get("USAGE_TABLE"):
        found = _embedded(Path(environ.get("GATEWAY_STATE_DIR") or ".local"))
        return _stores(Aws(found), found)
    table = environ.get("USAGE_TABLE")
    if not table:
        raise NoDeployment("set USAGE_TABLE to the stack's output UsageTableName, or name the stack by --stack")
    return _stores(Aws(), {**_names(target.stage or environ.get("STAGE") or "prod", table), **_given(environ)})


def _names(stage: str, table: str) -> dict[str, str]:
    """As template.yaml makes them."""
    return {
        "USAGE_TABLE": table,
        "KEY_PARAMETER_PREFIX": f"/gw/{stage}/keys/",
        "PEPPER_SECRET_ID": f"gw/{stage}/pepper",
    }


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    names = ("KEY_STORE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID")
    return {name: environ[name] for name in names if environ.get(name)}


async def _of_stack(aws: Aws, stack: str) -> dict[str, str]:
    try:
        answer = await aws.call("cloudformation", "describe_stacks", patient=True, StackName=stack)
    except AwsFailure as failure:
        if failure.code == "ValidationError":
            raise NoDeployment(f"there is no stack {stack} in this account and region") from failure
        raise failure.unavailable() from failure
    found = answer["Stacks"][0]
    outputs = {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", ())}
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in found.get("Parameters", ())}
    if "UsageTableName" not in outputs or "Stage" not in parameters:
        raise NoDeployment(f"the stack {stack} is no gateway: it has no output UsageTableName or no parameter Stage")
    return {**_names(parameters["Stage"], outputs["UsageTableName"]), "KEY_STORE": parameters.get("Registry", "")}


def _embedded(state: Path) -> Mapping[str, str]:
    file = state / "aws" / "environment.json"
    try:
        environment: dict[str, str] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise NoDeployment(
            f"no gateway runs with the state folder {state}: start `make run`, or name a deployed one by --stack"
        ) from None
    return environment


def _stores(aws: Aws, names: Mapping[str, str]) -> Deployment:
    keys = open_key_store(names, aws, patient=True)
    registry = KeyRegistry(
        keys, SecretsManagerStore(aws, names["PEPPER_SECRET_ID"]), DynamoLedger(aws, names["USAGE_TABLE"])
    )
    return Deployment(registry, keys, DynamoUsageReader(aws, names["USAGE_TABLE"]))
