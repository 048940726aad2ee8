"""gwctl against real stores, as an operator on a laptop and one in the cloud would use it."""

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from msgspec.structs import replace
from rich.console import Console
from typer.testing import CliRunner

from infra.cli.app import app
from infra.cli.output import key_table
from infra.local.aws import EmbeddedAws
from shared.gateway.keyring import KeyDirectory, parse_key
from shared.gateway.money import usd
from shared.stores.aws import Aws
from shared.stores.protocols import KeyRecord, Refused
from shared.stores.secrets import SecretsManagerStore
from shared.stores.ssm import SsmKeyStore
from tests.stores.bench import DAY, Bench

PROJECT = Path(__file__).parents[2]


class Operator:
    """A shell in which `make run` is running on stores of its own."""

    def __init__(self, names: Mapping[str, str], home: Path, aws: Aws) -> None:
        (home / "aws").mkdir()
        (home / "aws" / "environment.json").write_text(json.dumps(names))
        self.names = names
        self.bench = Bench(aws, names["USAGE_TABLE"])
        self.keys = SsmKeyStore(aws, names["KEY_PARAMETER_PREFIX"])
        self.directory = KeyDirectory(self.keys, SecretsManagerStore(aws, names["PEPPER_SECRET_ID"]))
        self._environ = dict.fromkeys(("USAGE_TABLE", "STAGE")) | {"GATEWAY_STATE_DIR": str(home), "NO_COLOR": "1"}

    def run(self, *arguments: str, expect: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments), env=self._environ, prog_name="gwctl")
        assert result.exit_code == expect, result.output
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def record(self, kid: str) -> KeyRecord:
        record = asyncio.run(self.keys.resolve(kid))
        assert record is not None
        return record

    def use(self, key: KeyRecord, *days: str, model: str = "gemini-2.5-flash", status: int = 200) -> None:
        async def work() -> None:
            for day in days:
                await self.bench.admit(request := self.bench.request(key, day=day, model=model))
                await self.bench.settle(request, status=status)

        asyncio.run(work())


@pytest.fixture
def operator(environment: dict[str, str], table: str, tmp_path: Path, aws: Aws) -> Operator:
    names = {**environment, "USAGE_TABLE": table, "KEY_PARAMETER_PREFIX": f"/gw/{table}/keys/"}
    return Operator(names, tmp_path, aws)


def test_a_key_is_created_with_its_terms_and_works(operator: Operator) -> None:
    made = operator.json(
        *("keys", "create", "team a", "--models", "gemini-2.5-*,x", "--models", "y", "--endpoints", "chat"),
        *("--rpm", "60", "--tpm", "1000", "--max-concurrency", "3", "--budget-usd", "12.50", "--period", "month"),
        *("--expires-at", "2099-01-31T18:00:00Z", "--max-output-tokens", "99", "--ip-allow", "192.0.2.0/24"),
    )
    record = operator.record(made["kid"])
    expected = {
        "name": "team a",
        "models": ("gemini-2.5-*", "x", "y"),
        "endpoints": ("chat",),
        "ip_allow": ("192.0.2.0/24",),
        "rpm": 60,
        "tpm": 1000,
        "max_concurrency": 3,
        "budget_period": "month",
        "budget_limit_nano": 12_500_000_000,
        "expires_at": 4_073_565_600,
        "max_output_tokens": 99,
    }
    assert {name: getattr(record, name) for name in expected} == expected
    assert made["budget"] == {"period": "month", "limit_nano": 12_500_000_000, "limit_usd": "12.50"}
    assert "hash" not in made
    key = parse_key(made["key"])
    assert key is not None
    assert asyncio.run(operator.directory.lookup(key)) == record
    state = operator.bench.state(record)
    assert (state["limit"], state["maxc"], len(state["period"])) == (12_500_000_000, 3, 6)


def test_a_new_keys_text_stands_alone_on_its_line(operator: Operator) -> None:
    result = operator.run("keys", "create", "x")
    keys = [line for line in result.stdout.splitlines() if parse_key(line)]
    assert len(keys) == 1
    assert keys[0] not in operator.run("keys", "list").output


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_kid_is_never_cut_by_a_narrow_terminal(operator: Operator, width: int) -> None:
    record = operator.record(operator.json("keys", "create", "x" * 60, "--models", "gemini-2.5-flash,b*")["kid"])
    console = Console(width=width, file=io.StringIO())
    console.print(key_table([record]))
    shown = console.file.getvalue()
    assert f"│ {record.kid} │" in shown
    assert "…" not in shown.partition("┡")[2]


