#!/usr/bin/env bash
# Makes .tools/sam, an environment of its own for the AWS SAM command line, which pins its dependencies tightly.
set -euo pipefail
cd "$(dirname "$0")/../.."
requirements=infra/local/requirements-sam.txt
wanted=$(cksum <"$requirements")
if [ -x .tools/sam/bin/sam ] && [ "$(cat .tools/sam/.locked 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi
infra/local/bootstrap.sh
echo "setup: installing the AWS SAM command line into .tools/sam" >&2
rm -rf .tools/sam
.tools/uv/bin/uv venv --quiet --python .venv/bin/python .tools/sam
.tools/uv/bin/uv pip install --quiet --python .tools/sam/bin/python --require-hashes -r "$requirements"
echo "$wanted" >.tools/sam/.locked
