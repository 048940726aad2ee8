"""`python -m infra.local.emulator --port 9090 [--replay DIR]`: the emulator in the foreground."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from infra.local.emulator.server import EmulatorServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.local.emulator", description="Emulated Gemini API")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090)
    parser.add_argument("--replay", type=Path, default=None, help="folder of recorded exchanges, answered first")
    options = parser.parse_args()
    emulator = EmulatorServer(options.port, options.host, options.replay)
    config = emulator.config()
    config.host, config.port = options.host, options.port
    print(f"Gemini emulator on {emulator.base_url}", flush=True)
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
