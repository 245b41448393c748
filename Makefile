# What a developer and a user's machine need, one target each. Every target installs what it misses and says so.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test soak-writes bench promises check dist

CARGO ?= cargo

# $(call apt,PACKAGE,FILE): installs a Debian package unless its file is there.
apt = test -e $(2) || { echo "installing $(1)"; \
	(apt-get install -y --no-install-recommends $(1) || (apt-get update && apt-get install -y --no-install-recommends $(1))) \
	>/tmp/pinlink-apt.log 2>&1 || { cat /tmp/pinlink-apt.log; exit 1; }; }

help: ## Lists the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Runs a job against the network in a box: as people write it today, and with pinlink
	@$(call apt,iso-codes,/usr/share/iso-codes/json/iso_3166-2.json)
	@echo "building the program (once, some minutes)"
	@$(CARGO) build --profile demo --quiet --features demo --bin pinlink
	@target/demo/pinlink demo --html target/demo.html

test: ## Runs every test of every language
	@$(call apt,iso-codes,/usr/share/iso-codes/json/iso_3166-2.json)
	@$(call apt,strace,/usr/bin/strace)
	@$(call apt,nftables,/usr/sbin/nft)
	@$(call apt,iproute2,/usr/sbin/ip)
	@$(call apt,openssl,/usr/bin/openssl)
	@$(call apt,faketime,/usr/bin/faketime)
	@$(call apt,postgresql,/usr/lib/postgresql/*/bin/postgres)
	@$(call apt,mariadb-server-core,/usr/sbin/mariadbd)
	@$(call apt,mariadb-client-core,/usr/bin/my_print_defaults)
	$(CARGO) test --workspace --exclude pinlink-peers --exclude pinlink-promises --features pinlink/demo --no-fail-fast

soak-writes: ## Kills and re-executes 1,000 writing jobs, derives 10,000,000 keys, explores the ledger (some minutes)
	@$(call apt,iso-codes,/usr/share/iso-codes/json/iso_3166-2.json)
	@echo "building the program and the keys' soak (once, some minutes)"
	@$(CARGO) build --profile demo --quiet --features demo --bin pinlink
	@$(CARGO) test --profile demo --quiet -p pinlink -p pinlink-model --test soak --test ledger --no-run
	@target/demo/pinlink demo --re-execute --cycles 1000
	$(CARGO) test --profile demo --quiet -p pinlink -p pinlink-model --test soak --test ledger -- --ignored

bench: ## Measures pinlink beside its peers and the physical limit (results in target/bench.json)
	@$(call apt,nginx-light,/usr/sbin/nginx)
	@$(call apt,wrk,/usr/bin/wrk)
	@$(call apt,nghttp2-client,/usr/bin/h2load)
	@echo "building the peers (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-peers
	@target/release/pinlink-peers --json target/bench.json
	$(CARGO) bench --bench parts

promises: ## Measures the promises under faults (about 6 minutes)
	@echo "building the workloads (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-promises
	@target/release/pinlink-promises --json target/promises.json

check: ## Checks format, lints, docs, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features demo -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --features demo
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny (once, some minutes)"; $(CARGO) install --quiet --locked cargo-deny; }
	$(CARGO) deny --workspace check bans licenses sources
	@if $(CARGO) deny --workspace fetch >/dev/null 2>&1; then $(CARGO) deny --workspace check advisories; \
	else echo "advisories NOT checked: the advisory database is out of reach from here"; fi

dist: ## Builds what a user installs into dist/
	@echo "building the program"
	@$(CARGO) build --release --quiet --features demo --bin pinlink
	@mkdir -p dist && cp target/release/pinlink dist/pinlink && strip dist/pinlink
	@ls -l dist
