# What a developer and a user's machine need, one target each. Every target installs what it misses and says so.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test soak-writes soak-python promises check instructions instructions-accept dist dist-java dist-python \
	bench bench-rust bench-java bench-python bench-growth bench-parts bench-job bench-page bench-flames bench-built

CARGO ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

# The JVMs that the Java suite passes on: the machine's own, and a newer one where it is.
JAVA_25 := $(firstword $(wildcard /usr/lib/jvm/temurin-25*/bin/java))
JAVA := $(firstword $(wildcard /usr/lib/jvm/java-17*/bin/java)) $(JAVA_25)
# Spark 3.5 runs on it.
JAVA_HOME_17 := $(firstword $(wildcard /usr/lib/jvm/java-17*-openjdk* /usr/lib/jvm/java-17*))
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
MAVEN := mvn --quiet --batch-mode --file jni -Dpinlink.target=$(TARGET)/debug
MAVEN_TEST := mvn --batch-mode --no-transfer-progress --file jni -Dpinlink.target=$(TARGET)/debug test
# What builds for a glibc of 2012: zig's linker, and cargo's way to it.
ZIG := $(TARGET)/zig/bin
LINUX := x86_64-unknown-linux-gnu
NATIVE := $(TARGET)/$(LINUX)/release
JAVA_DIST := jni/java/target/dist

# The interpreters that the Python suite passes on: the machine's own, the oldest that MaxCompute has, and the newest at hand.
PYTHONS := $(shell command -v python3) $(firstword $(wildcard $(HOME)/.pyenv/versions/3.7.*/bin/python)) \
	$(lastword $(wildcard $(HOME)/.pyenv/versions/3.1[2-9].*/bin/python))

# $(call apt,PACKAGE,FILE): installs a Debian package unless its file is there.
apt = test -e $(2) || { echo "installing $(1)"; \
	(apt-get install -y --no-install-recommends $(1) || (apt-get update && apt-get install -y --no-install-recommends $(1))) \
	>/tmp/pinlink-apt.log 2>&1 || { cat /tmp/pinlink-apt.log; exit 1; }; }

