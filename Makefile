# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

# Every target sets up what it needs by itself, in .venv and .cache, and is quick the second time. The work is in tests/tools.

PYTHON ?= python3
CORE ?= 2.19
ARGS ?=
TOOLS := tests/tools

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
	@echo '  CORE=2.16 chooses another ansible-core, ARGS="-k resize" adds options to pytest.'

.PHONY: setup
setup: ## the virtual environments that tests and linters use
	@$(PYTHON) $(TOOLS)/virtualenvs.py core-$(CORE) lint
	@$(PYTHON) $(TOOLS)/collection.py link >/dev/null

.PHONY: demo
demo: ## the tour: playbooks against a simulated StorPool, each step checked, run, and run again
	@$(PYTHON) $(TOOLS)/demo.py $(ARGS)

.PHONY: test
test: ## everything that CI runs; ends with `N passed, N failed`
	@$(PYTHON) $(TOOLS)/stages.py test

.PHONY: lint sanity unit properties faults hostile scenarios integration artifact simulator-tests molecule
lint: ## ruff, yamllint, ansible-lint, changelog, documentation
sanity: ## ansible-test sanity without ignore files
unit: ## plans and clients, no network
properties: ## generated sequences against a model
faults: ## every call of every module gone wrong; kills, races, failures among many
scenarios: ## those of StorPool's Marvin tests, on each CloudStack release
hostile: ## bad input to every module, servers that mean ill, secrets looked for everywhere
integration: ## playbooks against the simulator
artifact: ## builds the artifact, installs it into an empty place and uses it
simulator-tests: ## the simulator against the API's rules and the official bindings
molecule: ## roles and playbooks on hosts that run systemd; takes root, and Debian packages; ARGS=heartbeat for one scenario
lint sanity unit properties faults hostile scenarios integration artifact simulator-tests molecule:
	@$(PYTHON) $(TOOLS)/stages.py --core $(CORE) $@ -- $(ARGS)

.PHONY: long-test
long-test: ## hours: 10,000 examples of each property, all faults, 200 kills, hundreds of races, ten times the bad inputs; ends with its counts
	@$(PYTHON) $(TOOLS)/stages.py --core $(CORE) long -- $(ARGS)

.PHONY: mutants
mutants: ## breaks planner, clients and runner in a copy, and shows what their tests do not notice; ARGS="--count 200 --seed 3"
	@$(PYTHON) $(TOOLS)/code_mutants.py $(ARGS)

.PHONY: matrix
matrix: ## sanity, unit and integration on every ansible-core that a Python here can run
	@$(PYTHON) $(TOOLS)/stages.py matrix

.PHONY: bench
bench: ## what it costs beside an empty play, bare clients and other collections; writes docs/performance.md with its charts
	@$(PYTHON) $(TOOLS)/inside.py --in bench tests/benchmarks/bench.py $(ARGS)

.PHONY: simulator
simulator: ## starts the simulated StorPool; prints its address and a file of settings to source
	@$(PYTHON) $(TOOLS)/simulator.py $(ARGS)

.PHONY: build
build: ## the artifact, storpool-cloudstack-VERSION.tar.gz, in .cache/dist
	@$(PYTHON) $(TOOLS)/build.py

.PHONY: clean
clean: ## removes everything that these targets made
	@$(PYTHON) $(TOOLS)/molecule.py clean
	rm -rf .venv .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
