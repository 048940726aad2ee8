"""The AWS SAM command line against a local AWS: real `sam build`, `sam deploy` and `sam delete`."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.local.tool_environments import ROOT, tool
from shared.gateway.settings import ConfigurationError

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

_PROGRAM = ROOT / ".tools" / "sam" / "bin" / "sam"
_TIMEOUT_S = 300.0


class SamError(ConfigurationError):
    """A command failed; the message holds its last lines."""


class Sam:
    """`aws` names the local AWS and its root credentials; `folder` takes what is built and a log of every command.

    Functions are built for this machine, and for the Python that runs this: their compiled wheels run here.
    """

    def __init__(self, aws: Mapping[str, str], folder: Path) -> None:
        self._aws = aws
        self._folder = folder
        self._built = folder / "build"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def build(self, template: Path = ROOT / "template.yaml") -> None:
        # a folder of its own: what was built for the real AWS, maybe for another processor, stays
        self._run("build", "--template-file", str(template), "--build-dir", str(self._built), *_overrides(_platform()))

    def deploy(self, stack: str, parameters: Mapping[str, str], template: Path | None = None) -> str:
        """`template` None is what was built. Returns what the command printed."""
        given = parameters if template else {**_platform(), **parameters}
        source = template or self._built / "template.yaml"
        return self._run(
            "deploy", *_config(), "--stack-name", stack, "--template-file", str(source), *_overrides(given)
        )

    def delete(self, stack: str) -> None:
        self._run("delete", "--stack-name", stack, "--no-prompts", "--region", self._aws["AWS_DEFAULT_REGION"])

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(_PROGRAM), *arguments],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        with (self._folder / "sam.log").open("a", encoding="utf-8") as log:
            log.write(f"$ sam {arguments[0]} (exit status {done.returncode})\n{done.stdout}\n")
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-30:])
            raise SamError(f"sam {arguments[0]} failed:\n{tail}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Ours, for the package registry's sake, but for everything that leads to a real account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **kept,
            **{name: value for name, value in self._aws.items() if value},
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "ARCH": ARCHITECTURE,
            "PYVER": PYTHON_VERSION,
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "1",  # seconds between two looks at a stack that is ready in less
        }


def install() -> Path:
    """The command line, in .tools/sam."""
    return tool("sam")


def _config() -> list[str]:
    return ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local", "--no-progressbar"]


def _platform() -> dict[str, str]:
    return {"Architecture": ARCHITECTURE, "PythonRuntime": f"python{PYTHON_VERSION}"}


def _overrides(parameters: Mapping[str, str]) -> list[str]:
    return ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
