#!/usr/bin/env bash
# A network of its own for one command, in which every address there is belongs to this machine: whatever the command
# connects to, a listener on the wildcard address sees it, and nothing leaves. Names are asked of 127.0.0.53.
#
#   netns.sh COMMAND...
#
# Needs Linux and root (or user namespaces); iproute2 is installed by apt where it is missing.
set -euo pipefail

if ! command -v ip >/dev/null; then
  echo "netns: installing iproute2 from apt" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iproute2 >&2
fi

rights=()
[ "$(id -u)" = 0 ] || rights=(--map-root-user)
resolver=$(mktemp)
trap 'rm -f "$resolver"' EXIT
echo "nameserver 127.0.0.53
options timeout:1 attempts:1" >"$resolver"

# shellcheck disable=SC2016 # the inner shell expands these
unshare "${rights[@]}" --net --mount --fork --kill-child bash -euo pipefail -c '
  ip link set lo up
  ip route add local 0.0.0.0/0 dev lo
  ip -6 route add local ::/0 dev lo
  mount --bind "$0" /etc/resolv.conf
  exec "$@"' "$resolver" "$@"
