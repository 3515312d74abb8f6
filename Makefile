# The tasks of this repository; `make` lists them. Start with `make demo` (the main job) and `make test` (the tests).
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help build test tofu soak races sweep fuzz lint demo bench image clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the release binary, target/release/cdflow
	cargo build --release --locked

test: ## every test; installs what it needs as root on Debian or Ubuntu (ARGS="-- name" runs some of them)
	@tests/run $(ARGS)

tofu: ## every test of the whole program with the stand-in for OpenTofu (`make test` runs some of them so)
	@CDFLOW_TEST_TOOL=tofu tests/run --test integration

soak: ## 20 minutes of runs while AWS and GitHub fail; reap 200 previews while one in ten answers of GitHub fails
	@CDFLOW_TEST_SOAK=$${CDFLOW_TEST_SOAK:-1200} tests/run --test integration -- --nocapture soak::
	@CDFLOW_TEST_PREVIEWS=$${CDFLOW_TEST_PREVIEWS:-200} tests/run --test integration -- --nocapture reap::many_are_reaped_while_github_fails

races: ## every pair of commands at once, 20 times, with random delays at the store (an hour)
	@CDFLOW_TEST_RACES=$${CDFLOW_TEST_RACES:-20} tests/run --test integration -- --nocapture races::

sweep: ## cancel release, deploy and destroy at every request, with each kind of state lock (an hour or more)
	@CDFLOW_TEST_SWEEP=1 tests/run --test integration -- --nocapture sweep::

fuzz: ## give hostile input to each parser for a minute; needs Rust's nightly (FUZZ_SECONDS=N, ARGS="target …")
	@fuzz/run $(ARGS)

lint: ## check formatting, clippy, dependencies, action.yml and the workflows; warnings are errors
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --lib --locked -- -D warnings --cfg fuzzing
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	@tests/lint

demo: ## release, deploy, change, deploy and destroy a component on this machine (no AWS)
	@demo/run.sh

bench: build ## compare speed with the predecessor's way and plain Terraform, as ratios of one run (needs what `make test` needs)
	@bench/run

image: ## build the Action's image with and without Terraform, and print their sizes by layer (ARGS="--build-arg …")
	docker build --tag cdflow:slim --target slim $(ARGS) .
	docker build --tag cdflow $(ARGS) .
	@image/sizes cdflow:slim=45 cdflow=72

clean: ## remove what these tasks made
	cargo clean
	rm -rf .venv .demo