def test_keys_are_listed_and_revoked(operator: Operator) -> None:
    kids = [operator.json("keys", "create", f"key {number}")["kid"] for number in range(12)]
    listed = operator.json("keys", "list")["data"]
    assert sorted(record["kid"] for record in listed) == sorted(kids)
    shown = operator.run("keys", "list").stdout
    assert all(kid in shown for kid in kids)

    assert operator.json("keys", "revoke", kids[3])["status"] == "revoked"
    assert "revoked" in operator.run("keys", "revoke", kids[4]).stderr
    statuses = {record["kid"]: record["status"] for record in operator.json("keys", "list")["data"]}
    assert [statuses[kid] for kid in kids[2:6]] == ["active", "revoked", "revoked", "active"]
    revoked = operator.bench.request(operator.record(kids[3]))
    assert asyncio.run(operator.bench.ledger.admit(revoked)) == Refused("key_inactive")


def test_a_key_is_changed_and_what_is_not_named_stays(operator: Operator) -> None:
    made = operator.json(
        "keys", "create", "a", "--rpm", "60", "--models", "x", "--budget-usd", "1", "--period", "month"
    )
    changed = operator.json(
        *("keys", "update", made["kid"], "--budget-usd", "2.5", "--unlimited", "rpm,models", "--name", "b"),
        "--disable",
    )
    expected = {
        **{name: value for name, value in made.items() if name != "key"},
        "name": "b",
        "rpm": None,
        "version": 2,
    }
    expected |= {"models": [], "status": "disabled"}
    expected["budget"] = {"period": "month", "limit_nano": 2_500_000_000, "limit_usd": "2.50"}
    assert changed == expected
    state = operator.bench.state(operator.record(made["kid"]))
    assert (state["limit"], state["avail"], state["kids"]) == (2_500_000_000, 2_500_000_000, {made["kid"]: "disabled"})
    assert operator.json("keys", "update", made["kid"], "--enable")["status"] == "active"
    assert operator.json("keys", "update", made["kid"], "--unlimited", "budget")["budget"]["period"] == "none"
    assert "b" in operator.run("keys", "update", made["kid"], "--owner", "me").stdout
    assert "nothing to change" in operator.run("keys", "update", made["kid"], expect=2).stderr
    assert "--unlimited takes" in operator.run("keys", "update", made["kid"], "--unlimited", "name", expect=2).stderr


def test_a_rotated_key_shares_account_and_terms(operator: Operator) -> None:
    made = operator.json("keys", "create", "a", "--rpm", "60")
    fresh = operator.json("keys", "rotate", made["kid"], "--overlap", "60")
    assert (fresh["acct"], fresh["rpm"], fresh["name"]) == (made["kid"], 60, "a")
    assert parse_key(fresh["key"]) is not None
    old = operator.record(made["kid"])
    assert (old.replaced_by, old.expires_at is not None) == (fresh["kid"], True)
    assert "rotated already" in operator.run("keys", "rotate", made["kid"], expect=2).stderr


