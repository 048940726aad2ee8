"""What CloudFormation stacks hold for the edge: functions with a URL, and a CloudFront distribution."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from infra.local.edge_routing import Behaviour, Distribution, Origin
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """A function behind a URL, as Lambda's API describes it. `timeout` in seconds; `code_location` is path and query on
    the endpoint of that AWS, which gives the zip; `revision` changes with code and configuration.
    """

    url_host: str
    name: str
    arn: str
    version: str
    handler: str
    runtime: str
    role: str
    timeout: float
    memory_mb: int
    variables: Mapping[str, str]
    log_group: str
    code_sha256: str
    code_location: str
    revision: str


@dataclass(frozen=True, slots=True)
class Discovered:
    """`functions` by the host of their URL."""

    functions: Mapping[str, DeployedFunction]
    distribution: Distribution | None


def discover(aws: Aws, stacks: Sequence[str]) -> Discovered:
    """ConfigurationError for a stack that does not exist, stacks without a function URL, or two distributions."""
    held = [resource for stack in stacks for resource in resources(aws, stack)]
    found = [_function(aws, name) for kind, name in held if kind == "AWS::Lambda::Url"]
    fronts = [_distribution(aws, name) for kind, name in held if kind == "AWS::CloudFront::Distribution"]
    if not found:
        raise ConfigurationError(f"no function URL in {', '.join(stacks)}")
    if len(fronts) > 1:
        raise ConfigurationError(f"{len(fronts)} distributions in {', '.join(stacks)}; the edge serves one")
    return Discovered({function.url_host: function for function in found}, fronts[0] if fronts else None)


def resources(aws: Aws, stack: str) -> Iterator[tuple[str, str]]:
    """Type and physical id of every resource; ConfigurationError for a stack that does not exist."""
    client = aws.client("cloudformation", patient=True)
    try:
        for page in client.get_paginator("list_stack_resources").paginate(StackName=stack):
            for entry in page["StackResourceSummaries"]:
                yield entry["ResourceType"], entry.get("PhysicalResourceId", "")
    except client.exceptions.ClientError as error:
        raise ConfigurationError(f"stack {stack}: {error.response['Error']['Message']}") from error


def _function(aws: Aws, physical_id: str) -> DeployedFunction:
    """`physical_id` of the URL is the function's name, with `:QUALIFIER` where the URL belongs to an alias."""
    client = aws.client("lambda", patient=True)
    name, _, qualifier = physical_id.rpartition("function:")[2].partition(":")
    request = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
    url: Mapping[str, Any] = client.get_function_url_config(**request)
    answer: Mapping[str, Any] = client.get_function(**request)
    configuration, location = answer["Configuration"], urlsplit(answer["Code"]["Location"])
    return DeployedFunction(
        url_host=urlsplit(url["FunctionUrl"]).netloc.lower(),
        name=configuration["FunctionName"],
        arn=url["FunctionArn"],
        version=configuration["Version"],
        handler=configuration["Handler"],
        runtime=configuration["Runtime"],
        role=configuration["Role"],
        timeout=float(configuration["Timeout"]),
        memory_mb=int(configuration["MemorySize"]),
        variables=dict(configuration.get("Environment", {}).get("Variables", {})),
        log_group=configuration.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}",
        code_sha256=configuration["CodeSha256"],
        code_location=f"{location.path}?{location.query}",
        revision=f"{configuration['RevisionId']} {configuration['LastModified']}",
    )


def _distribution(aws: Aws, identifier: str) -> Distribution:
    answer = aws.client("cloudfront", patient=True).get_distribution(Id=identifier)["Distribution"]
    configuration: Mapping[str, Any] = answer["DistributionConfig"]
    return Distribution(
        domain=answer["DomainName"],
        origins={origin["Id"]: _origin(origin) for origin in configuration["Origins"]["Items"]},
        behaviours=[
            Behaviour(item["PathPattern"], item["TargetOriginId"])
            for item in configuration.get("CacheBehaviors", {}).get("Items", ())
        ],
        default=configuration["DefaultCacheBehavior"]["TargetOriginId"],
    )


def _origin(origin: Mapping[str, Any]) -> Origin:
    headers = origin.get("CustomHeaders", {}).get("Items", ())
    return Origin(origin["DomainName"].lower(), {item["HeaderName"]: item["HeaderValue"] for item in headers})
