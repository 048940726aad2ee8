"""The embedded AWS of `make run`: ministack in an environment of its own, on loopback, its state under one folder.

ministack (PyPI, MIT) writes its state only when it is stopped with SIGTERM or SIGINT. It is therefore told to stop
when this process dies, and what a `kill -9` of ministack itself loses is everything since its last clean stop.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from infra.local import tool_environments
from infra.local.aws_resources import ACCOUNT, REGION, create_missing
from infra.local.template import Template
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws

ROOT = tool_environments.ROOT
ENVIRONMENT_FILE = "environment.json"

_REQUIREMENTS = Path(__file__).with_name("requirements-aws.txt")
_LAUNCHER = Path(__file__).with_name("with_parent.py")
_SERVICES = ("dynamodb", "ssm", "secretsmanager", "sqs", "sts", "s3")
_LOCK_S = 20.0
_READY_S = 20.0
_STOP_S = 4.0


class EmbeddedAwsError(ConfigurationError):
    """The embedded AWS cannot be started; the message says why."""


class EmbeddedAws:
    """One ministack process. Start it from the main thread: on Linux it ends with the thread that started it.

    `home` is made with mode 0700. `persist` keeps the state across restarts. `host` is the address to listen on;
    containers need their bridge's. `port` 0 takes a free one. `parameters` are those of template.yaml. `services` not
    named answer 400; None is every service that ministack has.
    """

    def __init__(
        self,
        home: Path,
        persist: bool = True,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        stage: str = "local",
        parameters: Mapping[str, str] | None = None,
        template: Path = ROOT / "template.yaml",
        services: Sequence[str] | None = _SERVICES,
    ) -> None:
        self._home = home.absolute()
        self._persist = persist
        self._host = host
        self._port = port
        self._stage = stage
        # the pool's secret exists so that functions can read one; no real credential ever enters ministack
        self._parameters = {"GeminiApiKeys": "emulator-key", **(parameters or {}), "Stage": stage}
        self._template = template
        self._services = services
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, str]:
        """Start, wait until it answers, make what is missing; returns the environment by which stores find it."""
        environment = self.start_bare()
        try:
            return self._furnish(environment)
        except BaseException:
            self.stop()
            raise

    def start_bare(self) -> dict[str, str]:
        """Start and wait until it answers, with nothing in it yet; returns the environment of a client of it."""
        command = installed()
        for folder in (self._home, self._home / "state"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._home.chmod(0o700)
        with _locked(self._home) as lock:
            self._empty_temporary()
            port = self._port or _free_port(self._host)
            url = f"http://{self._host}:{port}"
            self._process = self._launch(command, url, port, lock)
        try:
            self._await_ready(url)
        except BaseException:
            self.stop()
            raise
        return {
            **_client_environment(url),
            "AWS_REGION": REGION,
            "AWS_SESSION_TOKEN": "",  # of the operator's real account, if any
            "AWS_PROFILE": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": f"127.0.0.1,localhost,{self._host}",
        }

    def stop(self) -> None:
        """SIGTERM, and at most four seconds for saving; a slower one saves on by itself and holds the lock."""
        (self._home / ENVIRONMENT_FILE).unlink(missing_ok=True)
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            if not self._persist:
                process.kill()
                process.wait()
                return
            print(f"gateway: the embedded AWS (pid {process.pid}) is still saving its state", file=sys.stderr)

    def _empty_temporary(self) -> None:
        shutil.rmtree(self._home / "tmp", ignore_errors=True)
        (self._home / "tmp").mkdir(mode=0o700)

    def _launch(self, command: Path, url: str, port: int, lock: IO[str]) -> subprocess.Popen[bytes]:
        """The child inherits the lock, which is therefore free only when its state is saved."""
        with (self._home / "ministack.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-S", "-E", str(_LAUNCHER), str(os.getpid()), str(command)],
                env=self._environment(url, port),
                umask=0o077,  # it writes secrets in plain text
                start_new_session=True,  # the terminal's Ctrl-C is ours alone
                pass_fds=[lock.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _environment(self, url: str, port: int) -> dict[str, str]:
        """From nothing: ministack would inherit our own GATEWAY_PORT, and real credentials."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
            "TMPDIR": str(self._home / "tmp"),
            "BIND_HOST": self._host,
            "GATEWAY_PORT": str(port),
            "AUTH": "true",  # any web page of this machine's browser could call it unsigned otherwise
            "IOT_MTLS_ENABLED": "0",  # else it listens on 0.0.0.0:8883
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent",
            **_client_environment(url),
        }
        if self._services is not None:
            environment["SERVICES"] = ",".join(self._services)
        if self._persist:
            environment |= {"PERSIST_STATE": "1", "STATE_DIR": str(self._home / "state")}
        return environment

    def _await_ready(self, url: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                with opener.open(f"{url}/_ministack/ready", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise EmbeddedAwsError(f"the embedded AWS does not start; its last words:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join((self._home / "ministack.log").read_text("utf-8", "replace").splitlines()[-10:])

    def _furnish(self, client: Mapping[str, str]) -> dict[str, str]:
        template = Template.read(self._template, self._parameters, REGION, ACCOUNT)
        aws = Aws(client)
        try:
            environment = {**client, **create_missing(template, aws, self._stage)}
        finally:
            aws.close()
        write_private(self._home / ENVIRONMENT_FILE, environment)
        return environment


def _client_environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }


def write_private(path: Path, value: Mapping[str, str]) -> None:
    """JSON that only its owner reads, replaced in one step."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    draft.replace(path)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _locked(home: Path) -> IO[str]:
    """The folder's lock with our pid in it; closing the file gives it up unless a child holds it too."""
    lock = (home / "lock").open("a+", encoding="utf-8")
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise EmbeddedAwsError(f"{home} is in use by another gateway") from None
            _end_orphan(home)
            time.sleep(0.1)
        else:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            return lock


def _end_orphan(home: Path) -> None:
    """Where nothing tells ministack that its parent died (macOS) it lives on with the lock: ask it to end."""
    owner = _pid(home / "lock")
    if owner is None or _command_of(owner):
        return
    for file in (home / "tmp").glob("ministack-*.pid"):
        pid = _pid(file)
        if pid is not None and "ministack" in _command_of(pid):
            os.kill(pid, signal.SIGTERM)


def _pid(file: Path) -> int | None:
    try:
        return int(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _command_of(pid: int) -> str:
    """Empty where no such process lives."""
    if Path("/proc/self").exists():  # Linux, where `ps` may be missing
        try:
            return Path(f"/proc/{pid}/cmdline").read_text("utf-8").replace("\0", " ")
        except OSError:
            return ""
    asked = subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def installed() -> Path:
    """The `ministack` command, installed on first use and whenever the lock file has changed."""
    return tool_environments.environment("aws", _REQUIREMENTS, "the embedded AWS") / "ministack"
