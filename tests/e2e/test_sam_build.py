"""`sam validate --lint`, `sam build`, what is in the artefacts, and what each handler imports from its own. Needs no
container engine."""

import hashlib
import json
import os
import platform
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from infra.local.template import TemplateLoader
from infra.local.tool_environments import tool

PROJECT = Path(__file__).parents[2]
PYVER = f"{sys.version_info.major}.{sys.version_info.minor}"
HOST = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
MACHINE = {"x86_64": 62, "arm64": 183}  # e_machine of ELF
# what the pinned requirements unpack; a new name here is a new dependency in every function of the kind
SERVING = {
    "anyio", "cachetools", "certifi", "h11", "handlers", "httpcore", "httpx", "idna", "mangum", "msgspec", "multipart",
    "orjson", "python_multipart", "shared", "starlette", "stream-wrapper", "typing_extensions.py",
}  # fmt: skip
TOP_LEVEL = {
    "serving": SERVING,
    "audio": SERVING | {"lameenc"},
    "whole": SERVING
    | {"annotated_doc", "annotated_types", "fastapi", "lameenc", "opentelemetry", "pydantic", "pydantic_core"}
    | {"typing_inspection"},
}
KINDS = {"AudioFunction": "audio", "ControlFunction": "whole", "GatewayFunction": "whole"}  # the others serve
MAX_ZIP = {"serving": 5_000_000, "audio": 5_000_000, "whole": 10_000_000}

