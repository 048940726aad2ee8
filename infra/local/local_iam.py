"""Where ministack's IAM asks for more than AWS's, the roles of a deployed stack get it: here, not in their template.

AWS checks a listing of parameters against the path, and a listing of log groups against log groups (Service
Authorization Reference); ministack 1.5.33 checks both against `*`.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from infra.local.edge_discovery import resources
from shared.stores.aws import Aws

_CHECKED_AGAINST_EVERYTHING = frozenset({"ssm:GetParametersByPath", "logs:DescribeLogGroups"})
_POLICY = "ministack"


def widen(aws: Aws, stacks: Sequence[str]) -> list[str]:
    """Grant such actions on `*` to each role of the stacks that has them on something; returns those roles' names."""
    client = aws.client("iam", patient=True)
    widened = []
    for kind, role in (resource for stack in stacks for resource in resources(aws, stack)):
        if kind != "AWS::IAM::Role":
            continue
        granted = sorted(_CHECKED_AGAINST_EVERYTHING & set(_allowed(client, role)))
        if granted:
            statement = {"Effect": "Allow", "Action": granted, "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            client.put_role_policy(RoleName=role, PolicyName=_POLICY, PolicyDocument=document)
            widened.append(role)
    return widened


def _allowed(client: Any, role: str) -> Iterator[str]:
    for document in _documents(client, role):
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow":
                actions = statement["Action"]
                yield from [actions] if isinstance(actions, str) else actions


def _documents(client: Any, role: str) -> Iterator[dict[str, Any]]:
    for name in client.list_role_policies(RoleName=role)["PolicyNames"]:
        yield client.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    for attached in client.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = client.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        yield client.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
