# Everything a user does with this checkout; `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench faults fleet fleet-down requirements clean
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install system packages, make .venv (does nothing when all is there)
	@scripts/setup

demo: setup ## boot a fleet, deploy under load, meet a broken release, roll back, show the state
	@scripts/demo

test: setup ## lint, unit, module and convention tests, molecule on a booted fleet (RINGS="unit lint" for some)
	@scripts/test $(RINGS)

lint: setup ## ansible-lint, yamllint, ruff, mypy, shellcheck
	@scripts/test lint

bench: setup ## time a fleet's rollback against parallel ssh, tasks and pyinfra (OPTIONS="--hosts 12")
	@scripts/bench $(OPTIONS)

faults: setup ## break deploys, or backups, or migrations, at random instants (OPTIONS="--backups --cases 300 --seed 7")
	@scripts/faults $(OPTIONS)

fleet: setup ## boot the local fleet
	@ansible-playbook playbooks/fleet_up.yml

fleet-down: setup ## remove the local fleet (keeps image, packages, secrets)
	@ansible-playbook playbooks/fleet_down.yml

requirements: ## compile requirements/*.in to the pinned files (OPTIONS=--upgrade for newer versions)
	@scripts/requirements $(OPTIONS)

clean: ## remove the fleets of this checkout and everything it made (.cache, .venv)
	@scripts/clean
