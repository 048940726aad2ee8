"""``python -m shared.lambda_runtime [STOCK_PYTHON STOCK_BOOTSTRAP]``: the entry that ``stream-wrapper`` starts."""

import gc

# Until the application has started: whatever an import makes stays, and asyncio's own makes a good part of it.
# Collecting in between is a twentieth of a cold start.
gc.disable()

import asyncio  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

from shared.lambda_runtime.loop import run  # noqa: E402

if __name__ == "__main__":
    sys.exit(asyncio.run(run(os.environ, sys.argv[1:])))