# handler -> dialects that it may import, besides what the model lists need
DIALECTS = {
    "chat_completions": {"openai", "openai_chat", "vendor"},
    "messages": {"anthropic_messages"},
    "models": {"openai", "openai_chat", "vendor"},
    "responses": {"openai", "openai_responses"},
    "generate_content": {"openai", "openai_chat", "openai_media", "vendor"},  # for embeddings and images
    "embeddings": {"openai", "openai_media"},
    "images": {"openai", "openai_media"},
    "audio": {"openai", "openai_media"},
    "control": set(),
    "maintenance": set(),
    "gateway": {"anthropic_messages", "openai", "openai_chat", "openai_media", "openai_responses", "vendor"},
}
EVERYWHERE = {"contract", "gemini_native", "model_list", "running_text"}
# modules that cost a cold start, and who needs them for its first request
COSTLY = {
    "fastapi": {"control"},
    "pydantic": {"control"},
    "boto3": set(),
    "botocore": set(),
    "lameenc": set(),
    "shared.gateway.console": {"control"},
    "shared.gateway.media_routes": {"embeddings", "images", "audio", "gateway"},
    "shared.gateway.responses_api": {"responses", "gateway"},
    "shared.gateway.native_routes": {"generate_content", "gateway"},
    "shared.gateway.tracing": set(),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sam() -> Path:
    return tool("sam")


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


def functions() -> dict[str, str]:
    """Logical id -> kind of artefact."""
    template = yaml.load((PROJECT / "template.yaml").read_text(), TemplateLoader)
    names = [name for name, entry in template["Resources"].items() if entry["Type"] == "AWS::Serverless::Function"]
    return {name: KINDS.get(name, "serving") for name in names}


def tasks(built: tuple[str, Path]) -> dict[str, Path]:
    """Kind -> the folder of one function of it."""
    return {kind: built[1] / name for name, kind in functions().items()}


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_template_is_valid(sam: Path) -> None:
    assert "is a valid SAM Template" in run_sam(sam, "validate", "--lint")


def test_functions_of_a_kind_share_one_artefact(built: tuple[str, Path]) -> None:
    digests = {(kind, digest(built[1] / name)) for name, kind in functions().items()}
    assert len(digests) == len(TOP_LEVEL)


def test_artefact_holds_what_it_should_and_nothing_else(built: tuple[str, Path]) -> None:
    for kind, task in tasks(built).items():
        names = {path.name.partition(".cpython-")[0] for path in task.iterdir()}
        assert {name for name in names if not name.endswith(".dist-info")} - {"__pycache__"} == TOP_LEVEL[kind]
        # a .pth file runs at every start of the interpreter (the LiteLLM incident of March 2026)
        assert not list(task.rglob("*.pth"))
        assert not [path for name in ("tests", "infra", "bin") for path in task.glob(name)]
        assert not list(task.glob("shared/**/test*"))


def test_zips_are_small(built: tuple[str, Path], tmp_path: Path) -> None:
    for kind, task in tasks(built).items():
        archive = tmp_path / f"{kind}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in task.rglob("*"):
                packed.write(path, path.relative_to(task))
        assert archive.stat().st_size < MAX_ZIP[kind], kind


def test_another_user_can_read_it_and_run_the_wrapper(built: tuple[str, Path]) -> None:
    for task in tasks(built).values():
        for path in task.rglob("*"):
            wanted = 0o755 if path.is_dir() else 0o444
            assert stat.S_IMODE(path.stat().st_mode) & wanted == wanted, path
        assert stat.S_IMODE((task / "stream-wrapper").stat().st_mode) == 0o755


def test_every_module_has_its_byte_code(built: tuple[str, Path]) -> None:
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    for task in tasks(built).values():
        for source in task.rglob("*.py"):
            code = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
            flags = int.from_bytes(code.read_bytes()[4:8], "little")
            assert flags == 0b01, f"{code}: not an unchecked hash"
        assert str(PROJECT).encode() not in (task / "handlers" / "__pycache__" / f"__init__.{tag}.pyc").read_bytes()


def test_compiled_wheels_are_of_the_architecture(built: tuple[str, Path]) -> None:
    architecture = built[0]
    for task in tasks(built).values():
        libraries = list(task.rglob("*.so"))
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
        digests.append({kind: digest(stage / kind / "task") for kind in TOP_LEVEL})
    assert digests[0] == digests[1]


@pytest.fixture(scope="module")
def imported() -> dict[str, dict[str, str]]:
    """Handler -> module -> its file, imported from the function's own artefact with no other package in reach: boto3,
    which the managed runtime brings, is not imported before it is needed."""
    subprocess.run(["make", "-s", "artefact", f"ARCH={HOST}", f"PYVER={PYVER}"], cwd=PROJECT, check=True, timeout=120)
    template = yaml.load((PROJECT / "template.yaml").read_text(), TemplateLoader)
    variables = ("USAGE_TABLE", "KEY_PARAMETER_PREFIX", "PEPPER_SECRET_ID", "GEMINI_POOL_SECRET_ID", "SETTLE_QUEUE_URL")
    found = {}
    for name, kind in functions().items():
        module = template["Resources"][name]["Properties"]["Handler"].rpartition(".")[0]
        task = PROJECT / ".build" / f"{PYVER}-{HOST}" / kind / "task"
        code = (
            f"import json, sys; sys.path.insert(0, {str(task)!r}); import {module}; "
            "print(json.dumps({name: getattr(m, '__file__', None) or '' for name, m in sys.modules.items()}))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            env=dict.fromkeys(variables, "x"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        modules: dict[str, str] = json.loads(done.stdout)
        assert modules[module] == str(task / "handlers" / f"{module.rpartition('.')[2]}.py")
        found[module.rpartition(".")[2]] = modules
    return found


def test_every_handler_is_in_the_tables(imported: dict[str, dict[str, str]]) -> None:
    assert set(imported) == set(DIALECTS)


@pytest.mark.parametrize("handler", DIALECTS)
def test_a_handler_imports_the_dialects_of_its_endpoint(handler: str, imported: dict[str, dict[str, str]]) -> None:
    prefix = "shared.dialects."
    dialects = {name.removeprefix(prefix).partition(".")[0] for name in imported[handler] if name.startswith(prefix)}
    assert dialects - EVERYWHERE == DIALECTS[handler]


@pytest.mark.parametrize("module", COSTLY)
def test_costly_modules_are_imported_where_they_are_needed(module: str, imported: dict[str, dict[str, str]]) -> None:
    assert {handler for handler, modules in imported.items() if module in modules} == COSTLY[module]


def test_sam_build_as_the_first_command_in_a_clone_brings_what_it_needs(tmp_path: Path) -> None:
    """What `sam build` runs for each function, not carried out."""
    for name in ("Makefile", "infra/build.mk", "stream-wrapper", "requirements-serving.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    for name in ("handlers", "shared"):
        (tmp_path / name).mkdir()
    command = ["make", "-n", "build-MessagesFunction", f"ARTIFACTS_DIR={tmp_path}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 0 <= done.stdout.find("infra/local/bootstrap.sh") < done.stdout.find("uv pip install")
