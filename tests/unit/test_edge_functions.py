"""A deployed function as the edge runs it: its code with its modes, its variables, its wrapper, its role."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.local.edge_discovery import DeployedFunction
from infra.local.edge_functions import Workshop, unpack
from infra.local.execution import RUNTIME, FunctionConfiguration
from shared.gateway.settings import ConfigurationError

PYTHON = Path("/runtime/python")
FUNCTION = DeployedFunction(
    url_host="a.lambda-url.us-east-1.on.aws",
    name="f" * 80,
    arn="arn:aws:lambda:us-east-1:000000000000:function:f:live",
    version="3",
    handler="handlers.chat.handler",
    runtime=RUNTIME,
    role="arn:aws:iam::000000000000:role/r",
    timeout=60.0,
    memory_mb=512,
    variables={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/stream-wrapper", "AWS_ENDPOINT_URL": "", "STAGE": "local"},
    log_group="/gw/f",
    code_sha256="ab/c=",
    code_location="/code?x",
    revision="1",
)


class Sts:
    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def assume_role(self, **request: str) -> dict[str, dict[str, str]]:
        self.asked.append(request)
        return {"Credentials": {"AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T"}}


class Aws:
    def __init__(self) -> None:
        self.sts = Sts()

    def client(self, service: str, *, patient: bool) -> Sts:
        assert service == "sts"
        return self.sts


def packed(**modes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, mode in modes.items():
            entry = zipfile.ZipInfo(f"folder/{name}")
            entry.external_attr = mode << 16
            archive.writestr(entry, name)
    return buffer.getvalue()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    unpack(packed(wrapper=0o755), tmp_path / "ab_c")
    aws: Any = Aws()
    return Workshop(aws, "http://127.0.0.1:4566", "us-east-1", tmp_path, PYTHON, {"GEMINI_API_KEY": "mine"})


def variables(configuration: FunctionConfiguration) -> dict[str, str]:
    return configuration.variables("127.0.0.1:9001", configuration.credentials())


def test_code_keeps_its_modes(tmp_path: Path) -> None:
    unpack(packed(run=0o755, read=0o444, plain=0), tmp_path / "code")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "code" / "folder").iterdir()}
    assert (modes["run"], modes["read"]) == (0o755, 0o444)
    assert (tmp_path / "code" / "folder" / "plain").read_text() == "plain"
    with pytest.raises(ConfigurationError, match="no zip"):
        unpack(b"nonsense", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_wrapper_of_the_code_starts_the_runtime(workshop: Workshop) -> None:
    command = workshop.configuration(FUNCTION).command
    assert command[:2] == [str(workshop.code / "ab_c" / "stream-wrapper"), str(PYTHON)]
    assert Path(command[2]).name == "bootstrap.py"
    assert replace(workshop, wrapper=False).configuration(FUNCTION).command == command[1:]
    elsewhere = replace(FUNCTION, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap"})
    assert workshop.configuration(elsewhere).command[0] == "/opt/bootstrap"
    assert workshop.configuration(replace(FUNCTION, variables={})).command == command[1:]


def test_variables_are_lambdas(workshop: Workshop) -> None:
    found = variables(workshop.configuration(FUNCTION))
    assert found["STAGE"] == "local"
    assert found["GEMINI_API_KEY"] == "mine"
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"  # an empty one would lead to the real AWS
    assert found["LAMBDA_TASK_ROOT"] == found["PYTHONPATH"] == str(workshop.code / "ab_c")
    assert (found["AWS_LAMBDA_FUNCTION_VERSION"], found["AWS_EXECUTION_ENV"]) == ("3", f"AWS_Lambda_{RUNTIME}")
    assert (found["AWS_LAMBDA_FUNCTION_NAME"], found["AWS_LAMBDA_LOG_GROUP_NAME"]) == (FUNCTION.name, "/gw/f")
    assert (found["_HANDLER"], found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("handlers.chat.handler", "512")
    given = replace(FUNCTION, variables={"AWS_ENDPOINT_URL": "http://other"})
    assert variables(workshop.configuration(given))["AWS_ENDPOINT_URL"] == "http://other"


def test_each_process_assumes_the_role(workshop: Workshop) -> None:
    forged = replace(FUNCTION, variables={"AWS_ACCESS_KEY_ID": "test", "AWS_SESSION_TOKEN": "old"})
    configuration = workshop.configuration(forged)
    for _ in range(2):
        found = variables(configuration)
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        assert [found[name] for name in names] == ["A", "S", "T"]
    aws: Any = workshop.aws
    assert aws.sts.asked == [{"RoleArn": FUNCTION.role, "RoleSessionName": "f" * 64}] * 2
    assert configuration.lifetime < 3600  # of the session
    assert configuration.invoked_arn == FUNCTION.arn


def test_code_for_another_python_is_refused(workshop: Workshop) -> None:
    with pytest.raises(ConfigurationError, match="is for python"):
        workshop.configuration(replace(FUNCTION, runtime="python3.9"))
