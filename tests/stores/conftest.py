"""Real engines for the stores: one ministack for the session, one table for each test."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from infra.local.aws import EmbeddedAws
from shared.stores.aws import Aws
from tests.stores.bench import Bench, create_table, refuse_unguarded_additions

_numbers = count(1)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    embedded = EmbeddedAws(tmp_path_factory.mktemp("aws"), persist=False)
    yield embedded.start()
    embedded.stop()


@pytest.fixture(scope="session")
def aws(environment: dict[str, str]) -> Iterator[Aws]:
    aws = Aws(environment)
    refuse_unguarded_additions(aws.client("dynamodb"))
    yield aws
    aws.close()


@pytest.fixture
def table(aws: Aws, environment: dict[str, str]) -> str:
    return create_table(aws, environment["USAGE_TABLE"], f"usage-{next(_numbers)}")


@pytest.fixture
async def bench(aws: Aws, table: str) -> AsyncIterator[Bench]:
    """A ledger to exercise; whatever the test did to it, the invariants hold afterwards."""
    bench = Bench(aws, table)
    yield bench
    assert bench.violations() == []
