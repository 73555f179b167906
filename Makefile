# What can be done here; each target does its own set-up. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build install pack test test-guest demo bench conformance soak mutate clean

SECONDS ?= 600

help: ## List what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Install what building, testing and the demo need (apt), or say what is missing
	@scripts/setup test

build: ## Build the tool; it stands at bin/vdisk afterwards
	@scripts/setup runtime
	@scripts/setup build
	@scripts/build

pack: ## Make NuGet packages of the libraries; they stand in bin/packages
	@scripts/setup build
	@scripts/pack

install: ## Put the built tool and its systemd service under PREFIX (/usr/local), below DESTDIR
	@scripts/install

test: ## Run the unit, property, guest and conformance tests; results go to TestResults/
	@scripts/test

test-guest: ## Run only the tests that boot a Linux guest
	@scripts/test --guest

demo: ## Import, snapshot, clone, serve, kill and verify a real file system, in under three minutes
	@scripts/setup demo
	@scripts/build
	@scripts/demo

bench: ## Measure the engine and iSCSI beside qcow2 and tgtd
	@scripts/setup bench
	@scripts/build
	@scripts/bench

conformance: ## Run libiscsi's iscsi-test-cu against the tool, one test at a time
	@scripts/setup test
	@scripts/build
	@tests/conformance/run

soak: ## Run the property, fuzz, kill and power-cut tests for longer: make soak SECONDS=3600
	@scripts/setup test
	@scripts/test --soak $(SECONDS)

mutate: ## Break load-bearing lines one by one, and see that a test notices
	@scripts/setup build
	@tests/mutations/run

clean: ## Remove everything that was built or measured
	rm -rf bin TestResults demo.out
	find engine layers scsi iscsi tcmu vhost tools samples tests \( -name bin -o -name obj \) -type d -prune -exec rm -rf {} +
