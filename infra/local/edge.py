"""The local edge: deployed functions served over HTTP, streaming, behind the deployed CloudFront behaviours.

``python -m infra.local.edge --port 8081 gw gw-edge`` for the stacks of the AWS that AWS_ENDPOINT_URL names (ministack).
Each function runs from its deployed zip, with its variables, under its own role, started by its exec wrapper, over a
Runtime API; ministack itself runs what is scheduled or comes from a queue. Loopback only.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

from infra.local.edge_discovery import DeployedFunction, Discovered, discover
from infra.local.edge_functions import Workshop, runtime_python
from infra.local.edge_routing import route
from infra.local.execution import Function
from infra.local.lambda_front import LambdaFront, Routed, Served
from infra.local.threaded import ThreadedServer
from infra.local.url_event import Refusal, UrlRequest
from shared.gateway.settings import ConfigurationError
from shared.stores.aws import Aws


class Edge:
    """`load` before the first request; again after a deployment."""

    def __init__(self, workshop: Workshop, stacks: Sequence[str]) -> None:
        self._workshop = workshop
        self._stacks = stacks
        self._discovered = Discovered({}, None)
        self._functions: dict[str, Function] = {}
        self._past_violations: list[str] = []

    @property
    def discovered(self) -> Discovered:
        return self._discovered

    @property
    def violations(self) -> list[str]:
        """What AWS would have punished so far: empty streamed bodies, long trailers, second replies."""
        return self._past_violations + _violations(self._functions.values())

    def router(self, request: UrlRequest) -> Routed | Refusal:
        routed = route(request, list(self._functions), self._discovered.distribution)
        if isinstance(routed, Refusal):
            return routed
        host, forwarded = routed
        return Routed(self._functions[host], forwarded)

    def report(self, served: Served) -> None:
        """A line in the log of the functions' output, as Lambda's START has it there."""
        if (log := self._workshop.log) is not None:
            log.write(json.dumps({"type": "edge.start", **asdict(served)}).encode() + b"\n")

    async def load(self) -> None:
        """Reads the stacks. A function whose code or configuration has changed gets new processes; those of the old
        one end at once, with what they were answering."""
        found = await asyncio.to_thread(discover, self._workshop.aws, self._stacks)
        functions = {host: await self._function(host, deployed) for host, deployed in found.functions.items()}
        past = [function for host, function in self._functions.items() if functions.get(host) is not function]
        self._discovered, self._functions = found, functions
        await asyncio.gather(*(function.stop() for function in past))
        self._past_violations += _violations(past)

    async def _function(self, host: str, deployed: DeployedFunction) -> Function:
        if self._discovered.functions.get(host) == deployed:
            return self._functions[host]
        return Function(await asyncio.to_thread(self._workshop.configuration, deployed))

    async def stop(self) -> None:
        await asyncio.gather(*(function.stop() for function in self._functions.values()))


def _violations(functions: Iterable[Function]) -> list[str]:
    return [f"{function.configuration.name}: {text}" for function in functions for text in function.violations]


def open_workshop(
    environ: Mapping[str, str],
    code: Path,
    *,
    extra: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
    wrapper: bool = True,
) -> Workshop:
    """`environ` names a local AWS and its root credentials; ConfigurationError without AWS_ENDPOINT_URL, as the real
    AWS needs no edge."""
    endpoint = environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
    if not endpoint:
        raise ConfigurationError("AWS_ENDPOINT_URL must name the local AWS")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return Workshop(Aws(environ), endpoint, region, code, runtime_python(), extra or {}, log, wrapper)


class EdgeServer(ThreadedServer):
    """An edge in a thread of its own: ``with EdgeServer(edge) as server: server.base_url``."""

    def __init__(self, edge: Edge, port: int = 0) -> None:
        super().__init__("local-edge")
        self.edge = edge
        self._port = port

    def reload(self) -> None:
        """After a deployment; returns when the new functions serve."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.edge.load(), self._loop).result()

    async def _serve(self, started: Callable[[], None], stopping: asyncio.Event) -> None:
        front = LambdaFront(self.edge.router, port=self._port, report=self.edge.report)
        try:
            await self.edge.load()
            self.base_url = await front.start()
            started()
            await stopping.wait()
        finally:
            await front.stop()
            await self.edge.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; prints the base URL when it serves. SIGHUP reads the stacks anew."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.edge", description=__doc__)
    parser.add_argument("stacks", nargs="+", help="names of CloudFormation stacks")
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free one")
    parser.add_argument("--no-wrapper", action="store_true", help="run AWS's own loop, which does not stream")
    options = parser.parse_args(arguments)
    stopping, reloading = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: reloading.set())
    with tempfile.TemporaryDirectory(prefix="edge-") as code:
        try:
            workshop = open_workshop(os.environ, Path(code), wrapper=not options.no_wrapper)
            with EdgeServer(Edge(workshop, options.stacks), options.port) as server:
                print(f"edge of {', '.join(options.stacks)}: {server.base_url}", flush=True)
                wait_for(stopping, reloading, server)
                return verdict(server.edge)
        except ConfigurationError as error:
            print(f"edge: {error}", file=sys.stderr)
            return 1


def wait_for(stopping: threading.Event, reloading: threading.Event, server: EdgeServer) -> None:
    """Until `stopping`, with a reload whenever `reloading` is set. Signal handlers run between two looks."""
    while not stopping.wait(0.1):
        if reloading.is_set():
            reloading.clear()
            server.reload()
            print(f"edge: read {server.base_url} anew", flush=True)


def verdict(edge: Edge) -> int:
    """The exit status: 1 where AWS would have punished something, which is told on standard error."""
    for text in edge.violations:
        print(f"edge: AWS would not have taken this from {text}", file=sys.stderr)
    return 1 if edge.violations else 0


if __name__ == "__main__":
    sys.exit(main())
