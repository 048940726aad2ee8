"""The direct way to AWS against boto3's: the same answers and the same failures from the same engine."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.http1 import HttpClient, HttpFailure, tls_context
from shared.stores.aws import Aws, AwsFailure, _Patience
from shared.stores.aws_direct import DirectAws
from shared.stores.sigv4 import Signer, SigningKeys

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
KEY = {"pk": {"S": "a"}, "sk": {"S": "ü/1"}}


@pytest.fixture
async def direct(environment: dict[str, str]) -> AsyncIterator[Aws]:
    made = Aws(environment, direct=True)
    yield made
    made.close()
    await asyncio.sleep(0)  # the connections close on the loop


@pytest.mark.parametrize("token", ["", "IQoJb3JpZ2luX2VjEXAMPLE=="])
@pytest.mark.parametrize("service", ["dynamodb", "ssm"])
def test_the_signature_is_botocores(service, token, monkeypatch):
    body = '{"Name":"/gw/prod/keys/ü"}'.encode()
    host = f"{service}.eu-west-1.amazonaws.com"
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"}
    signer = Signer(host, headers, SigningKeys("AKIDEXAMPLE", "secret/+", token), "eu-west-1", service)
    for moment in (NOW, NOW, NOW + timedelta(seconds=1), NOW + timedelta(days=1)):
        signed = signer.signed(body, moment.timestamp()).decode().splitlines()
        ours = {**signer.headers, **dict(line.split(": ", 1) for line in signed)}
        request = AWSRequest("POST", f"https://{host}/", headers={**headers, "host": host}, data=body)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda now=moment: now.replace(tzinfo=None))
        SigV4Auth(Credentials("AKIDEXAMPLE", "secret/+", token or None), service, "eu-west-1").add_auth(request)
        assert {**ours, "host": host} == {name.lower(): value for name, value in request.headers.items()}


async def outcome(aws: Aws, service: str, operation: str, request: dict[str, Any]) -> Any:
    try:
        answer = dict(await aws.call(service, operation, **request))
    except AwsFailure as failure:
        return failure.code, failure.status, failure.item, failure.reasons, failure.transient
    answer.pop("ResponseMetadata", None)
    return answer


def condition(expression: str) -> dict[str, Any]:
    return {"ConditionExpression": expression, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


async def test_dynamodb_answers_are_the_same(aws, direct, table):
    item = {**KEY, "n": {"N": "12345678901234567890"}, "b": {"B": b"\x00\xff"}, "m": {"M": {"B": {"S": "x"}}}}
    put = {"TableName": table, "Item": item}
    for operation, request in [
        ("put_item", put),
        ("get_item", {"TableName": table, "Key": KEY, "ConsistentRead": True}),
        ("get_item", {"TableName": table, "Key": {**KEY, "sk": {"S": "absent"}}}),
        ("batch_get_item", {"RequestItems": {table: {"Keys": [KEY]}}}),
        (
            "update_item",
            {
                "TableName": table,
                "Key": KEY,
                "UpdateExpression": "SET n = :n",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeValues": {":n": {"N": "2"}},
                "ReturnValues": "ALL_NEW",
            },
        ),
        ("put_item", {**put, **condition("attribute_not_exists(pk)")}),
        ("transact_write_items", {"TransactItems": [{"Put": {**put, **condition("attribute_not_exists(pk)")}}]}),
        ("transact_write_items", {"TransactItems": [{"Put": put}], "ClientRequestToken": "one"}),
        ("get_item", {"TableName": "no-such-table", "Key": KEY}),
        ("get_item", {"TableName": table, "Key": {"pk": {"S": "a"}}}),
    ]:
        assert await outcome(direct, "dynamodb", operation, request) == await outcome(
            aws, "dynamodb", operation, request
        ), (operation, request)
    found = await direct.call("dynamodb", "get_item", TableName=table, Key=KEY)
    assert found["Item"]["b"] == {"B": b"\x00\xff"}
    assert found["Item"]["m"] == {"M": {"B": {"S": "x"}}}


async def test_registry_secrets_and_queue_answer_the_same(aws, direct, environment):
    await aws.call("ssm", "put_parameter", Name="/gw/direct/a", Value="värde", Type="SecureString", Overwrite=True)
    for name in ("/gw/direct/a", "/gw/direct/absent"):
        request = {"Name": name, "WithDecryption": True}
        ours, theirs = [await outcome(way, "ssm", "get_parameter", request) for way in (direct, aws)]
        if isinstance(ours, dict):
            assert ours["Parameter"]["Value"] == theirs["Parameter"]["Value"] == "värde"
        else:
            assert ours == theirs
            assert ours[0] == "ParameterNotFound"
    for secret in (environment["PEPPER_SECRET_ID"], "absent"):
        ours, theirs = [
            await outcome(way, "secretsmanager", "get_secret_value", {"SecretId": secret}) for way in (direct, aws)
        ]
        if isinstance(ours, dict):
            assert ours["SecretString"] == theirs["SecretString"]
        else:
            assert ours == theirs
    sent = await direct.call("sqs", "send_message", QueueUrl=environment["SETTLE_QUEUE_URL"], MessageBody="{}")
    assert sent["MessageId"]
    aws.client("sqs").purge_queue(QueueUrl=environment["SETTLE_QUEUE_URL"])  # the queue is every test's
    with pytest.raises(AwsFailure) as refused:
        await direct.call("sqs", "send_message", QueueUrl=environment["SETTLE_QUEUE_URL"] + "-absent", MessageBody="{}")
    assert "NonExistentQueue" in refused.value.code


async def test_other_operations_take_boto3(direct, table):
    answer = await direct.call("dynamodb", "describe_table", TableName=table)
    assert answer["Table"]["TableName"] == table


async def test_a_dead_endpoint_is_a_transient_failure(environment):
    aws = Aws({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, direct=True)
    with pytest.raises(AwsFailure) as failed:
        await aws.call("dynamodb", "get_item", TableName="t", Key=KEY)
    assert failed.value.code == "ConnectionFailure"
    assert failed.value.transient
    aws.close()


@pytest.mark.parametrize(
    "body, extra, expected",
    [
        (b'{"Item":{}}', f"x-amz-crc32: {zlib.crc32(b'{"Item":{}}')}\r\n", {"Item": {}}),
        (b'{"Item":{}}', "x-amz-crc32: 1\r\n", HttpFailure),
        (b"<html>", "", HttpFailure),
        (b"[]", "", HttpFailure),
    ],
)
async def test_a_damaged_answer_is_a_failure(body, extra, expected):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    http = HttpClient(tls_context)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    aws = DirectAws(SigningKeys("a", "b"), "us-east-1", endpoint, http)
    if expected is HttpFailure:
        with pytest.raises(HttpFailure):
            await aws.call("dynamodb", "get_item", {})
    else:
        assert await aws.call("dynamodb", "get_item", {}) == expected
    http.close()
    server.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_an_answer_that_stays_away_is_a_transient_failure(sent, monkeypatch):
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        while await reader.read(1024):
            pass
        writer.close()
        left.set()

    monkeypatch.setattr("shared.stores.aws._PATIENCE", {"dynamodb": _Patience(1.0, -0.8, 1)})  # 0.2 s in all
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    aws = Aws({**WHOLE, "AWS_ENDPOINT_URL": endpoint}, direct=True)
    with pytest.raises(AwsFailure) as failed:
        await aws.call("dynamodb", "get_item", TableName="t", Key=KEY)
    assert (failed.value.code, failed.value.transient) == ("ConnectionFailure", True)
    async with asyncio.timeout(5):
        await left.wait()  # the connection is not kept: what is still to come would be taken for the next answer
    aws.close()
    server.close()


WHOLE = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "cn-north-1"}


@pytest.mark.parametrize("gone", WHOLE)
def test_an_incomplete_environment_is_boto3s_business(gone):
    http = HttpClient(tls_context)
    assert DirectAws.from_environ(WHOLE, http) is not None
    assert DirectAws.from_environ({**WHOLE, gone: ""}, http) is None


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_ENDPOINT_URL_DYNAMODB"])
def test_a_special_way_to_aws_is_boto3s_business(name):
    assert DirectAws.from_environ({**WHOLE, name: "x"}, HttpClient(tls_context)) is None


def test_what_is_no_dynamodb_value_is_a_bug():
    aws = DirectAws(SigningKeys("a", "b"), "us-east-1", "http://127.0.0.1:9", HttpClient(tls_context))
    with pytest.raises(TypeError, match="object is no DynamoDB value"):
        asyncio.run(aws.call("dynamodb", "put_item", {"Item": object()}))
