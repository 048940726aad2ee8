"""Runs a command that is told to end when its parent does: `python with_parent.py PARENT_PID COMMAND...`

Linux only; elsewhere the command runs without the promise. A launcher of its own, because code between fork and exec
is not safe in a process with threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            return
    os.execv(command[0], command)  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
