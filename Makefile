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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo '  CORE=2.16 chooses another ansible-core, ARGS="-k resize" adds options to pytest.'

.PHONY: setup
setup: ## the virtual environments that tests and linters use
	@$(PYTHON) $(TOOLS)/venv.py core-$(CORE) lint
	@$(PYTHON) $(TOOLS)/collection.py link >/dev/null

.PHONY: clean
clean: ## removes everything that these targets made
	rm -rf .venv .cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