def test_csv_holds_every_row_and_no_formula(operator: Operator) -> None:
    key = operator.record(operator.json("keys", "create", "=cmd()")["kid"])
    operator.use(key, DAY, DAY)
    span = ("--from", "2027-01-01", "--to", "2027-01-31")
    lines = list(csv.DictReader(io.StringIO(operator.run("usage", "--by", "key", "--csv", *span).stdout)))
    assert [(line["kid"], line["name"], line["cost_nano_usd"]) for line in lines] == [(key.kid, "'=cmd()", "100")]
    shown = operator.run("usage", "requests", "--key", key.kid, "--day", "2027-01-15", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [(row["kid"], row["cost_usd"], row["stream"]) for row in rows] == [(key.kid, "0.00000005", "True")] * 2


def test_usage_is_grouped_and_summed_exactly(operator: Operator) -> None:
    one, two = (operator.record(operator.json("keys", "create", name)["kid"]) for name in ("one", "two"))
    operator.use(one, "20270114", DAY, DAY)
    operator.use(two, DAY, model="gemini-3-pro", status=500)
    span = ("--from", "2027-01-14", "--to", "2027-01-15")

    by_day = operator.json("usage", *span)
    assert [(row["day"], row["requests"], row["errors"], row["cost_nano_usd"]) for row in by_day["data"]] == [
        ("2027-01-14", 1, 0, 50),
        ("2027-01-15", 3, 1, 150),
    ]
    assert (by_day["total"]["cost_nano_usd"], by_day["total"]["cost_usd"]) == (200, "0.0000002")
    by_model = operator.json("usage", *span, "--by", "model")["data"]
    assert [(row["model"], row["requests"]) for row in by_model] == [("gemini-2.5-flash", 3), ("gemini-3-pro", 1)]
    by_key = {
        row["kid"]: (row["name"], row["requests"]) for row in operator.json("usage", *span, "--by", "key")["data"]
    }
    assert by_key == {one.kid: ("one", 3), two.kid: ("two", 1)}
    assert operator.json("usage", *span, "--key", one.kid)["total"]["requests"] == 3
    assert operator.json("usage", "--from", "2027-01-14", "--to", "2027-01-14")["total"]["requests"] == 1
    assert operator.json("usage")["data"] == []  # those days lie in the future
    table = operator.run("usage", *span).stdout
    assert "2027-01-14" in table
    assert "0.0000002" in table


def test_an_account_with_a_rotated_key_is_counted_once(operator: Operator) -> None:
    first = operator.record(operator.json("keys", "create", "one")["kid"])
    asyncio.run(operator.keys.put(replace(first, kid="rotated000000000", created_at=first.created_at + 1)))
    operator.use(first, DAY)
    found = operator.json("usage", "--from", "2027-01-15", "--to", "2027-01-15", "--by", "key")
    assert [(row["kid"], row["requests"]) for row in found["data"]] == [(first.kid, 1)]


def test_requests_show_the_newest_first_unless_asked_otherwise(operator: Operator) -> None:
    key = operator.record(operator.json("keys", "create", "one")["kid"])
    operator.use(key, DAY, DAY, DAY)
    arguments = ("usage", "requests", "--key", key.kid, "--day", "2027-01-15")
    newest, oldest = (operator.json(*arguments, *more)["data"] for more in ([], ["--oldest-first"]))
    order = [(row["ts"], row["request_id"]) for row in oldest]
    assert len(order) == 3
    assert order == sorted(order)
    assert newest == oldest[::-1]


def test_the_requests_of_a_day(operator: Operator) -> None:
    key = operator.record(operator.json("keys", "create", "one")["kid"])
    operator.use(key, DAY, DAY, "20270114")
    rows = operator.json("usage", "requests", "--key", key.kid, "--day", "2027-01-15")["data"]
    assert len(rows) == 2
    assert (rows[0]["kid"], rows[0]["cost_nano_usd"], rows[0]["cost_usd"]) == (key.kid, 50, "0.00000005")
    shown = operator.run("usage", "requests", "--key", key.kid, "--day", "2027-01-15").stdout
    assert all(row["request_id"] in shown for row in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["keys", "create"], "Missing argument"),
        (["keys", "create", "x", "--budget-usd", "twelve"], "12.50"),
        (["keys", "create", "x", "--budget-usd", "-1"], "at least 0"),
        (["keys", "create", "x", "--budget-usd", "NaN"], "at least 0"),
        (["keys", "create", "x", "--budget-usd", "0.0000000001"], "nine decimals"),
        (["keys", "create", "x", "--period", "day"], "--budget-usd"),
        (["keys", "create", "x", "--budget-usd", "1", "--period", "week"], "month"),
        (["keys", "create", "x", "--rpm", "-1"], "--rpm"),
        (["keys", "create", "x", "--endpoints", "everything"], "endpoints"),
        (["keys", "create", " "], "name"),
        (["keys", "create", "x", "--models", ""], "everything"),
        (["keys", "create", "x", "--ip-allow", " , "], "everything"),
        (["keys", "update", "x", "--endpoints", ""], "everything"),
        (["keys", "create", "x", "--expires-at", "soon"], "2027-01-31"),
        (["usage", "--by", "week"], "day, model or key"),
        (["usage", "--from", "2027-01-02", "--to", "2027-01-01"], "--from"),
        (["usage", "--from", "2025-01-01", "--to", "2027-01-01"], "366"),
        (["usage", "--to", "9999-99-99"], "2027-01-31"),
        (["keys", "create", "x", "--expires-at", "9999-12-31T23:59:59-10:00"], "9999"),
        (["usage", "requests", "--key", "x", "--day", "15.1.2027"], "2027-01-31"),
        (["usage", "requests", "--key", "x"], "--day"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(operator: Operator, arguments: list[str], words: str) -> None:
    assert words in operator.run(*arguments, expect=2).stderr
    assert operator.json("keys", "list")["data"] == []


@pytest.mark.parametrize("span", [("--to", "0001-01-05"), ("--from", "0987-01-05", "--to", "0987-01-05")])
def test_days_of_long_ago_have_no_usage(operator: Operator, span: tuple[str, ...]) -> None:
    kid = operator.json("keys", "create", "one")["kid"]
    operator.use(operator.record(kid), "09870105")
    found = operator.json("usage", *span)["data"]
    assert [row["day"] for row in found] == (["0987-01-05"] if "--from" in span else [])


def test_a_record_that_expires_after_the_year_9999_hides_no_other(operator: Operator) -> None:
    record = operator.record(operator.json("keys", "create", "one")["kid"])
    asyncio.run(operator.keys.put(replace(record, kid="old", expires_at=2**53 - 1)))
    assert record.kid in operator.run("keys", "list").stdout


@pytest.mark.parametrize("arguments", [["keys", "revoke", "nobody"], ["usage", "--key", "nobody"]])
def test_an_unknown_key_ends_with_1(operator: Operator, arguments: list[str]) -> None:
    result = operator.run(*arguments, expect=1)
    assert result.stderr == "gwctl: There is no key nobody.\n"
    assert result.stdout == ""


def test_without_a_gateway_it_says_what_to_do(tmp_path: Path) -> None:
    environ = {"GATEWAY_STATE_DIR": str(tmp_path), "USAGE_TABLE": None, "STAGE": None}
    result = CliRunner().invoke(app, ["keys", "list"], env=environ)
    assert result.exit_code == 1
    assert "make run" in result.stderr
    result = CliRunner().invoke(app, ["--stage", "prod", "keys", "list"], env=environ)
    assert result.exit_code == 1
    assert "USAGE_TABLE" in result.stderr


def test_a_gateway_that_was_killed_is_unreachable(operator: Operator, tmp_path: Path) -> None:
    dead = {**operator.names, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    (tmp_path / "aws" / "environment.json").write_text(json.dumps(dead))
    result = operator.run("keys", "list", expect=1)
    assert "cannot be reached" in result.stderr


STACK = """
Parameters: {Stage: {Type: String}}
Resources:
  UsageTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      KeySchema: [{AttributeName: pk, KeyType: HASH}, {AttributeName: sk, KeyType: RANGE}]
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}, {AttributeName: sk, AttributeType: S}]
Outputs: {UsageTableName: {Value: !Ref UsageTable}}
"""


def test_a_deployed_gateway_is_found_by_its_stack(tmp_path: Path) -> None:
    services = ("cloudformation", "dynamodb", "s3", "ssm", "secretsmanager", "sqs", "sts")
    cloud = EmbeddedAws(tmp_path, persist=False, services=services)
    environ: dict[str, str | None] = {**cloud.start(), "USAGE_TABLE": None, "AWS_PROFILE": None}
    for name in ("KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "STAGE", "AWS_SESSION_TOKEN"):
        environ[name] = None

    def invoke(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environ | more)

    aws = Aws({name: value for name, value in environ.items() if value})
    try:
        stacks = aws.client("cloudformation", patient=True)
        for name, text in (("gw", STACK), ("other", STACK.partition("Outputs")[0])):
            stacks.create_stack(
                StackName=name, TemplateBody=text, Parameters=[{"ParameterKey": "Stage", "ParameterValue": "blue"}]
            )
            stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        pepper = '{"current":"p1","p1":"x"}'
        aws.client("secretsmanager").create_secret(Name="gw/blue/pepper", SecretString=pepper)

        made = json.loads(invoke("--stack", "gw", "keys", "create", "first", "--json").stdout)
        assert asyncio.run(SsmKeyStore(aws, "/gw/blue/keys/").resolve(made["kid"])) is not None
        assert "no gateway" in invoke("--stack", "other", "keys", "list").stderr
        missing = invoke("--stack", "missing", "keys", "list")
        assert (missing.exit_code, "no stack missing" in missing.stderr) == (1, True)

        table = stacks.describe_stacks(StackName="gw")["Stacks"][0]["Outputs"][0]["OutputValue"]
        by_stage = invoke("--stage", "blue", "keys", "list", "--json", USAGE_TABLE=table)
        assert [record["kid"] for record in json.loads(by_stage.stdout)["data"]] == [made["kid"]]
    finally:
        aws.close()
        cloud.stop()


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (12_500_000_000, "12.50"),
        (1_234_567_891, "1.234567891"),
        (10_000_000, "0.01"),
        (-1_500_000_000, "-1.50"),
        (2**53 - 1, "9007199.254740991"),
    ],
)
def test_money_is_shown_exactly(nano: int, text: str) -> None:
    assert usd(nano) == text


def test_the_installed_command_runs_from_any_folder(tmp_path: Path) -> None:
    """Through the link that `make setup` puts into .venv/bin."""
    link = tmp_path / "gwctl"
    link.symlink_to(PROJECT / "infra" / "cli" / "gwctl")
    done = subprocess.run([link, "keys", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gwctl keys" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "NoRegionError"), ({"AWS_DEFAULT_REGION": "us-east-1", "AWS_PROFILE": "none"}, "ProfileNotFound")],
)
def test_what_the_operators_own_configuration_lacks_is_said_in_a_line(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    names = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    environ = dict.fromkeys(names) | {"HOME": str(tmp_path)} | given
    result = CliRunner().invoke(app, ["--stack", "gateway", "keys", "list"], env=environ, prog_name="gwctl")
    assert result.exit_code == 1
    assert result.stderr == f"gwctl: the stores cannot be reached: cloudformation.describe_stacks: {said}\n"
