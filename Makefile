# The tasks of this repository; `make` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help build test soak lint demo bench image clean

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the release binary, target/release/cdflow
	cargo build --release --locked

test: ## every test; makes .venv and looks for what the tests need first (ARGS="-- name" for some of them)
	@tests/run $(ARGS)

soak: ## 200 previews reaped while one in ten of GitHub's answers is a fault, and what it takes
	@CDFLOW_TEST_PREVIEWS=$${CDFLOW_TEST_PREVIEWS:-200} tests/run --test integration -- --nocapture reap::many_are_reaped_while_github_fails

lint: ## formatting, clippy, action.yml and the workflows; warnings are errors
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	@tests/lint

demo: ## a component's life on this machine: release, deploy, change, deploy, destroy (no AWS, no network)
	@demo/run.sh

bench: build ## what it costs beside Python's zipfile, in ratios of one run (needs what `make test` needs)
	@bench/run

image: ## the Action's image, and how large it is (ARGS="--build-arg …")
	docker build --tag cdflow $(ARGS) .
	@docker image inspect --format '{{.Size}}' cdflow | awk '{ printf "%.1f MB on a disk, ", $$1 / 1e6 }'
	@docker save cdflow | gzip | wc -c | awk '{ printf "%.1f MB to pull\n", $$1 / 1e6 }'

clean: ## remove what the tasks above made
	cargo clean
	rm -rf .venv .demo
