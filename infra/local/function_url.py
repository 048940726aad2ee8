"""A Lambda function URL on the laptop: ``python -m infra.local.function_url --handler chat_completions --port 9001``.

HTTP in front, the function's processes behind, the Runtime API between them; the reply is passed on chunk by chunk,
as AWS does it in ``RESPONSE_STREAM`` mode. Loopback only: no TLS, no IAM.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

from infra.local.execution import Function, FunctionConfiguration
from infra.local.lambda_front import LambdaFront, Routed
from infra.local.runtime_api import Failure
from infra.local.surroundings import surroundings
from infra.local.template import Template
from infra.local.threaded import ThreadedServer
from shared.gateway.settings import ConfigurationError

PROJECT = Path(__file__).resolve().parents[2]


class FunctionUrl:
    """The HTTP side of one function; bound on ``start``."""

    def __init__(self, function: Function, host: str = "127.0.0.1", port: int = 0) -> None:
        self.function = function
        self._front = LambdaFront(lambda request: Routed(function, request), host, port)

    async def start(self) -> str:
        """Returns the base URL, without a slash at its end."""
        return await self._front.start()

    async def stop(self) -> None:
        await self._front.stop()
        await self.function.stop()


def configuration(
    handler: str,
    *,
    environment: Mapping[str, str],
    processes: int = 10,
    timeout: float = 900.0,
    task_root: Path = PROJECT,
) -> FunctionConfiguration:
    """This checkout as a function. ``handler``: ``chat_completions``, or the whole
    ``handlers.chat_completions.handler``.

    The command is what ``stream-wrapper`` runs on AWS; the stock loop behind it is for handlers that are no web
    application.
    """
    full = handler if "." in handler else f"handlers.{handler}.handler"
    python = sys.executable
    return FunctionConfiguration(
        handler=full,
        command=[python, "-m", "shared.lambda_runtime", python, "-m", "awslambdaric", full],
        task_root=task_root,
        environment={"STAGE": "local", **environment},
        name=full.split(".")[-2],
        timeout=timeout,
        processes=processes,
    )


class FunctionUrlServer(ThreadedServer):
    """A function URL in a thread of its own, for tests and scripts: ``with FunctionUrlServer("chat_completions") as
    url: url.base_url``. It has started when one process waits for events; if none can, ``init_error`` says why and
    every request is a 502, as on AWS.

    ``env`` are the function's variables; nothing of the caller's environment is inherited but PATH and the like.
    ``command`` replaces our loop, ``task_root`` is its working directory, ``log`` a binary file for its output.
    """

    def __init__(
        self,
        handler: str = "handlers.chat_completions.handler",
        *,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        processes: int = 10,
        timeout: float = 900.0,
        command: Sequence[str] | None = None,
        task_root: Path = PROJECT,
        log: IO[bytes] | None = None,
    ) -> None:
        base = configuration(handler, environment=env or {}, processes=processes, timeout=timeout, task_root=task_root)
        super().__init__("function-url")
        self.init_error: Failure | None = None
        self._function = Function(replace(base, command=command or base.command, log=log))
        self._url = FunctionUrl(self._function, port=port)

    @property
    def violations(self) -> list[str]:
        """What AWS would have punished so far: empty streamed bodies, long trailers, second replies."""
        return self._function.violations

    @property
    def exit_codes(self) -> list[int | None]:
        """Of the processes that have ended."""
        return self._function.exit_codes

    async def _serve(self, started: Callable[[], None], stopping: asyncio.Event) -> None:
        self.base_url = await self._url.start()
        try:
            self.init_error = await self._function.warm()
            started()
            await stopping.wait()
        finally:
            await self._url.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; prints one line with the URL when the function waits for events.

    One of our handlers gets what it stands on: the embedded AWS of GATEWAY_STATE_DIR (that of a running `make run` if
    there is one) and, without GEMINI_API_KEY, the bundled emulator as its upstream.
    """
    parser = argparse.ArgumentParser(prog="python -m infra.local.function_url", description=__doc__)
    parser.add_argument("--handler", default="chat_completions", help="module in handlers/, or a whole dotted name")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--processes", type=int, default=10, help="requests served at the same time (default 10)")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds a request may take (default 900)")
    parser.add_argument(
        "--env", action="append", default=[], metavar="KEY[=VALUE]", help="a variable; without a value, ours"
    )
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        environment: dict[str, str] = {}
        if "." not in options.handler:
            home = Path(os.environ.get("GATEWAY_STATE_DIR") or ".local")
            try:
                ground = stack.enter_context(surroundings(os.environ, home, _base_url(home, options.port)))
            except ConfigurationError as error:
                print(f"function URL: {error}", file=sys.stderr)
                return 1
            environment = _function_variables(ground.environment)
        environment |= _variables(options.env)
        function = Function(
            configuration(
                options.handler, environment=environment, processes=options.processes, timeout=options.timeout
            )
        )
        return asyncio.run(_serve(FunctionUrl(function, port=options.port)))


def _base_url(home: Path, port: int) -> str:
    """What the credentials file is to name: the gateway of `make run` if it has been there first."""
    try:
        return str(json.loads((home / "credentials.json").read_text("utf-8"))["base_url"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"http://127.0.0.1:{port}"


def _function_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Of what surrounds us, what a function sees: the variables of template.yaml, the way to AWS, the Gemini keys."""
    declared = Template.read(PROJECT / "template.yaml", {}, "", "").environment()
    return {
        name: value
        for name, value in environment.items()
        # an empty AWS_PROFILE is a profile without a name for botocore
        if value and (name in declared or name.startswith("AWS_") or name in ("GEMINI_API_KEY", "NO_PROXY"))
    }


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    return {name: value if equals else os.environ.get(name, "") for name, equals, value in split}


async def _serve(url: FunctionUrl) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    base_url = await url.start()
    try:
        failure = await url.function.warm()
        if failure is not None:
            print(f"{failure.error_type}: {failure.message}", file=sys.stderr)
            return 1
        print(f"function URL of {url.function.configuration.handler}: {base_url}", flush=True)
        await stopping.wait()
        return 0
    finally:
        await url.stop()


if __name__ == "__main__":
    sys.exit(main())
