"""The loader of template.yaml and the resolution of its references."""

import json

import pytest

from infra.local.aws_resources import generated_secret
from infra.local.template import Template

TEXT = """
Parameters:
  Stage: {Type: String, Default: prod}
  Keys: {Type: String}
Conditions:
  Cloud: !Not [!Equals [!Ref Stage, local]]
  Both: !And [!Condition Cloud, !Or [!Equals [a, b], !Equals [a, a]]]
Globals:
  Function:
    Environment:
      Variables:
        TABLE: !Ref Table
        PREFIX: !Sub /gw/${Stage}/keys/
        LONG: !Sub ["${A}/${Stage}/${AWS::Region}", {A: !Ref Keys}]
        ARN: !GetAtt Queue.Arn
        JOINED: !Join ["-", [a, !Ref Stage]]
        CHOSEN: !If [Cloud, cloud, laptop]
        UNKNOWN: !Ref Nothing
        LATER: !ImportValue x
Resources:
  Table: {Type: T, Properties: {Keys: [!Ref Stage]}}
  Queue: {Type: Q}
  OnlyCloud: {Type: Q, Condition: Cloud}
  OnlyBoth: {Type: Q, Condition: Both}
"""


def template(stage: str) -> Template:
    made = Template(TEXT, {"Stage": stage, "Keys": "k"}, "us-east-1", "000000000000")
    made.physical |= {"Table": "table-1", "Queue.Arn": "arn:q"}
    return made


def test_references_are_resolved() -> None:
    found = template("local")
    variables = found.environment()
    resolved = {name: found.resolve(value) for name, value in variables.items() if name not in ("UNKNOWN", "LATER")}
    assert resolved == {
        "TABLE": "table-1",
        "PREFIX": "/gw/local/keys/",
        "LONG": "k/local/us-east-1",
        "ARN": "arn:q",
        "JOINED": "a-local",
        "CHOSEN": "laptop",
    }
    assert found.resolve(dict(found.resources("T")["Table"])) == {"Keys": ["local"]}


@pytest.mark.parametrize("name", ["UNKNOWN", "LATER"])
def test_what_is_not_known_is_an_error_and_no_text(name: str) -> None:
    found = template("local")
    with pytest.raises(KeyError):
        found.resolve(found.environment()[name])


def test_conditions_choose_resources() -> None:
    assert set(template("local").resources("Q")) == {"Queue"}
    assert set(template("prod").resources("Q")) == {"Queue", "OnlyCloud", "OnlyBoth"}


def test_defaults_hold_where_nothing_is_given() -> None:
    assert Template(TEXT, {}, "r", "a").resolve({"Ref": "Stage"}) == "prod"


def test_a_generated_secret_keeps_its_template() -> None:
    rules = {"SecretStringTemplate": '{"current":"p1"}', "GenerateStringKey": "p1", "PasswordLength": 64}
    made = json.loads(generated_secret(rules))
    assert made["current"] == "p1"
    assert len(made["p1"]) == 64
    assert made["p1"].isalnum()
    assert made != json.loads(generated_secret(rules))
    assert len(generated_secret({})) == 32
