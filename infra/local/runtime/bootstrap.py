"""Stands in for the script by which AWS's managed Python runtime starts; the exec wrapper gets its path as an argument.

In a folder of its own, because Python puts a script's folder on the module path.
"""

import os
import sys

from awslambdaric.__main__ import main  # type: ignore[import-untyped]

sys.path[:0] = [os.environ.get("LAMBDA_TASK_ROOT", "/var/task"), "/opt/python"]

main([sys.argv[0], os.environ["_HANDLER"]])
