"""`make deploy-local` as its user starts it, and what a test asks of the AWS that it deployed to."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.local.aws import ENVIRONMENT_FILE
from infra.local.sam import Sam
from shared.stores.aws import Aws
from tests.running import ROOT, clean_environment

READY_S = 240.0


@dataclass(frozen=True)
class Deployment:
    base_url: str
    admin_key: str
    client_key: str
    home: Path
    process: subprocess.Popen[bytes]
    output: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """Of a client of that AWS, as root."""
        found: dict[str, str] = json.loads((self.home / "aws" / ENVIRONMENT_FILE).read_text())
        return found

    @property
    def variables(self) -> dict[str, str]:
        """The same, for another process."""
        return {name: value for name, value in self.environment.items() if value}

    @cached_property
    def sam(self) -> Sam:
        """On the same AWS, with the artefacts that were deployed."""
        return Sam(self.environment, self.home)

    @cached_property
    def aws(self) -> Aws:
        return Aws(self.environment)

    def client(self, service: str) -> Any:
        return self.aws.client(service, patient=True)

    def stack(self, name: str) -> Mapping[str, Any]:
        found: list[Mapping[str, Any]] = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return found[0]

    def physical(self, stack: str, logical: str) -> str:
        answer = self.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=logical)
        identifier: str = answer["StackResourceDetail"]["PhysicalResourceId"]
        return identifier

    def gwctl(self, stack: str | None, *arguments: str) -> Any:
        """By a stack's name as in a real account, else by the folder that `make deploy-local` names."""
        found = self.variables if stack else {"GATEWAY_STATE_DIR": str(self.home)}
        named = ["--stack", stack] if stack else []
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *named, *arguments, "--json"],
            cwd=ROOT,
            env=clean_environment() | found,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def served_by(self, request_id: str) -> str:
        """The name of the function that the edge gave a request to, by the `x-amzn-requestid` of its reply."""
        for line in (self.home / "functions.log").read_text(errors="replace").splitlines():
            if line.startswith('{"type": "edge.start"') and request_id in line:
                name: str = json.loads(line)["function"]
                return name
        raise AssertionError(f"the edge has not served {request_id}")


@contextmanager
def running_deployment(state: Path, environment: Mapping[str, str]) -> Iterator[Deployment]:
    """Ready; stopped as Ctrl-C would, which must succeed."""
    state.mkdir(parents=True, exist_ok=True)
    output = state / "output.log"
    ports = {"LOCAL_EDGE_PORT": "0", "LOCAL_AWS_PORT": "0"}
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.deploy"],
            cwd=ROOT,
            env=clean_environment() | ports | {"GATEWAY_STATE_DIR": str(state)} | dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        credentials = state / "deploy" / "credentials.json"
        wait_until(credentials.exists, READY_S, lambda: process.poll() is None, output)
        made = json.loads(credentials.read_text())
        yield Deployment(made["base_url"], made["admin_key"], made["client_key"], state / "deploy", process, output)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, output.read_text()


def wait_until(
    done: Callable[[], Any], patience_s: float, alive: Callable[[], bool] = lambda: True, log: Path | None = None
) -> Any:
    """What `done` gives once it is true."""
    end = time.monotonic() + patience_s
    while not (found := done()):
        said = log.read_text(errors="replace")[-3000:] if log else ""
        assert alive(), said
        assert time.monotonic() < end, f"not within {patience_s} s. {said}"
        time.sleep(0.1)
    return found
