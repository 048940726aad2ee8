"""A server in a thread of its own starts, is asked, and ends; what keeps it from starting reaches the caller."""

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, cast

import pytest

from infra.local.edge import Edge, EdgeServer
from infra.local.edge_functions import Workshop
from infra.local.threaded import ThreadedServer


class Broken(ThreadedServer):
    async def _serve(self, started: Callable[[], None], stopping: asyncio.Event) -> None:
        raise OSError("the port is taken")


class UnloadedEdge(Edge):
    """One that finds no function."""

    def __init__(self) -> None:
        super().__init__(cast(Workshop, None), [])
        self.loads = 0

    async def load(self) -> None:
        self.loads += 1

    def report(self, served: Any) -> None:
        pass


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_what_keeps_a_server_from_starting_is_raised() -> None:
    with pytest.raises(OSError, match="the port is taken"):
        Broken("broken").start()
    assert "broken" not in names()


def test_an_edge_serves_between_its_start_and_its_end() -> None:
    edge = UnloadedEdge()
    with EdgeServer(edge) as server:
        server.reload()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.base_url, timeout=5)
        refused.value.close()
        assert refused.value.code >= 400
        assert "local-edge" in names()
    assert edge.loads == 2 and "local-edge" not in names()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.base_url, timeout=5)