help: ## Lists the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	@$(call apt,nginx-light,/usr/sbin/nginx)
	@$(call apt,postgresql,/usr/lib/postgresql/*/bin/postgres)
	@$(call apt,mariadb-server-core,/usr/sbin/mariadbd)
	@$(call apt,mariadb-client-core,/usr/bin/my_print_defaults)
	$(CARGO) test --workspace --exclude pinlink-bench-rust --exclude pinlink-promises --features pinlink/demo --no-fail-fast
	$(CARGO) build --quiet -p pinlink-jni -p pinlink-python -p pinlink-box
	$(MAVEN_TEST)
	$(if $(JAVA_25),$(MAVEN_TEST) -Dpinlink.jvm=$(JAVA_25) -Dpinlink.jvm.options=--enable-native-access=ALL-UNNAMED,\
		@echo "NOT tested on Java 25: there is no Temurin 25 in /usr/lib/jvm")
	python3 python/tests/run.py $(TARGET) $(PYTHONS)
	python3 tests/spark/run.py $(TARGET) $(JAVA_HOME_17) $(wordlist 1,2,$(PYTHONS))

soak-writes: ## Kills and re-executes 1,000 writing jobs, derives 10,000,000 keys, explores the ledger (some minutes)
	@$(call apt,iso-codes,/usr/share/iso-codes/json/iso_3166-2.json)
	@echo "building the program and the keys' soak (once, some minutes)"
	@$(CARGO) build --profile demo --quiet --features demo --bin pinlink
	@$(CARGO) test --profile demo --quiet -p pinlink -p pinlink-model --test soak --test ledger --no-run
	@target/demo/pinlink demo --re-execute --cycles 1000
	$(CARGO) test --profile demo --quiet -p pinlink -p pinlink-model --test soak --test ledger -- --ignored

bench: bench-rust bench-java bench-python bench-growth bench-parts bench-job bench-page ## Measures everything beside its peers and writes the page (about 45 minutes)

bench-rust: bench-built ## Measures Rust beside its peers (about 6 minutes; results in target/bench-rust.json)
	@target/release/pinlink-peers --language rust --json target/bench-rust.json -- target/release/pinlink-bench-rust

bench-growth: bench-built ## Measures how cost grows with hosts, threads, rows, connections (about 7 minutes; target/bench-growth.json)
	@target/release/pinlink-peers --language growth --json target/bench-growth.json -- target/release/pinlink-bench-rust

bench-java: bench-built ## Measures the Java binding beside its peers (about 8 minutes; results in target/bench-java.json)
	@$(call apt,lz4,/usr/bin/lz4)
	@echo "building the binding (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-jni
	@$(CARGO) build --release --quiet -p pinlink-peers --example crossing
	@BENCH_JAVA=$(firstword $(JAVA)) benches/java/run $(TARGET) --json target/bench-java.json

bench-python: bench-built ## Measures the Python binding beside its peers (about 8 minutes; results in target/bench-python.json)
	@echo "building the binding (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-python
	@python3 benches/python/run.py $(TARGET) --json target/bench-python.json

# The rows are the gaps' of benches/peers/src/flames.rs. Where perf can't record, the program says so and what is drawn stays.
bench-flames: bench-built ## Draws where the CPU time of the rows that are behind goes (about 5 minutes; benches/results/flames)
	-@$(call apt,linux-perf,/usr/bin/perf)
	@$(call apt,lz4,/usr/bin/lz4)
	@echo "building the bindings (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-jni
	@$(CARGO) build --release --quiet -p pinlink-peers --example crossing
	@$(CARGO) build --release --quiet -p pinlink-python
	@rm -rf target/flames
	@target/release/pinlink-peers --language rust --flames target/flames -- target/release/pinlink-bench-rust
	@target/release/pinlink-peers --language growth --flames target/flames -- target/release/pinlink-bench-rust
	@BENCH_JAVA=$(firstword $(JAVA)) benches/java/run $(TARGET) --flames target/flames
	@python3 benches/python/run.py $(TARGET) --flames target/flames
	@$(MAKE) --no-print-directory bench-page

# isahc stands apart: its curl brings another TLS. Where it does not build, the worker says so.
ISAHC = rm -f $(TARGET)/release/pinlink-bench-isahc.missing; \
	$(CARGO) build --release --quiet --manifest-path benches/rust/isahc/Cargo.toml --target-dir $(TARGET) 2>$(TARGET)/isahc.log || \
	{ rm -f $(TARGET)/release/pinlink-bench-isahc; \
	echo "isahc does not build here: $$(grep -m1 '^error' $(TARGET)/isahc.log)" | tee $(TARGET)/release/pinlink-bench-isahc.missing; }

# What every bench asks, what gives turns, and Rust's peers; one after the other, for features would unify.
bench-built:
	@$(call apt,nginx-light,/usr/sbin/nginx)
	@$(call apt,strace,/usr/bin/strace)
	@$(call apt,wrk,/usr/bin/wrk)
	@$(call apt,nghttp2-client,/usr/bin/h2load)
	@echo "building the peers and the program that gives turns (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-peers
	@$(CARGO) build --release --quiet -p pinlink-bench-rust
	@$(ISAHC)

bench-parts: ## Measures the parts of a call, in nanoseconds and in instructions
	$(CARGO) bench --features parts --bench parts
	-@$(MAKE) --no-print-directory instructions

bench-job: ## Runs the whole job in the network in a box for the page (results in target/demo.json)
	@$(call apt,iso-codes,/usr/share/iso-codes/json/iso_3166-2.json)
	@echo "building the program (once, some minutes)"
	@$(CARGO) build --profile demo --quiet --features demo --bin pinlink
	@target/demo/pinlink demo --json >target/demo.json

bench-page: ## Makes the page and the drawings of what was measured (benches/results)
	@$(CARGO) run --quiet -p pinlink-bench-page
	@ls -l benches/results

promises: ## Measures the promises under faults (about 6 minutes)
	@echo "building the workloads (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-promises
	@target/release/pinlink-promises --json target/promises.json

check: ## Checks format, lints, docs, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path benches/rust/isahc/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --features demo -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --features demo
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny (once, some minutes)"; $(CARGO) install --quiet --locked cargo-deny; }
	$(CARGO) deny --workspace check bans licenses sources
	@if $(CARGO) deny --workspace fetch >/dev/null 2>&1; then $(CARGO) deny --workspace check advisories; \
	else echo "advisories NOT checked: the advisory database is out of reach from here"; fi
	@$(MAKE) --no-print-directory instructions

instructions: ## Counts instructions per call and holds them against benches/instructions.toml (a minute; part of check)
	@$(call apt,valgrind,/usr/bin/valgrind)
	@echo "building the program that counts (once, some minutes)"
	@$(CARGO) build --release --quiet -p pinlink-instructions
	@$(TARGET)/release/pinlink-instructions --json $(TARGET)/instructions.json

instructions-accept: ## Makes today's counts the baseline
	@$(call apt,valgrind,/usr/bin/valgrind)
	@$(CARGO) build --release --quiet -p pinlink-instructions
	@$(TARGET)/release/pinlink-instructions --json $(TARGET)/instructions.json --accept

dist: dist-java dist-python ## Builds what a user installs into dist/
	@echo "building the program"
	@$(CARGO) build --release --quiet --features demo --bin pinlink
	@mkdir -p dist && cp target/release/pinlink dist/pinlink && strip dist/pinlink
	@ls -l dist dist/maxcompute

dist-java:
	@$(call apt,lz4,/usr/bin/lz4)
	@echo "building the Java package (once, some minutes)"
	@test -e $(ZIG)/cargo-zigbuild || { python3 -m venv $(TARGET)/zig && \
		$(ZIG)/pip install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.0; }
	@PATH=$(ZIG):$$PATH CARGO_PROFILE_RELEASE_STRIP=symbols \
		$(CARGO) zigbuild --release --quiet -p pinlink-jni --target $(LINUX).2.17
	@lz4 -12 -BD -B5 --no-frame-crc -q -f $(NATIVE)/libpinlink_jni.so $(NATIVE)/pinlink_jni.lz4
	@PATH=$(ZIG):$$PATH CARGO_PROFILE_RELEASE_STRIP=symbols PINLINK_PAYLOAD=$(NATIVE)/pinlink_jni.lz4 \
		$(CARGO) zigbuild --release --quiet -p pinlink-packed --target $(LINUX).2.17
	@$(CARGO) build --quiet -p pinlink-box
	@rm -rf $(JAVA_DIST)
	@install -D $(NATIVE)/libpinlink_packed.so \
		$(JAVA_DIST)/native/io/github/pinlink/native/linux-x86_64/libpinlink_jni.so
	@$(MAVEN) package --projects java -DskipTests -Dpinlink.build=target/dist
	@jni/inspect $(JAVA_DIST)/pinlink-$(VERSION).jar $(NATIVE)/libpinlink_jni.so \
		$(TARGET)/debug/pinlink-box $(JAVA_DIST)/test-classes $(JAVA)
	@jni/start $(JAVA_DIST)/pinlink-$(VERSION).jar $(JAVA_DIST)/test-classes 9 $(JAVA)
	@mkdir -p dist/maxcompute && cp $(JAVA_DIST)/pinlink-$(VERSION)*.jar dist/
	@cp $(JAVA_DIST)/pinlink-$(VERSION).jar dist/maxcompute/
	@sed 's/@VERSION@/$(VERSION)/g' jni/java/maxcompute/commands.sql >dist/maxcompute/commands.sql

dist-python:
	@echo "building the Python wheel (once, some minutes)"
	@test -e $(ZIG)/cargo-zigbuild || { python3 -m venv $(TARGET)/zig && \
		$(ZIG)/pip install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.0; }
	@test -e $(ZIG)/abi3audit || $(ZIG)/pip install --quiet maturin==1.16.0 auditwheel==6.4.2 abi3audit==0.0.21
	@rm -rf $(TARGET)/wheels && mkdir -p dist/maxcompute
	@cd python && PATH=$(ZIG):$$PATH CARGO_TARGET_DIR=$(TARGET) CARGO_PROFILE_RELEASE_STRIP=symbols maturin build --quiet \
		--release --zig --compatibility manylinux2014 --target $(LINUX) --out $(TARGET)/wheels
	@cd python && PATH=$(ZIG):$$PATH maturin sdist --out $(TARGET)/wheels
	@$(CARGO) build --quiet -p pinlink-box
	@python/inspect $(TARGET)/wheels/pinlink-$(VERSION)-*.whl $(TARGET)/wheels/pinlink-$(VERSION).tar.gz \
		$(TARGET)/debug/pinlink-box $(ZIG) $(PYTHONS)
	@cp $(TARGET)/wheels/pinlink-$(VERSION)* dist/
	@cp $(TARGET)/wheels/pinlink-$(VERSION)-*.whl dist/maxcompute/pinlink-$(VERSION).zip
	@cp examples/maxcompute-python/functions.py examples/maxcompute-python/service.json dist/maxcompute/
	@for name in commands-python.sql commands_pyodps.py; do \
		sed 's/@VERSION@/$(VERSION)/' python/maxcompute/$$name >dist/maxcompute/$$name; done

soak-python: ## Calls, streams, forks and ends a million times through the Python binding (some minutes)
	@$(CARGO) build --release --quiet -p pinlink-python -p pinlink-box
	@python3 python/tests/run.py --soak $(TARGET) $(PYTHONS)
