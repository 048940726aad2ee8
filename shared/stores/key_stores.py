"""Which registry backend a deployment has."""

from collections.abc import Mapping

from shared.stores.aws import Aws
from shared.stores.protocols import KeyStore


def open_key_store(environ: Mapping[str, str], aws: Aws, *, patient: bool = False) -> KeyStore:
    """By KEY_STORE (`ssm`, the default, or `secrets`) and KEY_PARAMETER_PREFIX (`/gw/<stage>/keys/`), which names the
    bundles too. ValueError for another word. `patient` as for `SsmKeyStore`."""
    # only the deployment's own: the other would cost every cold start
    prefix = environ["KEY_PARAMETER_PREFIX"]
    match environ.get("KEY_STORE") or "ssm":
        case "ssm":
            from shared.stores.ssm import SsmKeyStore

            return SsmKeyStore(aws, prefix, patient=patient)
        case "secrets":
            from shared.stores.secrets_keys import SecretsKeyStore

            return SecretsKeyStore(aws, prefix.strip("/"))
    raise ValueError("KEY_STORE must be ssm or secrets")
