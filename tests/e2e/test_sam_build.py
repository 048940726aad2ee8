"""`sam validate --lint`, `sam build`, and what is in the artefact. Needs no container engine."""

import hashlib
import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.local.template import TemplateLoader

PROJECT = Path(__file__).parents[2]
PYVER = f"{sys.version_info.major}.{sys.version_info.minor}"
HOST = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
MACHINE = {"x86_64": 62, "arm64": 183}  # e_machine of ELF
# what the pinned requirements unpack; a new name here is a new dependency in every function
TOP_LEVEL = {
    "annotated_doc", "annotated_types", "anyio", "cachetools", "certifi", "fastapi", "h11", "handlers", "httpcore",
    "httpx", "idna", "lameenc", "mangum", "multipart", "opentelemetry", "pydantic", "pydantic_core", "python_multipart",
    "shared", "starlette", "stream-wrapper", "typing_extensions.py", "typing_inspection",
}  # fmt: skip
MAX_BYTES = 30_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sam() -> Path:
    subprocess.run([PROJECT / "infra" / "local" / "sam_tools.sh"], check=True)
    return PROJECT / ".tools" / "sam" / "bin" / "sam"


def run_sam(sam: Path, *arguments: str, **environment: str) -> str:
    variables = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1", **environment}
    done = subprocess.run(
        [sam, *arguments], cwd=PROJECT, env=variables, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(sam: Path, folder: Path, architecture: str) -> Path:
    overrides = f"Architecture={architecture} PythonRuntime=python{PYVER}"
    run_sam(
        sam, "build", "--build-dir", str(folder), "--parameter-overrides", overrides, ARCH=architecture, PYVER=PYVER
    )
    return folder


@pytest.fixture(scope="module", params=["arm64", "x86_64"])
def built(sam: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, build(sam, tmp_path_factory.mktemp(request.param), request.param)


def functions() -> list[str]:
    template = yaml.load((PROJECT / "template.yaml").read_text(), TemplateLoader)
    return [name for name, entry in template["Resources"].items() if entry["Type"] == "AWS::Serverless::Function"]


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_template_is_valid(sam: Path) -> None:
    assert "is a valid SAM Template" in run_sam(sam, "validate", "--lint")


def test_all_functions_share_one_artefact(built: tuple[str, Path]) -> None:
    assert len({digest(built[1] / name) for name in functions()}) == 1


def test_artefact_holds_what_it_should_and_nothing_else(built: tuple[str, Path]) -> None:
    task = built[1] / functions()[0]
    names = {path.name.partition(".cpython-")[0] for path in task.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} - {"__pycache__"} == TOP_LEVEL
    # a .pth file runs at every start of the interpreter (the LiteLLM incident of March 2026)
    assert not list(task.rglob("*.pth"))
    assert not [path for name in ("tests", "infra") for path in task.glob(name)]
    assert sum(path.stat().st_size for path in task.rglob("*") if path.is_file()) < MAX_BYTES


def test_another_user_can_read_it_and_run_the_wrapper(built: tuple[str, Path]) -> None:
    task = built[1] / functions()[0]
    for path in task.rglob("*"):
        wanted = 0o755 if path.is_dir() else 0o444
        assert stat.S_IMODE(path.stat().st_mode) & wanted == wanted, path
    assert stat.S_IMODE((task / "stream-wrapper").stat().st_mode) == 0o755


def test_every_module_has_its_byte_code(built: tuple[str, Path]) -> None:
    task = built[1] / functions()[0]
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    for source in task.rglob("*.py"):
        code = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
        flags = int.from_bytes(code.read_bytes()[4:8], "little")
        assert flags == 0b01, f"{code}: not an unchecked hash"
    assert str(PROJECT).encode() not in (task / "handlers" / "__pycache__" / f"__init__.{tag}.pyc").read_bytes()


def test_compiled_wheels_are_of_the_architecture(built: tuple[str, Path]) -> None:
    architecture, folder = built
    libraries = list((folder / functions()[0]).rglob("*.so"))
    assert libraries
    for library in libraries:
        assert int.from_bytes(library.read_bytes()[18:20], "little") == MACHINE[architecture], library


def test_building_again_gives_the_same_bytes(sam: Path, tmp_path: Path) -> None:
    """Else every deployment would upload every function anew. The stage is made from nothing both times."""
    digests = []
    for number in range(2):
        stage = tmp_path / f"stage{number}"
        command = ["make", "-s", "artefact", f"ARCH={HOST}", f"PYVER={PYVER}", f"STAGE={stage}"]
        subprocess.run(command, cwd=PROJECT, check=True, timeout=120)
        digests.append(digest(stage / "task"))
    assert digests[0] == digests[1]


def test_handlers_run_from_the_artefact_alone(sam: Path, tmp_path: Path) -> None:
    """With no other package in reach: boto3, which the managed runtime brings, is not imported before it is needed."""
    task = build(sam, tmp_path, HOST) / functions()[0]
    variables = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "GEMINI_POOL_SECRET_ID", "SETTLE_QUEUE_URL")
    code = f"import sys; sys.path.insert(0, {str(task)!r}); import handlers.chat_completions as m; print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env=dict.fromkeys(variables, "x"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(task / "handlers" / "chat_completions.py")
