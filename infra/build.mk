# The artefact of every function: `sam build` runs `make build-<LogicalId>` with ARTIFACTS_DIR set, once per function. The
# stage is made once and copied, so all functions share one zip. It holds the handlers, the shared package, the wrapper, the
# dependencies and the byte code of all of them, and nothing else.
#
# `sam build` hands no architecture to make: ARCH=x86_64 sam build --parameter-overrides Architecture=x86_64
# Not with `sam build --parallel`: two functions would make the stage at the same time.

ARCH   ?= arm64
PYVER  ?= 3.13
UV     ?= .tools/uv/bin/uv
# Byte code counts only under the minor version that made it, so PYTHON must be a real interpreter of the runtime's.
PYTHON ?= $(or $(shell .venv/bin/python -c 'import sys; v = "%d.%d" % sys.version_info[:2]; print(".venv/bin/python" if v == "$(PYVER)" else "")' 2>/dev/null),python$(PYVER))

CPU_arm64  := aarch64
CPU_x86_64 := x86_64
STAGE       = .build/$(PYVER)-$(ARCH)
# glibc 2.34 is that of Amazon Linux 2023, on which python3.12 and later run.
PLATFORM    = $(CPU_$(ARCH))-manylinux_2_34
# folders too: a deleted file must leave the stage
SOURCES    := $(shell find handlers shared -not -path '*/__pycache__*')

$(STAGE)/.done: requirements.txt stream-wrapper infra/build.mk $(SOURCES)
	@test -n "$(CPU_$(ARCH))" || { echo "ARCH must be arm64 or x86_64, not '$(ARCH)'" >&2; exit 1; }
	umask 022 && rm -rf $(STAGE) && mkdir -p $(STAGE)/task
	umask 022 && $(UV) pip install --quiet --target $(STAGE)/task --python $(PYTHON) --python-version $(PYVER) \
	  --python-platform $(PLATFORM) --only-binary :all: --require-hashes --no-compile-bytecode --link-mode copy -r requirements.txt
	rm -rf $(STAGE)/task/bin $(STAGE)/task/.lock
	umask 022 && cp -R handlers shared stream-wrapper $(STAGE)/task/
	find $(STAGE)/task -name __pycache__ -prune -exec rm -rf {} +
	umask 022 && $(PYTHON) -m compileall -q --invalidation-mode unchecked-hash -s $(STAGE)/task -p /var/task $(STAGE)/task
	chmod -R u=rwX,go=rX $(STAGE)/task && chmod 755 $(STAGE)/task/stream-wrapper
	touch $@

.PHONY: artefact
artefact: $(STAGE)/.done  ## build the functions' common content into .build/

build-%: $(STAGE)/.done
	cp -R $(STAGE)/task/. "$(ARTIFACTS_DIR)/"
