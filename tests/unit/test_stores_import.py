"""What importing the stores costs: boto3 is hundreds of milliseconds of a cold start that a client waits for."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_store_imports_boto3_before_its_first_client() -> None:
    modules = sorted(file.stem for file in (ROOT / "shared" / "stores").glob("*.py") if file.stem != "__init__")
    assert "dynamodb" in modules
    names = ", ".join(f"shared.stores.{module}" for module in modules)
    code = (
        f"import sys\nimport {names}, shared.gateway.keyring\n"
        "shared.stores.aws.Aws()\n"
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
