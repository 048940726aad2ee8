#!/usr/bin/env bash
# Compiles every requirements file with hashes, for every Python and platform that the project supports. A version that is
# younger than a week is not taken: what was stolen or broken is mostly found by then. COOLDOWN="0 days" is for the fix of
# a vulnerability.
set -euo pipefail
cd "$(dirname "$0")/../.."
compile() {
  .tools/uv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.12 --no-header \
    --exclude-newer "${COOLDOWN:-7 days}" "$@"
}
compile requirements.in -o requirements.txt
for kind in serving audio; do compile "requirements-$kind.in" -c requirements.txt -o "requirements-$kind.txt"; done
compile requirements-dev.in -c requirements.txt -o requirements-dev.txt
for source in infra/local/requirements-*.in tests/clients/*/requirements.in; do
  compile "$source" -o "${source%.in}.txt"
done
