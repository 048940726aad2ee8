"""What a gateway function calls: the embedded AWS with a client key, and a scriptable upstream."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.aws import EmbeddedAws
from infra.local.credentials import ensure_credentials
from infra.local.emulator import EmulatorServer
from shared.stores.aws import Aws


@dataclass
class Backends:
    """``variables`` are a function's own: those of template.yaml that have a value here, and credentials for AWS."""

    variables: dict[str, str]
    client_key: str
    admin_key: str
    emulator: EmulatorServer

    def rows(self) -> list[dict[str, Any]]:
        """The request rows in the usage table."""
        aws = Aws(self.variables)
        try:
            client = aws.client("dynamodb", patient=True)
            answer = client.scan(TableName=self.variables["USAGE_TABLE"], ConsistentRead=True)
        finally:
            aws.close()
        return [item for item in answer["Items"] if item["pk"]["S"].startswith("R#")]


@contextmanager
def running(home: Path, host: str = "127.0.0.1") -> Iterator[Backends]:
    """Both services, listening on ``host``: containers need the address of their bridge."""
    aws = EmbeddedAws(home / "aws", persist=False, host=host)
    emulator = EmulatorServer(host=host)
    try:
        environment = aws.start()
        emulator.start()
        keys = ensure_credentials(home, "http://unused", environment)
        variables = {name: value for name, value in environment.items() if value}
        yield Backends(
            {**variables, "GEMINI_BASE_URL": emulator.base_url}, keys["client_key"], keys["admin_key"], emulator
        )
    finally:
        emulator.stop()
        aws.stop()
