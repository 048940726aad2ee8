"""The whole deployment, really built and deployed onto ministack, served by the local edge under the roles it declares.

One deployment for the module; the tests run in the order of the file, the last of them deletes it.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import openai
import pytest
import yaml

from infra.local.deploy import APP, parameters, plan
from infra.local.edge import Edge, EdgeServer, open_workshop
from infra.local.edge_discovery import discover
from infra.local.emulator import EmulatorServer
from infra.local.local_iam import widen
from infra.local.template import TemplateLoader
from infra.smoke.__main__ import main as smoke
from infra.smoke.exchange import ask
from shared.stores.protocols import Settlement
from shared.stores.sqs import dumps
from tests.clients.installation import installed
from tests.e2e.deployment import running_deployment, wait_until
from tests.running import ROOT, clean_environment

pytestmark = pytest.mark.slow

EDGE, WATCH, SINGLE = f"{APP}-edge", f"{APP}-observability", "gwone"
PACED = "@emulator 6 chunks; pace 100 ms"
PACED_S = 0.5  # between the first and the last chunk of it
SMOKE = ["--prompt", PACED, "--min-spread-ms", "300"]


@pytest.fixture(scope="module")
def upstream():
    with EmulatorServer() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def deployment(upstream, tmp_path_factory):
    environment = {"GEMINI_BASE_URL": upstream.base_url}
    with running_deployment(tmp_path_factory.mktemp("deployment"), environment) as running:
        sweep_every_minute(running)
        yield running
        running.aws.close()


def sweep_every_minute(deployment):
    """The deployed schedule is every five minutes, longer than this module runs."""
    events = deployment.client("events")
    rule = next(rule for rule in events.list_rules()["Rules"] if "Sweep" in rule["Name"])
    assert rule["ScheduleExpression"] == "rate(5 minutes)"
    events.put_rule(Name=rule["Name"], ScheduleExpression="cron(* * * * ? *)", State="ENABLED")


@pytest.fixture(scope="module")
def given(deployment, upstream):
    """The parameters that the application was deployed with."""
    what = plan({"GEMINI_BASE_URL": upstream.base_url, "LOCAL_EDGE_PORT": "0"})
    return parameters(what, deployment.environment["AWS_ENDPOINT_URL"], upstream.base_url)


@pytest.fixture(scope="module")
def beside(deployment, given):
    """Deployments that go on while other tests run: the same again, the other shape as a stack of its own, and an
    update, which the edge does not serve before it is told to read the stacks anew."""
    other = given | {"Stage": "one", "Shape": "single", "Edge": "none"}
    with ThreadPoolExecutor(1) as pool:
        yield Beside(
            repeated=pool.submit(deployment.sam.deploy, APP, given),
            single=pool.submit(deployment.sam.deploy, SINGLE, other),
            updated=pool.submit(deployment.sam.deploy, APP, given | {"StrictParameters": "true"}),
        )


@dataclass(frozen=True)
class Beside:
    """What each `sam deploy` prints, once it has ended."""

    repeated: Future[str]
    single: Future[str]
    updated: Future[str]


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def chat(prompt, **more):
    return {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": prompt}], **more}


def streamed(base_url, key):
    return ask(base_url, "POST", "/v1/chat/completions", bearer(key), chat(PACED, stream=True))


def test_every_stack_is_complete(deployment):
    statuses = [deployment.stack(name)["StackStatus"] for name in (APP, EDGE, WATCH)]
    assert statuses == ["CREATE_COMPLETE"] * 3


def test_the_operators_command_line_finds_it(deployment, beside):
    listed = deployment.gwctl(None, "keys", "list")["data"]
    assert {entry["name"] for entry in listed} == {"local admin", "local client"}


def test_each_behaviour_reaches_its_function_with_the_origin_secret(deployment):
    """Without it, or without any function behind, the gateway's own headers would be missing from the reply."""
    front = discover(deployment.aws, [APP, EDGE]).distribution
    assert len(front.behaviours) > 20
    asked = [(behaviour.pattern.replace("*", "x"), behaviour.origin) for behaviour in front.behaviours]

    def check(path, origin):
        reply = ask(deployment.base_url, "GET", path, bearer(deployment.client_key))
        assert reply.status not in (403, 502), (path, reply.status, reply.body)
        assert reply.request_id, path
        assert f"{origin}Function" in deployment.served_by(reply.headers["x-amzn-requestid"]), path

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, *zip(*asked, ("/elsewhere", front.default), strict=True)))


