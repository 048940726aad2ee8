#!/usr/bin/env bash
# tool.sh NAME: makes .tools/NAME from infra/local/requirements-NAME.txt, an environment of its own for a tool that pins its
# dependencies too tightly to live in .venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=$1
requirements=infra/local/requirements-$tool.txt
wanted=$(cksum <"$requirements")
if [ -x ".tools/$tool/bin/$tool" ] && [ "$(cat ".tools/$tool/.locked" 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi
infra/local/bootstrap.sh
echo "setup: installing $tool into .tools/$tool" >&2
rm -rf ".tools/$tool"
.tools/uv/bin/uv venv --quiet --python .venv/bin/python ".tools/$tool"
.tools/uv/bin/uv pip install --quiet --python ".tools/$tool/bin/python" --require-hashes -r "$requirements"
echo "$wanted" >".tools/$tool/.locked"
