"""The two keys of a laptop's gateway: made once, kept in one file, put back where the stores have lost them."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from infra.local.aws import write_private
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.key_terms import KeyTerms
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.key_stores import open_key_store
from shared.stores.secrets import SecretsManagerStore

FILE = "credentials.json"

_TERMS = {
    "admin_key": KeyTerms(name="local admin", endpoints=("admin",)),
    "client_key": KeyTerms(name="local client"),
}


def ensure_credentials(home: Path, base_url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """`{"base_url", "admin_key", "client_key"}`, as `home/credentials.json` has it after this call (mode 0600).

    `environment` is what `EmbeddedAws.start` gave. An existing pair is never replaced, and a key that was revoked
    stays revoked. ConfigurationError where the file cannot be read as what it should be.
    """
    path = home / FILE
    held = _read(path)
    credentials = {"base_url": base_url, **asyncio.run(_ensure(held, environment))}
    if credentials != held:
        write_private(path, credentials)
    return credentials


async def _ensure(held: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    aws = Aws(environment)
    try:
        registry = KeyRegistry(
            open_key_store(environment, aws, patient=True),
            SecretsManagerStore(aws, environment["PEPPER_SECRET_ID"]),
            DynamoLedger(aws, environment["USAGE_TABLE"]),
        )
        keys: dict[str, str] = {}
        for name, terms in _TERMS.items():
            if name in held:
                await registry.restore(held[name], terms)
                keys[name] = held[name]
            else:
                _, keys[name] = await registry.issue(terms)
        return keys
    finally:
        aws.close()


def _read(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in _TERMS):
        raise ConfigurationError(f"{path} is damaged; restore it, or move it away to get a new pair of keys")
    return value
