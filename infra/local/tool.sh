#!/usr/bin/env bash
# tool.sh NAME: makes .tools/NAME from infra/local/requirements-NAME.txt, an environment of its own for a tool that pins its
# dependencies too tightly to live in .venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -x .venv/bin/python ] || infra/local/bootstrap.sh
exec .venv/bin/python -m infra.local.tool_environments "$1"
