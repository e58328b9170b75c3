# Each target does all of its own set-up on a fresh machine; a second run of the set-up takes no time.
.DEFAULT_GOAL := help
.PHONY: help install demo test unit policies lint format e2e sabotage mutate fuzz bench model lock clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

BIN := .venv/bin
INSTALLED := .venv/.installed
COMPILED := .venv/.compiled
PYTHON ?= python3
WORKERS ?= 2
# Downloads and builds that outlive `make clean`.
CACHE ?= $(HOME)/.cache/fhir-policy-gateway
# HL7's definitions of FHIR, as HAPI ships them for its validator.
DEFINITIONS := hapi-fhir-validation-resources
DEFINITIONS_VERSION := 8.8.0
# The packages that decide: every branch of them is tested.
PURE := gateway/errors.py,gateway/fhir/*,gateway/policy/*,gateway/saga/table.py

help: ## What can be made
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(COMPILED) ## .venv/ with the command .venv/bin/fhir-gateway

# As pip does for what it installs: a user who may not write here, or PYTHONDONTWRITEBYTECODE, made each start compile anew.
$(COMPILED): $(INSTALLED) $(shell find gateway -name '*.py')
	@$(BIN)/python -m compileall -q gateway
	@touch $@

$(INSTALLED): requirements.lock pyproject.toml
	@.ci/need $(PYTHON)=python3
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/need ensurepip=python3-venv
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# Without --no-deps pip 23 asks for the newest version of `package[extra]` beside the locked `package`, and refuses it.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null || $(BIN)/python -m pip check
	@touch $@

demo: install ## The whole story on this machine; STAY=1 keeps it running
	@$(BIN)/fhir-gateway demo $(if $(filter-out 0,$(STAY)),--stay)

lint: install ## Format, style, types, and which room may import which
	$(BIN)/ruff format --check gateway tests
	$(BIN)/ruff check gateway tests
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Lets ruff write what it can
	$(BIN)/ruff format gateway tests
	$(BIN)/ruff check --fix gateway tests

test: lint unit policies ## Everything that needs no other server

unit: install
	rm -f .coverage .coverage.*
	$(BIN)/pytest -m "not e2e and not timed" -n $(WORKERS) --cov --cov-report=
	$(BIN)/pytest -m "timed" --quiet tests/fhirpath
	$(BIN)/coverage report --skip-covered --skip-empty --format=total | sed 's/^/branch and line coverage, all rooms: /; s/$$/ %/'
	$(BIN)/coverage report --include='$(PURE)' --show-missing --skip-covered --fail-under=100

policies: install
	$(BIN)/fhir-gateway check policies
	$(BIN)/fhir-gateway test policies

e2e: install ## The same promises against real HAPI, Keycloak, Prometheus and PostgreSQL
	@.ci/need java=openjdk-17-jre-headless javac=openjdk-17-jdk-headless mvn=maven prometheus=prometheus promtool=prometheus curl=curl unzip=unzip flock=util-linux setsid=util-linux sqlite3=sqlite3 runuser=util-linux $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb) initdb)=postgresql
	CACHE='$(CACHE)' $(BIN)/pytest -m e2e tests/e2e

sabotage: install ## Each safety line is taken away in a copy of the tree; some test has to miss it. ONLY='word' for some
	@.ci/need runuser=util-linux $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb) initdb)=postgresql
	$(BIN)/python -m tests.sabotage --workers $(WORKERS) $(ONLY)

mutate: install ## Each function of FHIRPath is changed in small ways; some fast test has to miss it. EACH=2 of each, ONLY='word'
	nice $(BIN)/python -m tests.mutate --workers $(WORKERS) $(if $(EACH),--each $(EACH)) $(ONLY)

fuzz: install ## The parsers on the hostile edge, FOR=60 seconds each, by atheris; the corpus is kept in the cache. ONLY='word'
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement tests/fuzz/requirements.lock
	$(BIN)/python -m tests.fuzz --seconds $(or $(FOR),60) --corpus '$(CACHE)/fuzz' $(ONLY)

bench: install ## Requests, latency, CPU and memory beside nginx and a bare proxy; the journal's cost; QUICK=1 is shorter
	@.ci/need wrk=wrk nginx=nginx-light runuser=util-linux $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb) initdb)=postgresql
	$(BIN)/python -m tests.bench $(if $(filter-out 0,$(QUICK)),--quick)
	$(BIN)/python -m tests.bench.fhirpath
	$(BIN)/python -m tests.bench.journal $(if $(filter-out 0,$(QUICK)),--quick)
	$(BIN)/python -m tests.bench.recovery $(if $(filter-out 0,$(QUICK)),--entries 2000)

model: install ## Writes the element model anew from HL7's FHIR definitions
	@.ci/need java=openjdk-17-jre-headless mvn=maven
	@mkdir -p '$(CACHE)/definitions'
	@cd '$(CACHE)/definitions' && for release in r4 r4b r5; do \
		test -f $(DEFINITIONS)-$$release-$(DEFINITIONS_VERSION).jar || mvn -q -B dependency:copy -DoutputDirectory=. \
			-Dartifact=ca.uhn.hapi.fhir:$(DEFINITIONS)-$$release:$(DEFINITIONS_VERSION); done
	@cd '$(CACHE)/definitions' && sha256sum --check --quiet '$(CURDIR)/gateway/definitions/jars.sha256'
	@for release in r4 r4b r5; do $(BIN)/python -m gateway.definitions.generate --release $${release^^} \
		'$(CACHE)/definitions/$(DEFINITIONS)-'$$release-$(DEFINITIONS_VERSION).jar; done

lock: ## Writes requirements.lock anew, with the hash of every file
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet --disable-pip-version-check uv; }
	@echo 'setuptools>=77' >build/lock/build.in
	build/lock/bin/uv pip compile pyproject.toml build/lock/build.in --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock
	@# Not every Python has a wheel of it, and nothing but `make fuzz` needs it.
	@echo 'atheris>=3' >build/lock/fuzz.in
	build/lock/bin/uv pip compile build/lock/fuzz.in --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file tests/fuzz/requirements.lock

clean: ## Removes what make made, but for the caches
	rm -rf build .venv .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
