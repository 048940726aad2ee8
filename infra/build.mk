# The artefacts of the functions: `sam build` runs `make build-<LogicalId>` with ARTIFACTS_DIR set, once per function. Each
# holds the handlers, the shared package, the wrapper, its dependencies and the byte code of all of them, and nothing else.
# There are three kinds, each made once and copied, so that what differs by kind alone is uploaded once: `serving` without
# FastAPI and pydantic, which weigh twice as much as all the rest; `audio` with an encoder; `whole` for the control plane.
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


KIND_AudioFunction   := audio
KIND_ControlFunction := whole
KIND_GatewayFunction := whole

LOCK_serving := requirements-serving.txt
LOCK_audio   := requirements-audio.txt
LOCK_whole   := requirements.txt

.SECONDEXPANSION:
.PRECIOUS: $(STAGE)/%/.done
$(STAGE)/%/.done: $$(LOCK_$$*) stream-wrapper infra/build.mk $(SOURCES) | .venv/bin/python
	@test -n "$(CPU_$(ARCH))" || { echo "ARCH must be arm64 or x86_64, not '$(ARCH)'" >&2; exit 1; }
	umask 022 && rm -rf $(@D) && mkdir -p $(@D)/task
	umask 022 && $(UV) pip install --quiet --target $(@D)/task --python $(PYTHON) --python-version $(PYVER) \
	  --python-platform $(PLATFORM) --only-binary :all: --require-hashes --no-compile-bytecode --link-mode copy -r $<
	rm -rf $(@D)/task/bin $(@D)/task/.lock
	umask 022 && cp -R handlers shared stream-wrapper $(@D)/task/
	find $(@D)/task -name __pycache__ -prune -exec rm -rf {} +
	umask 022 && $(PYTHON) -m compileall -q --invalidation-mode unchecked-hash -s $(@D)/task -p /var/task $(@D)/task
	chmod -R u=rwX,go=rX $(@D)/task && chmod 755 $(@D)/task/stream-wrapper
	touch $@

# `sam build` may be the first command in a clone
.venv/bin/python:
	@infra/local/bootstrap.sh

.PHONY: artefact
artefact: $(STAGE)/serving/.done $(STAGE)/audio/.done $(STAGE)/whole/.done  ## build the functions' contents into .build/

build-%: $(STAGE)/$$(or $$(KIND_$$*),serving)/.done
	cp -R $(<D)/task/. "$(ARTIFACTS_DIR)/"
