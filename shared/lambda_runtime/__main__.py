"""``python -m shared.lambda_runtime [STOCK_PYTHON STOCK_BOOTSTRAP]``: the entry that ``stream-wrapper`` starts."""

import gc

gc.disable()  # until the application has started: asyncio's own import makes a good part of what is never garbage

import asyncio  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

from shared.lambda_runtime.loop import run  # noqa: E402

if __name__ == "__main__":
    sys.exit(asyncio.run(run(os.environ, sys.argv[1:])))
