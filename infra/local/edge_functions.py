"""Deployed functions made runnable here: their code unpacked, their variables, their role, AWS's own Python client."""

import io
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from infra.local import tool_environments
from infra.local.edge_discovery import DeployedFunction
from infra.local.execution import RUNTIME, FunctionConfiguration
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws

_LOCAL = Path(__file__).parent
_BOOTSTRAP = _LOCAL / "runtime" / "bootstrap.py"
_TASK_ROOT = "/var/task/"
_PROCESSES = 10  # of one function at a time; Lambda answers 429 beyond a function's concurrency
# A session of an assumed role ends after an hour; processes are replaced well before.
_LIFETIME_S = 3000.0


def runtime_python() -> Path:
    """The interpreter of functions: AWS's runtime client and boto3, as on Lambda, and nothing of this project's."""
    requirements = _LOCAL / "requirements-image.txt"
    return tool_environments.environment("runtime", requirements, "what Lambda's Python runtime holds") / "python"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every deployed function is run with. `code` is a private folder for unpacked zips; `endpoint` the AWS they
    came from and talk to; `extra` are variables that no stack may hold; without `wrapper` AWS's own
    loop runs, which buffers.
    """

    aws: Aws
    endpoint: str
    region: str
    code: Path
    python: Path
    extra: Mapping[str, str]
    log: IO[bytes] | None = None
    wrapper: bool = True

    def configuration(self, function: DeployedFunction) -> FunctionConfiguration:
        """ConfigurationError where the function is for another Python than ours: its wheels would not load."""
        if function.runtime != RUNTIME:
            raise ConfigurationError(f"{function.name} is for {function.runtime}, this is {RUNTIME}")
        task_root = self._unpacked(function)
        variables = dict(function.variables)
        return FunctionConfiguration(
            handler=function.handler,
            command=self._command(variables, task_root),
            task_root=task_root,
            environment={
                **variables,
                # declared empty it would beat the endpoint and lead to the real AWS
                "AWS_ENDPOINT_URL": variables.get("AWS_ENDPOINT_URL") or self.endpoint,
                "AWS_REGION": self.region,
                **self.extra,
            },
            name=function.name,
            timeout=function.timeout,
            memory_mb=function.memory_mb,
            processes=_PROCESSES,
            log=self.log,
            arn=function.arn,
            version=function.version,
            runtime=function.runtime,
            log_group=function.log_group,
            credentials=self._session_of(function),
            lifetime=_LIFETIME_S,
        )

    def _command(self, variables: Mapping[str, str], task_root: Path) -> list[str]:
        stock = [str(self.python), str(_BOOTSTRAP)]
        wrapper = variables.get("AWS_LAMBDA_EXEC_WRAPPER", "")
        if not self.wrapper or not wrapper:
            return stock
        return [str(task_root / wrapper.removeprefix(_TASK_ROOT)), *stock]

    def _session_of(self, function: DeployedFunction) -> Callable[[], Mapping[str, str]]:
        def assume() -> Mapping[str, str]:
            client = self.aws.client("sts", patient=True)
            answer = client.assume_role(RoleArn=function.role, RoleSessionName=function.name[:64])["Credentials"]
            return {
                "AWS_ACCESS_KEY_ID": answer["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": answer["SecretAccessKey"],
                "AWS_SESSION_TOKEN": answer["SessionToken"],
            }

        return assume

    def _unpacked(self, function: DeployedFunction) -> Path:
        """One folder for all functions of the same code."""
        folder = self.code / function.code_sha256.replace("/", "_").rstrip("=")
        if not folder.exists():
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.endpoint + function.code_location, timeout=30) as answer:
                unpack(answer.read(), folder)
        return folder


def unpack(archive: bytes, folder: Path) -> None:
    """A deployment package as Lambda lays it out: with the modes it carries. ConfigurationError if it is none."""
    draft = folder.with_name(f"{folder.name}.partial")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as package:
            for entry in package.infolist():
                path = Path(package.extract(entry, draft))
                mode = entry.external_attr >> 16 & 0o7777
                if mode and not entry.is_dir():
                    path.chmod(mode)
    except zipfile.BadZipFile as error:
        raise ConfigurationError(f"{folder.name}: the code is no zip") from error
    draft.rename(folder)
