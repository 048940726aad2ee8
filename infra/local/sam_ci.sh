#!/usr/bin/env bash
# `sam local invoke` on a machine that has neither a running Docker nor access to an image registry: an engine of our own
# (socket, data and bridge apart from any other), and an image of the managed Python runtime made from this machine's
# CPython, AWS's Python runtime client and the C library. Needs Linux, root, and docker.io and iptables from apt.
#
#   sam_ci.sh up      start the engine, make the image; prints the variables to export, one NAME=value a line
#   sam_ci.sh down    stop the engine and remove what `up` made, but the image's files
#   sam_ci.sh check   exit status 0 if `up` can work here, else a reason on standard error
set -euo pipefail
cd "$(dirname "$0")/../.."

# Two checkouts on one machine keep out of each other's way. Not below the checkout: a socket's path has 108 bytes.
number=$(pwd | cksum | cut -d' ' -f1)
work=${SAM_CI_DIR:-/var/tmp/gateway-sam-$number}
bridge=samci$((number % 10000))
address=${SAM_CI_ADDRESS:-10.231.$((number % 250 + 1)).1}
socket=unix://$work/docker.sock
root=$work/root

python=$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')
version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
prefix=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
case $(uname -m) in
  x86_64) arch=x86_64 triplet=x86_64-linux-gnu ;;
  aarch64 | arm64) arch=arm64 triplet=aarch64-linux-gnu ;;
  *) arch=unknown triplet= ;;
esac
image=public.ecr.aws/lambda/python:$version-$arch

say() { echo "sam_ci: $*" >&2; }

check() {
  [ "$(uname -s)" = Linux ] && [ "$arch" != unknown ] || { say "needs Linux on x86_64 or arm64"; return 1; }
  [ "$(id -u)" = 0 ] || { say "needs root: it makes a network bridge and starts dockerd"; return 1; }
  command -v dockerd >/dev/null && command -v ip >/dev/null || command -v apt-get >/dev/null || {
    say "needs dockerd and ip, or apt-get to install them"
    return 1
  }
}

install_engine() {
  command -v dockerd >/dev/null && command -v iptables >/dev/null && command -v ip >/dev/null && return
  say "installing docker.io from apt"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables iproute2 >&2
}

storage_driver() { # vfs copies the image for each container, 20 seconds an invocation instead of 3: only where overlay fails
  local o=$work/overlay
  mkdir -p "$o"/{l,u,w,m}
  if mount -t overlay overlay -o "lowerdir=$o/l,upperdir=$o/u,workdir=$o/w" "$o/m" 2>/dev/null; then
    umount "$o/m"
    echo overlay2
  else
    echo vfs
  fi
}

engine_answers() { docker -H "$socket" info >/dev/null 2>&1; }

start_engine() {
  engine_answers && return
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
  ip addr replace "$address/24" dev "$bridge"
  ip link set "$bridge" up
  rm -f "$work/dockerd.pid"
  # SAM publishes the runtime's port to 127.0.0.1: that needs a bridge, and the userland proxy instead of iptables
  setsid dockerd --storage-driver="$(storage_driver)" --data-root "$work/data" --exec-root "$work/exec" \
    --pidfile "$work/dockerd.pid" -H "$socket" --bridge="$bridge" --iptables=false --ip6tables=false \
    >"$work/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 120); do
    engine_answers && return
    sleep 0.25
  done
  say "dockerd does not start:"
  tail -20 "$work/dockerd.log" >&2
  return 1
}

image_key() { { cksum <infra/local/requirements-image.txt; cksum <infra/local/sam_ci.sh; cksum <infra/local/runtime/bootstrap.py; echo "$prefix $version"; } | cksum | cut -d' ' -f1; }

copy_interpreter() {
  local lib=lib/python$version
  cp -L "$python" "$root/var/lang/bin/python$version"
  tar -C "$prefix" -cf - --exclude='*/test' --exclude='*/tests' --exclude='*/idlelib' --exclude='*/tkinter' \
    --exclude='*/turtledemo' --exclude='*/ensurepip' --exclude='_tkinter*' --exclude='*/config-3*' --exclude='*.a' \
    --exclude=__pycache__ --exclude='*/site-packages/*' --exclude='*/dist-packages/*' "$lib" | tar -C "$root/var/lang" -xf -
  cp -L "$prefix"/lib/libpython"$version"*.so* "$root/var/lang/lib/" 2>/dev/null || true # none where it is linked statically
}

