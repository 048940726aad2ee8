"""Which registry backend a deployment has."""

from collections.abc import Mapping

from shared.stores.aws import Aws
from shared.stores.protocols import KeyStore
from shared.stores.secrets_keys import SecretsKeyStore
from shared.stores.ssm import SsmKeyStore


def open_key_store(environ: Mapping[str, str], aws: Aws, *, patient: bool = False) -> KeyStore:
    """By KEY_STORE (`ssm`, the default, or `secrets`) and KEY_PARAMETER_PREFIX (`/gw/<stage>/keys/`), which names the
    bundles too. ValueError for another word. `patient` as for `SsmKeyStore`."""
    prefix = environ["KEY_PARAMETER_PREFIX"]
    match environ.get("KEY_STORE") or "ssm":
        case "ssm":
            return SsmKeyStore(aws, prefix, patient=patient)
        case "secrets":
            return SecretsKeyStore(aws, prefix.strip("/"))
    raise ValueError("KEY_STORE must be ssm or secrets")
