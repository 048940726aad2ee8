"""``python -m shared.lambda_runtime [STOCK_PYTHON STOCK_BOOTSTRAP]``: the entry that ``stream-wrapper`` starts."""

import asyncio
import os
import sys

from shared.lambda_runtime.loop import run

if __name__ == "__main__":
    sys.exit(asyncio.run(run(os.environ, sys.argv[1:])))
