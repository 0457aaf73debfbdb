# SPDX-License-Identifier: Apache-2.0
# `make` prints the verbs. Every verb sets up what it needs; nothing outside this folder is touched.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	command -v $$p >/dev/null && $$p -c "import sys; sys.exit(sys.version_info < (3, 11))" && command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
LOCK := deploy/lock/development.txt
FUZZ_SECONDS ?= 300
PROVIDER := tests/e2e/provider
RELEASE := .venv-release
RELEASE_STAMP := $(RELEASE)/.ready
PROVIDER_STAMP := $(PROVIDER)/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test check e2e bench soak fuzz fix generate lock pin-images wheel sbom audit release clean

help:  ## print the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make the virtual environment from the hashed lock

$(STAMP): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing: install it (Debian: apt-get install python3 python3-venv)." >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install it (Debian: apt-get install python3-venv)." >&2; exit 2; }
	@echo "setting up $(VENV) from $(LOCK) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## play the LINE story through a real gateway
	@$(BIN)/sekisho demo

test: $(STAMP)  ## run every test, the demo included
	@$(BIN)/python -m pytest -n auto --dist loadfile

check: $(STAMP)  ## format, lint, types, the reference bundle, every file under deploy/
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/python -m deploy.monitoring --check
	@$(BIN)/python -m deploy.validation
	@$(BIN)/sekisho check policies/
	@$(BIN)/sekisho test policies/

$(PROVIDER_STAMP): $(PROVIDER)/package-lock.json $(PROVIDER)/package.json
	@command -v node >/dev/null && command -v npm >/dev/null || \
	  { echo "node or npm is missing: install them (Debian: apt-get install --no-install-recommends nodejs npm)." >&2; exit 2; }
	@echo "installing the OpenID provider from $< …"
	@npm ci --prefix $(PROVIDER) --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

e2e: $(STAMP) $(PROVIDER_STAMP)  ## against a real OpenID provider, Prometheus, Alertmanager, PostgreSQL and Redis, slowhttptest, systemd, and the image's own steps
	@$(BIN)/python -m pytest tests/e2e -p no:cacheprovider --capture=no

bench: $(STAMP)  ## CPU per request beside nginx, HAProxy and Envoy; decisions beside cedarpy, CEL, Cerbos; loading; reload; registers; look-ups; the filter of answers beside orjson; the ledger
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/lock/bench.txt
	@$(BIN)/python -m bench.edge
	@$(BIN)/python -m bench.decisions
	@$(BIN)/python -m bench.loading
	@$(BIN)/python -m bench.reload
	@$(BIN)/python -m bench.registers
	@$(BIN)/python -m bench.lookups
	@$(BIN)/python -m bench.assertion
	@$(BIN)/python -m bench.passage
	@$(BIN)/python -m bench.redaction
	@$(BIN)/python -m bench.ledger
	@$(BIN)/python -m bench.ledger_kill

soak: $(STAMP)  ## an hour under every fault of callers and API; what is left behind
	@$(BIN)/python -m bench.soak

fuzz: $(STAMP)  ## feed every parser of foreign bytes for FUZZ_SECONDS (300), led by coverage; status 1 and the input if one falls
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/lock/fuzz.txt || \
	  { echo "atheris cannot be installed: it has wheels for CPython 3.11 to 3.13 on Linux." >&2; exit 2; }
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

fix: $(STAMP)  ## format and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: $(STAMP)  ## write what is made by code: alerts, dashboards, docs/metrics.md; RUNBOOKS=URL says where runbooks are
	@$(if $(RUNBOOKS),$(BIN)/python -m deploy.monitoring.runbooks '$(RUNBOOKS)')
	@$(BIN)/python -m deploy.monitoring

lock: $(STAMP)  ## resolve the dependencies anew, with hashes
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate pyproject.toml --output-file deploy/lock/runtime.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate pyproject.toml --group dev --output-file $(LOCK)
	@for group in bench build fuzz release; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate --group $$group --output-file deploy/lock/$$group.txt; done

pin-images: $(STAMP)  ## put the digest behind the tag of every image that is named (needs docker and a registry)
	@$(BIN)/python -m deploy.images

# An environment of its own: what tells of a release must neither be in it nor change what is tested.
$(RELEASE_STAMP): deploy/lock/release.txt
	@echo "setting up $(RELEASE) from $< …"
	@$(PYTHON) -m venv --clear $(RELEASE)
	@$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

wheel: $(STAMP)  ## build wheel and source archive of the last commit into dist/, the same bytes each time
	@$(BIN)/python -m deploy.release.build dist

sbom: wheel $(RELEASE_STAMP)  ## say in CycloneDX what that wheel installs: versions, hashes, licences, who needs whom
	@$(BIN)/python -m deploy.release.sbom dist --tools $(RELEASE)/bin

audit: $(RELEASE_STAMP)  ## ask what is known against what is installed or builds (needs the network); 1 if anything is, or could not be asked
	@$(RELEASE)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	  -r deploy/lock/runtime.txt -r deploy/lock/build.txt

release: sbom  ## all that a release consists of, with SHA256SUMS: docs/RELEASING.md
	@cp deploy/lock/runtime.txt dist/
	@cd dist && sha256sum *.whl *.tar.gz *.cdx.json runtime.txt >SHA256SUMS && cat SHA256SUMS

clean:  ## remove what the verbs made
	rm -rf $(VENV) $(RELEASE) $(PROVIDER)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