def test_the_functions_own_addresses_want_the_origin_secret(deployment):
    secret = json.loads(
        deployment.client("secretsmanager").get_secret_value(SecretId="gw/local/origin")["SecretString"]
    )
    host = next(
        host for host, function in discover(deployment.aws, [APP]).functions.items() if "Messages" in function.name
    )
    body = {"model": "gemini-3.6-flash", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}

    def status(**headers):
        sent = {"host": host, "x-api-key": deployment.client_key, "anthropic-version": "2023-06-01"}
        reply = ask(deployment.base_url, "POST", "/v1/messages", sent | headers, body)
        return reply.status, reply.json()

    for headers in ({}, {"x-origin-verify": "wrong"}, {"x-origin-verify": ""}):
        code, refusal = status(**headers)
        assert (code, refusal["type"], refusal["error"]["type"]) == (403, "error", "permission_error")
    code, answer = status(**{"x-origin-verify": secret["current"]})
    assert (code, answer["type"]) == (200, "message")


def test_a_warm_stream_comes_at_once_and_piece_by_piece(deployment):
    replies = [streamed(deployment.base_url, deployment.client_key) for _ in range(3)]
    assert all(len(reply.arrivals) >= 6 and reply.arrivals[-1] > PACED_S for reply in replies)
    assert min(reply.arrivals[0] for reply in replies) < 0.1, [reply.arrivals for reply in replies]


def test_without_our_wrapper_the_same_stream_comes_late_and_whole(deployment):
    """So that the test above can fail: AWS's own loop on the same deployed function."""
    edge = subprocess.Popen(
        [sys.executable, "-m", "infra.local.edge", "--port", "0", "--no-wrapper", APP, EDGE],
        cwd=ROOT,
        env=clean_environment() | deployment.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        base_url = edge.stdout.readline().split()[-1]
        for _ in range(2):
            reply = streamed(base_url, deployment.client_key)
            assert (reply.status, len(reply.arrivals)) == (200, 1)
            assert reply.arrivals[0] > PACED_S
    finally:
        edge.terminate()
        edge.communicate(timeout=20)
    assert edge.returncode == 0


def test_background_work_is_invoked_under_the_functions_role(deployment):
    key, body = bearer(deployment.client_key), {"model": "gemini-3.6-flash", "input": "@emulator say done"}
    began = ask(deployment.base_url, "POST", "/v1/responses", key, body | {"background": True}).json()
    assert began["status"] == "queued", began

    def ended():
        found = ask(deployment.base_url, "GET", f"/v1/responses/{began['id']}", key).json()
        return found if found["status"] not in ("queued", "in_progress") else None

    found = wait_until(ended, 30)
    assert found["status"] == "completed", found
    assert "done" in json.dumps(found["output"])


def test_the_smoke_test_passes(deployment, capsys):
    code = smoke(
        ["--url", deployment.base_url, "--key", deployment.client_key, "--admin-key", deployment.admin_key, *SMOKE]
    )
    said = capsys.readouterr().out
    assert code == 0, said
    for check in ("chat, streamed", "responses, streamed", "messages, streamed", "native, streamed", "revocation"):
        assert any(line.startswith(check) and " ok " in line for line in said.splitlines()), said


def test_the_smoke_test_fails_with_an_unknown_key(deployment, capsys):
    assert smoke(["--url", deployment.base_url, "--key", "sk-gw1_unknown"]) == 1
    said = capsys.readouterr().out
    assert "chat, buffered          FAIL  status 401" in said


def test_requests_are_rows_of_the_deployed_table(deployment):
    reply = ask(deployment.base_url, "POST", "/v1/chat/completions", bearer(deployment.client_key), chat("count me"))
    table = deployment.physical(APP, "UsageTable")

    def row():
        pages = deployment.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        return [item for item in items if item["pk"]["S"].startswith("R#") and reply.request_id in json.dumps(item)]

    assert len(wait_until(row, 10)) == 1


def test_a_function_may_do_nothing_outside_its_role(deployment):
    role = deployment.client("iam").get_role(RoleName=deployment.physical(APP, "DataPlaneRole"))["Role"]["Arn"]
    made = deployment.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    table = {"TableName": deployment.physical(APP, "UsageTable")}
    session = type(deployment.aws)(
        deployment.environment
        | {
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_SESSION_TOKEN": made["SessionToken"],
        }
    )
    dynamodb = session.client("dynamodb", patient=True)
    key = {"pk": {"S": "none"}, "sk": {"S": "none"}}
    assert "Item" not in dynamodb.get_item(**table, Key=key)
    for forbidden in (lambda: dynamodb.scan(**table), lambda: dynamodb.delete_table(**table)):
        with pytest.raises(dynamodb.exceptions.ClientError, match="AccessDenied"):
            forbidden()
    session.close()


def test_queued_settlements_are_booked_and_others_end_in_the_dead_letter_queue(deployment):
    sqs = deployment.client("sqs")
    queue, dead = (deployment.physical(APP, name) for name in ("SettleQueue", "SettleDeadLetterQueue"))
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    # a message comes again after six minutes, ten times; here after a second, once
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1", "RedrivePolicy": redrive})
    holder = ask(deployment.base_url, "GET", "/v1/usage", bearer(deployment.client_key)).json()
    late = settlement(holder["kid"])
    sqs.send_message(QueueUrl=queue, MessageBody=dumps(late))
    sqs.send_message(QueueUrl=queue, MessageBody='{"no": "settlement"}')

    def booked():
        rows = ask(deployment.base_url, "GET", "/v1/usage/requests?order=desc", bearer(deployment.client_key)).json()
        return [row for row in rows["data"] if row["request_id"] == late.rid]

    assert [row["cost_nano_usd"] for row in wait_until(booked, 20)] == [late.cost_nano]
    [message] = wait_until(lambda: sqs.receive_message(QueueUrl=dead).get("Messages"), 20)
    assert message["Body"] == '{"no": "settlement"}'


def settlement(kid):
    """Of a request whose hold has ended; of today."""
    now = int(time.time())
    return Settlement(
        acct=kid, kid=kid, rid=f"late{now}", nonce="n", day=time.strftime("%Y%m%d", time.gmtime(now)), ts_ms=now * 1000,
        state="done", dialect="openai_chat", endpoint="chat", stream=True, model="gemini-3.6-flash",
        model_version="gemini-3.6-flash", status=200, finish_reason="STOP", input_tokens=10, cached_tokens=0,
        output_tokens=20, reasoning_tokens=0, cost_nano=123_456, estimate_nano=200_000, estimate_tokens=30,
        price_version="test", estimated=False, ttft_ms=1, duration_ms=2, had_hold=False,
    )  # fmt: skip


def test_maintenance_runs_under_its_role(deployment):
    name = deployment.physical(APP, "MaintenanceFunction")
    for task, counted in (("sweep", "accounts"), ("reconcile", "failed")):
        reply = deployment.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"task": task}).encode())
        payload = json.loads(reply["Payload"].read())
        assert "FunctionError" not in reply, payload
        assert counted in payload, payload


def test_a_resumable_upload_ends_where_its_start_was_told(deployment):
    """That is the function's own address, which the edge is not in front of."""
    told = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    started = ask(deployment.base_url, "POST", "/upload/v1beta/files", bearer(deployment.client_key) | told, {})
    url = urllib.parse.urlsplit(started.headers["x-goog-upload-url"])
    piece = {"host": url.netloc, "x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    ended = ask(deployment.base_url, "POST", f"{url.path}?{url.query}", piece, {"some": "bytes"})
    assert (ended.status, ended.headers["x-goog-upload-status"]) == (200, "final")
    assert ended.json()["file"]["name"].startswith("files/")


def test_an_upload_in_parts_goes_through_the_deployed_bucket(deployment):
    with openai.OpenAI(base_url=f"{deployment.base_url}/v1", api_key=deployment.client_key, max_retries=0) as client:
        done = client.uploads.upload_file_chunked(
            file=b"colour: blue\n" * 9, filename="notes.txt", bytes=117, mime_type="text/plain", purpose="user_data"
        )
        assert (done.status, done.file.filename, done.file.bytes) == ("completed", "notes.txt", 117)


def test_the_tables_stream_feeds_the_totals_of_all_keys(deployment):
    def counted():
        answer = ask(deployment.base_url, "GET", "/admin/usage?exact=false", bearer(deployment.admin_key)).json()
        assert answer["eventual"] is True
        return answer["total"]["requests"]

    assert wait_until(counted, 20) > 0


def test_claude_code_answers(deployment, tmp_path):
    launcher = installed("claude-code") / "node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs"
    environment = clean_environment() | {
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": deployment.base_url,
        "ANTHROPIC_AUTH_TOKEN": deployment.client_key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    command = [
        "node",
        str(launcher),
        "-p",
        "Say that all is well.\n@emulator say all is well",
        "--output-format",
        "json",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["result"] == "all is well"


def test_a_repeated_deployment_changes_nothing(beside):
    assert "No changes to deploy" in beside.repeated.result()


def test_one_function_serves_every_path(deployment, beside, tmp_path, capsys):
    beside.single.result()
    widen(deployment.aws, [SINGLE])
    operator = deployment.gwctl(SINGLE, "keys", "create", "operator", "--endpoints", "admin")["key"]
    client = deployment.gwctl(SINGLE, "keys", "create", "client")["key"]
    with (tmp_path / "log").open("wb", buffering=0) as log:
        workshop = open_workshop(deployment.environment, tmp_path / "code", log=log)
        with EdgeServer(Edge(workshop, [SINGLE])) as server:
            assert len(server.edge.discovered.functions) == 1
            code = smoke(["--url", server.base_url, "--key", client, "--admin-key", operator, *SMOKE])
            said = capsys.readouterr().out
            assert code == 0, said + (tmp_path / "log").read_text()
            console = ask(server.base_url, "GET", "/console", {})
            assert (console.status, console.headers["content-type"].partition(";")[0]) == (200, "text/html")
            assert server.edge.violations == []


def test_an_update_reaches_the_functions(deployment, beside):
    """Strict parameters refuse what is otherwise dropped with a warning."""
    body = chat("hi", logit_bias={"1": 1})

    def status():
        reply = ask(deployment.base_url, "POST", "/v1/chat/completions", bearer(deployment.client_key), body)
        return reply.status

    assert status() == 200
    beside.updated.result()
    assert deployment.stack(APP)["StackStatus"] == "UPDATE_COMPLETE"
    os.kill(deployment.process.pid, signal.SIGHUP)
    wait_until(lambda: status() == 400, 20)


def test_the_schedule_has_fired(deployment):
    logs = deployment.client("logs")
    group = deployment.physical(APP, "MaintenanceLogGroup")

    def swept():
        events = logs.filter_log_events(logGroupName=group)["events"]
        starts = [event for event in events if event["message"].startswith("START")]
        return [event for event in events if '"swept"' in event["message"]] if len(starts) > 2 else []

    # one line is that of the direct invocation
    wait_until(lambda: len(swept()) > 1, 65)


def test_deletion_leaves_what_the_template_retains(deployment, beside):
    beside.updated.result()
    template = yaml.load((ROOT / "template.yaml").read_text(), TemplateLoader)
    retained = [name for name, entry in template["Resources"].items() if entry.get("DeletionPolicy") == "Retain"]
    kept = {deployment.physical(stack, name) for stack in (APP, SINGLE) for name in retained}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(deployment.sam.delete, (EDGE, WATCH, SINGLE)))
    deployment.sam.delete(APP)
    holders = leftovers(deployment)
    assert {name for kind in ("tables", "secrets", "buckets") for name in holders.pop(kind)} == kept
    # what Lambda makes unasked
    assert all(name.startswith("/aws/lambda/") for name in holders.pop("log groups"))
    assert {kind: names for kind, names in holders.items() if names} == {}


def leftovers(deployment):
    stacks = deployment.client("cloudformation").describe_stacks()["Stacks"]
    roles = deployment.client("iam").list_roles()["Roles"]
    buckets = deployment.client("s3").list_buckets()["Buckets"]
    distributions = deployment.client("cloudfront").list_distributions()["DistributionList"]
    return {
        # that of SAM's bucket for artefacts serves every application of an account
        "stacks": [s["StackName"] for s in stacks if s["StackName"] != "aws-sam-cli-managed-default"],
        "functions": [f["FunctionName"] for f in deployment.client("lambda").list_functions()["Functions"]],
        "roles": [r["RoleName"] for r in roles if r["RoleName"].startswith((f"{APP}-", f"{SINGLE}-"))],
        "policies": [p["PolicyName"] for p in deployment.client("iam").list_policies(Scope="Local")["Policies"]],
        "topics": deployment.client("sns").list_topics()["Topics"],
        "buckets": [b["Name"] for b in buckets if not b["Name"].startswith("aws-sam-cli-managed-default")],
        "queues": deployment.client("sqs").list_queues().get("QueueUrls", []),
        "rules": [r["Name"] for r in deployment.client("events").list_rules()["Rules"]],
        "distributions": distributions.get("Items", []),
        "alarms": [a["AlarmName"] for a in deployment.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "tables": deployment.client("dynamodb").list_tables()["TableNames"],
        "secrets": [s["Name"] for s in deployment.client("secretsmanager").list_secrets()["SecretList"]],
        "log groups": [g["logGroupName"] for g in deployment.client("logs").describe_log_groups()["logGroups"]],
    }
