# Every verb brings what it needs: `make run` and `make test` work in a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
HANDLER ?= chat_completions
PORT ?= 9001

include infra/build.mk

.PHONY: help setup run test lint check function-url emulator catalog lock build deploy logs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## .venv with the locked requirements
	@infra/local/bootstrap.sh

run: setup ## the gateway on http://127.0.0.1:8080, AWS embedded, the emulator as upstream without GEMINI_API_KEY
	@exec $(PY) -m infra.local

test: setup ## every test
	@$(PY) -m pytest

lint: setup ## ruff, mypy, import contracts, the template
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports
	@.venv/bin/cfn-lint template.yaml

check: lint test ## both

function-url: setup ## one function behind a function-URL emulator: HANDLER=chat_completions PORT=9001
	@exec $(PY) -m infra.local.function_url --handler $(HANDLER) --port $(PORT)

emulator: setup ## the Gemini emulator alone on port 9090
	@exec $(PY) -m infra.local.emulator --port 9090

catalog: setup ## write the model catalog anew from genai-prices and the overrides
	@$(PY) -m infra.catalog

lock: setup ## compile the requirements anew, with hashes
	@infra/local/lock.sh

build: setup ## sam build: the zip of every function (ARCH=x86_64 for the other architecture)
	@infra/local/sam_tools.sh
	@ARCH=$(ARCH) PYVER=$(PYVER) SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam build \
	  --parameter-overrides "Architecture=$(ARCH) PythonRuntime=python$(PYVER)"

deploy: build ## sam build and sam deploy, with samconfig.toml
	@SAM_CLI_TELEMETRY=0 .tools/sam/bin/sam deploy \
	  --parameter-overrides "Architecture=$(ARCH) PythonRuntime=python$(PYVER)"

logs: setup ## follow the deployed functions' logs
	@infra/local/sam_tools.sh
	@.tools/sam/bin/sam logs --tail

clean: ## remove what was built; local state and tools stay
	rm -rf .build .aws-sam .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
