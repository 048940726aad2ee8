# Every verb brings what it needs: `make run` and `make test` work in a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
HANDLER ?= chat_completions
PORT ?= 9001

TEMPLATES := template.yaml infra/edge.yaml infra/observability.yaml infra/snapstart.yaml

include infra/build.mk

.PHONY: help setup run test lint check bench fuzz soak function-url emulator catalog lock build deploy deploy-edge deploy-observability deploy-local smoke logs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 24

setup: ## .venv with the locked requirements
	@infra/local/bootstrap.sh

run: setup ## the gateway on http://127.0.0.1:8080, AWS embedded, the emulator as upstream without GEMINI_API_KEY
	@exec $(PY) -m infra.local

test: setup ## every test
	@$(PY) -m pytest

lint: setup ## ruff, mypy, import contracts, the templates
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports
	@.venv/bin/cfn-lint $(TEMPLATES)
	@infra/local/tool.sh checkov
	@.tools/checkov/bin/checkov --config-file .checkov.yaml $(TEMPLATES:%=-f %)

check: lint test ## both

bench: setup ## the goals of speed and size beside their references, tests/bench/RESULTS.md anew: ROUNDS=3, QUICK=1 for a look
	@ROUNDS="$(ROUNDS)" QUICK="$(QUICK)" GROWTH="$(GROWTH)" $(PY) -m tests.bench

fuzz: setup ## coverage-guided fuzzing, SECONDS_EACH=600 for each target
	@$(PY) -m tests.fuzz --seconds $(or $(SECONDS_EACH),600)

soak: setup ## mixed load with faults and broken-off clients, MINUTES=30
	@$(PY) -m tests.load --minutes $(or $(MINUTES),30)

function-url: setup ## one function behind a function-URL emulator: HANDLER=chat_completions PORT=9001
	@exec $(PY) -m infra.local.function_url --handler $(HANDLER) --port $(PORT)

emulator: setup ## the Gemini emulator alone on port 9090
	@exec $(PY) -m infra.local.emulator --port 9090

catalog: setup ## write the model catalog anew from genai-prices and the overrides
	@$(PY) -m infra.catalog

lock: setup ## compile the requirements anew, with hashes
	@infra/local/lock.sh

build: setup ## sam build: the zip of every function (ARCH=x86_64 for the other architecture)
	@infra/local/tool.sh sam
	@ARCH=$(ARCH) PYVER=$(PYVER) SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam build \
	  --parameter-overrides "Architecture=$(ARCH) PythonRuntime=python$(PYVER)"

deploy: build ## sam build and sam deploy, with samconfig.toml: WITH="Shape=single Stage=dev" for parameters
	@SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam deploy \
	  --parameter-overrides "Architecture=$(ARCH) PythonRuntime=python$(PYVER) $(WITH)"

deploy-edge: setup ## CloudFront in front of the deployed gateway, which WITH="Edge=required" prepared
	@infra/local/tool.sh sam
	@SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam deploy --config-env edge $(if $(WITH),--parameter-overrides "$(WITH)")

deploy-observability: setup ## alarms and dashboard: WITH="AlarmEmail=me@example.com"
	@infra/local/tool.sh sam
	@SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam deploy --config-env observability $(if $(WITH),--parameter-overrides "$(WITH)")

deploy-local: setup ## the whole deployment on this machine: sam deploy onto ministack, served until Ctrl-C (SHAPE=single)
	@SHAPE="$(SHAPE)" exec $(PY) -m infra.local.deploy

smoke: setup ## check a gateway: URL=... KEY=... and, for revocation, ADMIN_KEY=...
	@URL="$(URL)" KEY="$(KEY)" ADMIN_KEY="$(ADMIN_KEY)" $(PY) -m infra.smoke

logs: setup ## follow the deployed functions' logs
	@infra/local/tool.sh sam
	@.tools/sam/bin/sam logs --tail

clean: ## remove what was built; local state and tools stay
	rm -rf .build .aws-sam .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
