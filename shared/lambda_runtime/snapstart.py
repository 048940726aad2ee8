"""SnapStart: the hooks around the snapshot that AWS takes of an initialised process."""

import logging
from collections.abc import Callable
from typing import Any

from shared.lambda_runtime.connection import RuntimeApiError, RuntimeConnection
from shared.lambda_runtime.reply import ROOT, Fault

BEFORE_SNAPSHOT_EXIT = 64
AFTER_RESTORE_EXIT = 65

logger = logging.getLogger(__name__)

# What snapshot_restore_py keeps: the function and what it was registered with (its annotations say otherwise).
Hook = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]


async def pass_snapshot(connection: RuntimeConnection) -> int:
    """Runs the registered callables, waits through the snapshot, returns 0 or the exit code AWS's own loop uses for
    the failed side.

    ``GET /restore/next`` answers in the restored copy of this process, maybe days later and many times over, so no
    socket may be open across it.
    """
    before, after = _hooks()
    try:
        while before:
            _call(before.pop())
    except Exception as error:
        await _report(connection, "init/error", Fault("Runtime.BeforeSnapshotError", Fault.of(error).message), error)
        return BEFORE_SNAPSHOT_EXIT
    await connection.close()
    answer = await connection.request("GET", f"{ROOT}/restore/next")
    await connection.close()
    if answer.status != 200:
        raise RuntimeApiError(f"/restore/next answered {answer.status}")
    try:
        for hook in after:
            _call(hook)
    except Exception as error:
        await _report(connection, "restore/error", Fault("Runtime.AfterRestoreError", Fault.of(error).message), error)
        return AFTER_RESTORE_EXIT
    return 0


def _call(hook: Hook) -> None:
    function, arguments, named = hook
    function(*arguments, **named)


def _hooks() -> tuple[list[Hook], list[Hook]]:
    try:
        import snapshot_restore_py  # part of the managed runtime, not of our package
    except ImportError:
        return [], []
    return snapshot_restore_py.get_before_snapshot(), snapshot_restore_py.get_after_restore()


async def _report(connection: RuntimeConnection, path: str, fault: Fault, error: BaseException) -> None:
    logger.error("a snapshot hook raised", exc_info=error)
    headers = [fault.header(), ("content-type", "application/json")]
    await connection.request("POST", f"{ROOT}/{path}", headers, fault.document())