copy_libraries() { # what ldd finds, and the C library's stubs that wheels for manylinux name but ldd does not see
  local file library
  find "$root/bin" "$root/var/lang" "$root/var/runtime" -type f \( -perm -u+x -o -name '*.so*' \) | while read -r file; do
    ldd "$file" 2>/dev/null || true
  done | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\/lib/ {print $1}' | grep -v "^$prefix/lib/libpython" | sort -u |
    while read -r library; do
      mkdir -p "$root${library%/*}"
      cp -L "$library" "$root$library"
    done
  for library in $(dpkg -L libc6 libgcc-s1 libstdc++6 | grep -E "^(/usr)?/lib/$triplet/[^/]+\.so(\.[0-9]+)*$"); do
    cp -L "$library" "$root/lib/$triplet/"
  done
}

write_bootstrap() { # AWS's starts the wrapper in the same way
  cp infra/local/runtime/bootstrap.py "$root/var/runtime/bootstrap.py"
  cat >"$root/var/runtime/bootstrap" <<EOF
#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python$version PYTHONPATH=/var/runtime
exec \$AWS_LAMBDA_EXEC_WRAPPER /var/lang/bin/python$version /var/runtime/bootstrap.py
EOF
  chmod 755 "$root/var/runtime/bootstrap"
}

make_image() {
  local key environment tool
  key=$(image_key)
  [ "$(cat "$work/image.key" 2>/dev/null || true)" = "$key" ] && docker -H "$socket" image inspect "$image" >/dev/null 2>&1 && return
  say "making $image"
  rm -rf "$root" "$work/image.key"
  mkdir -p "$root"/{bin,lib64,"lib/$triplet",usr/bin,etc,tmp,opt,proc,dev,sys,var/lang/{bin,lib},var/{runtime,task,rapid}}
  chmod 1777 "$root/tmp"
  for tool in sh mv cp rm chmod cat ls env mkdir; do cp -L "$(type -P $tool)" "$root/bin/"; done
  ln -s /bin/env "$root/usr/bin/env"
  echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
  copy_interpreter
  .tools/uv/bin/uv pip install --quiet --python "$python" --target "$root/var/runtime" --link-mode copy --require-hashes \
    -r infra/local/requirements-image.txt
  copy_libraries
  write_bootstrap
  "$python" -m compileall -q -s "$root" "$root/var/lang/lib" "$root/var/runtime" >/dev/null 2>&1 || true # some files of the library are broken on purpose
  environment="LANG=C.UTF-8 PATH=/var/lang/bin:/bin:/opt/bin LD_LIBRARY_PATH=/var/lang/lib:/opt/lib LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime"
  # SAM keeps the image it derived from an older one
  docker -H "$socket" image rm -f "${image%-"$arch"}-rapid-$arch" >/dev/null 2>&1 || true
  tar -C "$root" -cf - . | docker -H "$socket" import -c 'WORKDIR /var/task' -c "ENV $environment" - "$image" >&2
  rm -rf "$root"
  echo "$key" >"$work/image.key"
}

up() {
  check
  mkdir -p "$work"
  infra/local/tool.sh sam >&2
  install_engine
  start_engine
  make_image
  cat <<EOF
DOCKER_HOST=$socket
SAM=$PWD/.tools/sam/bin/sam
SAM_CI_ADDRESS=$address
ARCH=$arch
PYVER=$version
EOF
}

down() {
  if [ -f "$work/dockerd.pid" ]; then
    kill "$(cat "$work/dockerd.pid")" 2>/dev/null || true
    for _ in $(seq 40); do
      engine_answers || break
      sleep 0.25
    done
  fi
  ip link del "$bridge" 2>/dev/null || true
}

case ${1:-} in
  up) up ;;
  down) down ;;
  check) check ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
