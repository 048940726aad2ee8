"""What the targets stand on, the upstream stub and the AWS stub, and the targets: each a process of its own."""

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.gateway.keyring import BASE62, KID_LENGTH, SECRET_LENGTH, key_hash, make_key
from shared.stores import key_records
from shared.stores.protocols import KeyRecord
from tests.bench.measure import ROOT, Measured, clean_environment

_READY_S = 60.0
_STORES = {
    "STAGE": "bench",
    "USAGE_TABLE": "usage",
    "KEY_PARAMETER_PREFIX": "/gw/bench/keys/",
    "PEPPER_SECRET_ID": "gw/bench/pepper",
    "GEMINI_POOL_SECRET_ID": "gw/bench/gemini-pool",
    "SETTLE_QUEUE_URL": "http://127.0.0.1/settle",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class PortTaken(Exception):
    """Somebody else listens there; the benchmark would measure a stranger."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Addresses and keys; `folder` is where logs and state go."""

    folder: Path
    upstream_port: int
    aws_port: int
    client_key: str
    admin_key: str

    def function_environment(self) -> dict[str, str]:
        """A function's variables, as template.yaml sets them, with the credential in the pool secret."""
        return {
            **_STORES,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.aws_port}",
            "GEMINI_BASE_URL": f"http://127.0.0.1:{self.upstream_port}",
            "LOG_LEVEL": "INFO",
        }


@dataclass(frozen=True, slots=True)
class Target:
    """A running server: `tree` is None for the stub asked directly."""

    name: str
    port: int
    running: Measured | None

    def cpu_ns(self) -> int:
        return self.running.tree.cpu_ns() if self.running else 0


def free_port(wanted: int = 0) -> int:
    """PortTaken where `wanted` is in use."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise PortTaken(f"port {wanted} is taken") from error
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def ground() -> Iterator[Ground]:
    """Both stubs, running."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        client_key, client_record = _key("bench client", ())
        admin_key, admin_record = _key("bench admin", ("admin",))
        seed = {
            "parameters": {
                f"/gw/bench/keys/{record.kid}": key_records.dumps(record) for record in (client_record, admin_record)
            },
            "secrets": {
                "gw/bench/pepper": json.dumps({"current": "p1", "peppers": {"p1": base64.b64encode(_PEPPER).decode()}}),
                "gw/bench/gemini-pool": json.dumps({"comma_separated": "stub-key"}),
            },
        }
        (folder / "seed.json").write_text(json.dumps(seed))
        upstream = stack.enter_context(_stub("tests.bench.stub"))
        aws = stack.enter_context(_stub("tests.bench.aws", str(folder / "seed.json")))
        yield Ground(folder, upstream, aws, client_key, admin_key)


_PEPPER = secrets.token_bytes(32)


def _key(name: str, endpoints: tuple[str, ...]) -> tuple[str, KeyRecord]:
    kid, secret = ("".join(secrets.choice(BASE62) for _ in range(n)) for n in (KID_LENGTH, SECRET_LENGTH))
    record = KeyRecord(
        kid=kid, acct=kid, hash=key_hash(_PEPPER, secret), pepper_id="p1", name=name, endpoints=endpoints
    )
    return make_key(kid, secret), record


@contextmanager
def _stub(module: str, *arguments: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=clean_environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{module} does not start")
        yield int(line)
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def reference_command(name: str) -> list[str]:
    return [sys.executable, "-m", f"tests.bench.references.{name}"]


def start_reference(name: str, where: Ground) -> Measured:
    port = free_port()
    environ = {"PORT": str(port), "UPSTREAM": f"127.0.0.1:{where.upstream_port}"}
    return Measured(reference_command(name), environ, where.folder / f"{name}.log", port)


def start_gateway(where: Ground, more: Mapping[str, str] | None = None) -> Measured:
    """`make run`'s process, its AWS and its upstream given; `more` are further variables."""
    port = free_port()
    state = where.folder / f"state-{port}"
    (state / "aws").mkdir(parents=True)
    environment = where.function_environment()
    aws = {name: value for name, value in environment.items() if name != "LOG_LEVEL"}
    (state / "aws" / "environment.json").write_text(json.dumps(aws))
    keys = {"base_url": "", "client_key": where.client_key, "admin_key": where.admin_key}
    (state / "credentials.json").write_text(json.dumps(keys))
    environ = {
        "GATEWAY_PORT": str(port),
        "GATEWAY_STATE_DIR": str(state),
        "GEMINI_API_KEY": "stub-key",
        "GEMINI_BASE_URL": environment["GEMINI_BASE_URL"],
        **(more or {}),
    }
    return Measured([sys.executable, "-m", "infra.local"], environ, where.folder / "gateway.log", port)


def start_litellm(where: Ground) -> Measured | None:
    """Reference P, where BENCH_LITELLM names the Python of an environment that has it."""
    python = os.environ.get("BENCH_LITELLM", "")
    if not python:
        return None
    port = free_port()
    models = {"model": "gemini/*", "api_key": "stub-key", "api_base": _api_base(where)}
    config = where.folder / "litellm.json"
    listed = {"model_list": [{"model_name": "*", "litellm_params": models}]}
    config.write_text(json.dumps({**listed, "general_settings": {"master_key": where.client_key}}))
    environ = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true", "LITELLM_LOG": "ERROR"}
    command = [str(Path(python).parent / "litellm"), "--config", str(config), "--port", str(port)]
    command += ["--host", "127.0.0.1"]
    return Measured(command, environ, where.folder / "litellm.log", port)


def _api_base(where: Ground) -> str:
    return f"http://127.0.0.1:{where.upstream_port}/v1beta"


def await_port(measured: Measured) -> None:
    """Returns when it accepts connections."""
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        if measured.process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", measured.port), 1).close()
            return
        except OSError:
            time.sleep(0.002)
    raise RuntimeError(f"{measured.process.args!r} does not listen: {measured.log.read_text()[-1000:]}")
