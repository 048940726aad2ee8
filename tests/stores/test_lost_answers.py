"""Answers that are lost on the wire after the engine committed, through the real client: every call counts once."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from shared.stores.aws import Aws
from shared.stores.dynamodb import DynamoLedger
from shared.stores.protocols import AccountLimits, Admitted, KeyRecord, StoreConflict
from shared.stores.secrets_keys import SecretsKeyStore
from shared.stores.ssm import SsmKeyStore
from tests.stores.bench import Bench
from tests.stores.test_ledger import COST

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Proxy:
    """Relays HTTP messages to the engine, and swallows the answers whose numbers are in `lose`, counted from 1."""

    def __init__(self, host: str, port: int, lose: set[int]) -> None:
        self._target = (host, port)
        self._lose = lose
        self.answers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _message(reader):
                there, back = await asyncio.open_connection(*self._target)
                back.write(request)
                answer = await _message(there)
                back.close()
                await back.wait_closed()
                self.answers += 1
                if self.answers in self._lose:
                    return
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Head and body of one request or answer; empty where the other side has left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


@asynccontextmanager
async def lossy(environment: Mapping[str, str], lose: set[int]) -> AsyncIterator[tuple[Aws, Proxy]]:
    target = urlsplit(environment["AWS_ENDPOINT_URL"])
    proxy = Proxy(str(target.hostname), int(target.port or 80), lose)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    aws = Aws({**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    yield aws, proxy
    await asyncio.to_thread(aws.close)
    server.close()


@pytest.mark.parametrize("lose", [{1}, {2}, {1, 2}, {1, 3}, {1, 2, 3, 4}])
async def test_a_request_whose_answers_are_lost_counts_once(
    bench: Bench, environment: Mapping[str, str], lose: set[int]
) -> None:
    key = await bench.account(budget_limit_nano=1_000, rpm=600, tpm=6_000)
    request = bench.request(key)
    async with lossy(environment, lose) as (aws, proxy):
        ledger = DynamoLedger(aws, bench.table)
        assert isinstance(await bench.admit(request, ledger), Admitted)
        await bench.settle(request, ledger)
        assert proxy.answers == 2 + len(lose)
    state = bench.state(key)
    assert (state["spent"], state["avail"], state["holds"]) == (COST, 1_000 - COST, {})
    assert state["tat_r"] == bench.now_us + 100_000  # one request's worth


async def test_a_limit_change_whose_answer_is_lost_moves_the_budget_once(
    bench: Bench, environment: Mapping[str, str]
) -> None:
    key = await bench.account(budget_limit_nano=1_000)
    async with lossy(environment, {2}) as (aws, _):
        await DynamoLedger(aws, bench.table).change_limits(key.acct, AccountLimits(1_500, None, "all"))
    state = bench.state(key)
    assert (state["limit"], state["avail"], state["v"]) == (1_500, 1_500, 2)


@pytest.mark.parametrize("backend", [SsmKeyStore, SecretsKeyStore])
async def test_a_new_key_whose_answer_is_lost_was_written_by_us(
    bench: Bench, environment: Mapping[str, str], backend: type[SsmKeyStore] | type[SecretsKeyStore]
) -> None:
    """Else its text was told to nobody, while the key was in force."""
    record = KeyRecord("kid", "acct", "hash", "p1", models=("gemini-*",), rpm=5)
    prefix = f"/gw/{bench.table}/keys".lstrip("/" if backend is SecretsKeyStore else "")
    for number in (1, 2):
        async with lossy(environment, {number}) as (aws, _):
            await backend(aws, prefix).put(replace(record, kid=f"kid{number}"), overwrite=False)
    with pytest.raises(StoreConflict):
        await backend(bench.aws, prefix).put(replace(record, kid="kid1", hash="other"), overwrite=False)
