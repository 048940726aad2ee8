"""Goals 10 and 11: the built artefact of a hot handler, if `make build` or `make artefact` has made one here."""

import io
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from tests.bench.measure import ROOT, cost_of

_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_IMPORTS = 4


def built() -> Path | None:
    """The folder that becomes a hot function's /var/task, for this interpreter and machine."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = ROOT / ".build" / f"{version}-{_ARCHITECTURES.get(platform.machine(), '')}" / "serving" / "task"
    return folder if folder.is_dir() else None


def zip_mb(task: Path) -> float:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(task.rglob("*")):
            archive.write(path, path.relative_to(task))
    return len(memory.getvalue()) / 1e6


def import_ratio(task: Path, environment: Mapping[str, str]) -> float:
    """CPU of importing the chat handler from the artefact, over that from a copy whose byte code is fresh."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        copy = Path(folder) / "task"
        shutil.copytree(task, copy, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(copy)], check=True)
        shipped, fresh = [], []
        for _ in range(_IMPORTS):
            shipped.append(_import_ms(task, environment))
            fresh.append(_import_ms(copy, environment))
        return median(shipped) / median(fresh)


def _import_ms(task: Path, environment: Mapping[str, str]) -> float:
    code = (
        f"import sys; sys.path[:0] = [{str(task)!r}]; sys.dont_write_bytecode = True; import handlers.chat_completions"
    )
    # -S -E: neither our environment's packages nor this checkout, as on Lambda
    return cost_of([sys.executable, "-S", "-E", "-c", code], environment)[0]
