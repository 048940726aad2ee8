#!/usr/bin/env bash
# Makes .venv with every locked requirement. Needs Python 3.12 or newer anywhere on the machine (or one that uv can
# install) and PyPI; everything it makes stays in this folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "setup: $*" >&2; }

works() { "$1" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

find_python() {
  local candidate pyenv="${PYENV_ROOT:-$HOME/.pyenv}/versions"
  # 3.13 first: the functions run on it
  for candidate in python3.13 "$pyenv"/3.13*/bin/python3 python3.14 python3.12 python3 "$pyenv"/3.1[42]*/bin/python3; do
    candidate=$(command -v "$candidate" || true)
    # a version manager's shim answers for Pythons that are not switched on: ask it, and take the real binary
    if [ -n "$candidate" ] && works "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

locked() { cat requirements-dev.txt infra/local/requirements-aws.txt infra/local/bootstrap.sh | cksum; }

if [ -x .venv/bin/python ] && [ "$(cat .venv/.locked 2>/dev/null || true)" = "$(locked)" ]; then exit 0; fi

if [ ! -x .tools/uv/bin/uv ]; then
  say "installing uv into .tools"
  starter=$(find_python)
  [ -n "$starter" ] || starter=$(command -v python3)
  "$starter" -m venv .tools/uv
  .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9"
fi

python=$(find_python)
[ -n "$python" ] || python=3.13 # none on this machine: uv fetches one
if ! works .venv/bin/python; then
  say "making .venv with $python"
  rm -rf .venv
  .tools/uv/bin/uv venv --quiet --python "$python" .venv
fi
say "installing locked requirements"
.tools/uv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements-dev.txt
ln -sf ../../infra/cli/gwctl .venv/bin/gwctl
.venv/bin/python -c 'from infra.local.aws import installed; installed()'
locked >.venv/.locked
