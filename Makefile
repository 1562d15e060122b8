# Everything this project does, on a fresh machine: `make run`, `make test`. See `make help`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CLI    := $(BIN)/mkfs-erofs-py
OUT    := build
# A test process for each core, up to four: tests wait for commands and mounts, and many at once wait too long.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4
IMAGE  := $(OUT)/example.erofs
# A tree that every Linux machine has and anybody may read; choose another with SRC=.
SRC    ?= /usr/bin

.DELETE_ON_ERROR:
.PHONY: help run test test-long lint reference kernel-test kernel-bench fuzz clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: $(VENV)/.installed ## build an image from a real tree (SRC=) and show what it is
	@mkdir -p $(OUT)
	$(CLI) build $(IMAGE) $(SRC)
	@ls -l $(IMAGE)
	$(CLI) dump $(IMAGE)
	$(CLI) ls -l $(IMAGE) | head -n 12
	$(CLI) verify $(IMAGE)
	@scripts/show-mount.sh $(IMAGE)

test: $(VENV)/.installed-dev ## run the tests, but those that take long (ARGS= for pytest)
	$(PYTEST) $(ARGS)

test-long: $(VENV)/.installed-dev ## run the tests that take long
	$(PYTEST) -m long $(ARGS)

lint: $(VENV)/.installed-dev ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

reference: $(VENV)/.installed-dev ## fetch erofs-utils 1.9 into the cache, for the tests that compare with it
	$(BIN)/python -m tests.support.reference

fuzz: $(VENV)/.installed-dev ## feed the reader mutated images until one does harm (SECONDS=, default 60)
	$(BIN)/pip install --quiet 'atheris>=2.3'
	@mkdir -p .cache/fuzz
	$(BIN)/python -m tests.fuzz.fuzz_read -max_total_time=$(or $(SECONDS),60) -rss_limit_mb=512 -timeout=10 .cache/fuzz

kernel-test: $(VENV)/.installed-dev ## boot a Debian kernel with page cache sharing, and let it judge our images
	$(BIN)/python -m tests.kernel.harness.fetch
	$(BIN)/python -m tests.support.reference
	$(BIN)/python -m pytest tests/kernel --boot -m "long or not long" $(ARGS)

kernel-bench: $(VENV)/.installed-dev ## measure what sharing saves on that kernel and in user space (ARGS= names systems; as root)
	$(BIN)/python -m tests.kernel.harness.fetch
	$(BIN)/python -m benchmarks.kernel $(ARGS)

clean: ## remove what was made (the cache stays)
	rm -rf $(VENV) $(OUT)

# The two environments: what users install, and with what developers need on top.
$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/bin/python:
	@scripts/make-venv.sh $(PYTHON) $(VENV)
