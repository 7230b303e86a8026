.PHONY: help setup demo test

built := $(or $(CARGO_TARGET_DIR),target)

help: ## list what make can do here
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: ## install what building needs (Debian 12; does nothing where it is there)
	@./setup.sh

demo: setup ## build Lapidary, compile the tiny checkpoint to ./gemma-tiny and ask that file
	cargo build --release --locked --package lapidary
	$(built)/release/lapidary compile models/tiny -o gemma-tiny
	./gemma-tiny --temperature 0 "What is the capital of France?"

test: ## check format and lints, run every test
	@./setup.sh test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked
