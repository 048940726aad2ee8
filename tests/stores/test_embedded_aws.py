"""The embedded AWS of a laptop: what it makes, what it keeps, how it ends."""

import asyncio
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local import aws as embedded
from infra.local.aws import ENVIRONMENT_FILE, EmbeddedAws, EmbeddedAwsError
from infra.local.credentials import ensure_credentials
from shared.gateway.keyring import KeyDirectory, parse_key
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws
from shared.stores.protocols import KeyRecord
from shared.stores.secrets import SecretsManagerStore
from shared.stores.ssm import SsmKeyStore


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def record_of(environment: dict[str, str], text: str) -> KeyRecord | None:
    aws = Aws(environment)
    try:
        key = parse_key(text)
        assert key is not None
        directory = KeyDirectory(
            SsmKeyStore(aws, environment["KEY_PARAMETER_PREFIX"]),
            SecretsManagerStore(aws, environment["PEPPER_SECRET_ID"]),
        )
        return await directory.lookup(key)
    finally:
        aws.close()


def test_everything_of_the_template_exists_once(environment: dict[str, str], aws: Aws) -> None:
    table = aws.client("dynamodb").describe_table(TableName=environment["USAGE_TABLE"])["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    (index,) = table["GlobalSecondaryIndexes"]
    assert (index["IndexName"], [key["AttributeName"] for key in index["KeySchema"]]) == ("GSI1", ["gsi1pk", "gsi1sk"])
    ttl = aws.client("dynamodb").describe_time_to_live(TableName=environment["USAGE_TABLE"])
    assert ttl["TimeToLiveDescription"]["AttributeName"] == "ttl"
    queue = aws.client("sqs").get_queue_attributes(QueueUrl=environment["SETTLE_QUEUE_URL"], AttributeNames=["All"])
    assert json.loads(queue["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 10
    pool = aws.client("secretsmanager").get_secret_value(SecretId=environment["GEMINI_POOL_SECRET_ID"])
    assert "emulator" in pool["SecretString"]
    assert environment["STAGE"] == "local"


def test_it_listens_on_loopback_only(environment: dict[str, str]) -> None:
    port = int(environment["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
    listeners = subprocess.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], capture_output=True, text=True).stdout
    hosts = {
        fields[1].split(":")[0] for line in listeners.splitlines() if f":{port:04X}" in (fields := line.split())[1]
    }
    if sys.platform == "linux":
        assert hosts == {"0100007F"}


@pytest.mark.slow
def test_state_and_keys_outlive_a_restart_and_a_lost_state(tmp_path: Path) -> None:
    home = tmp_path / "aws"
    first = EmbeddedAws(home)
    environment = first.start()
    assert mode(home) == 0o700
    assert mode(home / ENVIRONMENT_FILE) == 0o600
    assert json.loads((home / ENVIRONMENT_FILE).read_text()) == environment
    credentials = ensure_credentials(tmp_path, "http://one", environment)
    assert set(credentials) == {"base_url", "admin_key", "client_key"}
    assert mode(tmp_path / "credentials.json") == 0o600
    admin = asyncio.run(record_of(environment, credentials["admin_key"]))
    client = asyncio.run(record_of(environment, credentials["client_key"]))
    assert admin is not None
    assert admin.endpoints == ("admin",)
    assert client is not None
    assert (client.endpoints, client.rpm, client.budget_limit_nano) == ((), None, None)
    first.stop()
    assert not (home / ENVIRONMENT_FILE).exists()
    assert {mode(file) for file in (home / "state").iterdir()} == {0o600}

    second = EmbeddedAws(home)
    environment = second.start()
    assert asyncio.run(record_of(environment, credentials["client_key"])) == client  # before anything was put back
    moved = ensure_credentials(tmp_path, "http://two", environment)
    assert moved == {**credentials, "base_url": "http://two"}
    assert json.loads((tmp_path / "credentials.json").read_text()) == moved
    second.stop()

    for file in (home / "state").iterdir():
        file.unlink()
    third = EmbeddedAws(home)
    environment = third.start()
    assert asyncio.run(record_of(environment, credentials["client_key"])) is None
    assert ensure_credentials(tmp_path, "http://two", environment) == moved
    restored = asyncio.run(record_of(environment, credentials["admin_key"]))
    assert restored is not None
    assert (restored.kid, restored.acct, restored.endpoints) == (admin.kid, admin.acct, ("admin",))
    third.stop()


@pytest.mark.parametrize("text", ["", "[]", '{"admin_key": "x"}'])
def test_damaged_credentials_are_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.json").write_text(text)
    with pytest.raises(ConfigurationError, match="damaged"):
        ensure_credentials(tmp_path, "http://one", {})
    assert (tmp_path / "credentials.json").read_text() == text


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_it_saves_when_its_parent_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "aws"
    code = (
        "import sys, time; from pathlib import Path; from infra.local.aws import EmbeddedAws;"
        "EmbeddedAws(Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(home)], cwd=embedded.ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    with (home / "lock").open("a") as lock:
        deadline = time.monotonic() + 10
        while True:  # free as soon as the orphan has saved and ended
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    assert "pepper" in (home / "state" / "secretsmanager.json").read_text()


def test_one_folder_serves_one_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_LOCK_S", 0.2)
    with (tmp_path / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        with pytest.raises(EmbeddedAwsError, match="in use by another gateway"):
            EmbeddedAws(tmp_path).start()


def test_an_orphan_that_holds_the_lock_is_asked_to_end(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "ministack"])
    while "ministack" not in embedded._command_of(orphan.pid):  # a process that has just begun has no words yet
        time.sleep(0.01)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "ministack-1.pid").write_text(str(orphan.pid))
    (tmp_path / "tmp" / "ministack-2.pid").write_text(str(stranger.pid))

    (tmp_path / "lock").write_text(str(os.getpid()))
    embedded._end_orphan(tmp_path)
    assert orphan.poll() is None  # its owner lives

    (tmp_path / "lock").write_text(str(gone.pid))
    embedded._end_orphan(tmp_path)
    assert orphan.wait(5) == -signal.SIGTERM
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_broken_start_shows_why_and_leaves_nothing(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {}\nGlobals: {Function: {Environment: {Variables: {STAGE: !Ref Nothing}}}}\n")
    home = tmp_path / "aws"
    broken = EmbeddedAws(home, persist=False, template=template)
    with pytest.raises(KeyError):
        broken.start()
    assert not (home / ENVIRONMENT_FILE).exists()
    with (home / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody is left who holds it
