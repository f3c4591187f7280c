# On a machine that has Python 3.11 to 3.13, make and gcc:
#   make bench     install, then measure the built-in engine
#   make test      install, then lint, types, tests, wheel: what CI does
#   make check     lint, types and the quick tests: between two edits
#   make test-peers  other projects' clients and servers with ours, installed for that: a quarter of an hour
#   make nightly   the properties with many random examples, and tests in full that have a smaller form elsewhere
.DEFAULT_GOAL := help
.PHONY: help bench test test-peers check nightly lint types pytest quick-tests wheel gpu-wheels clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

help:
	@sed -n 's/^#   //p' Makefile

# uv installs in a fraction of the time but reads none of pip's settings: where those name other indexes, it is pip.
UV = $(if $(shell $(PYTHON) -m pip config list 2> /dev/null | grep -E 'index|find-links'),,$(shell command -v uv))
UV_INSTALL = $(UV) pip install --quiet --python $(BIN)/python --torch-backend auto
INSTALL = $(if $(UV),$(UV_INSTALL),$(BIN)/python -m pip install --quiet)

# torch by its exact pin first: where a CPU build of that version is offered, a range would take gigabytes of CUDA
# packages instead.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(UV),,$(INSTALL) --upgrade pip)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	mkdir -p $(VENV)/types
	ln -sfn ../.. $(VENV)/types/abatch
	touch $@

# ARGS are abatch's own: make bench ARGS='--workload hol-probe --batching window'
bench: $(VENV)/installed
	$(BIN)/abatch bench $(ARGS)

# What needs one processor runs beside its like.
SIDE_BY_SIDE := $(MAKE) --no-print-directory --jobs 2 --output-sync=target

test: $(VENV)/installed
	$(SIDE_BY_SIDE) lint types wheel
	$(MAKE) --no-print-directory pytest

check: $(VENV)/installed
	$(SIDE_BY_SIDE) lint types quick-tests

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# The repository root is the package, which mypy cannot know: it finds it through a link of that name.
types: $(VENV)/installed
	MYPYPATH=$(VENV)/types $(BIN)/mypy -p abatch.cli -p abatch.engine -p abatch.reports -p abatch.workloads
	MYPYPATH=$(VENV)/types:tests $(BIN)/mypy --explicit-package-bases tests

# Three workers on two processors, as many tests wait for a clock. ARGS are pytest's own; the last -n counts:
# make pytest ARGS='-n 0 -x tests/cli'
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadgroup

pytest: $(VENV)/installed
	$(PYTEST) $(ARGS)

# What decides and counts, without models, servers and what draws many examples.
QUICK := tests/test_house.py $(addprefix tests/engine/,hosting kv parking scheduling) $(addprefix tests/reports/test_, \
	findings.py gates.py percentile.py recorder.py summary.py) tests/workloads/test_load_generator.py

quick-tests: $(VENV)/installed
	$(PYTEST) --quiet -m 'not slow and not hypothesis' $(QUICK) $(ARGS)

nightly: $(VENV)/installed
	ABATCH_TEST_PROFILE=nightly $(PYTEST) -m 'hypothesis or nightly or slow' --timeout 3600 $(ARGS)

# What users install, installed where nothing else is: the client alone, without torch.
wheel: $(VENV)/installed
	rm -rf build dist
	$(BIN)/python -m build --quiet --wheel
	$(BIN)/python tests/support/check_wheel.py dist/*.whl

# What a machine with a GPU that has torch and transformers still lacks (docs/benchmarks.md), for Python 3.12 on x86-64.
# pip finds only wheels of the platforms it is told, letter by letter.
GPU_PACKAGES := msgspec|llguidance|hdrhistogram|pbr|pytest-asyncio
GPU_PLATFORMS := manylinux_2_31 manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1
gpu-wheels: $(VENV)/installed
	rm -rf .wheels
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		$(GPU_PLATFORMS:%=--platform %_x86_64) --dest .wheels $$(grep -E '^($(GPU_PACKAGES))==' constraints.txt)
	ls .wheels

# Others' clients against our server, others' servers as targets, and a tool of others that holds /openapi.json against
# what the server does. Each has an environment of its own, as the other tests need none of what it brings; what cannot
# be installed is skipped by name. A quarter of an hour, once everything is there.
PEERS := $(VENV)/peers
$(PEERS)/all-tried: $(VENV)/installed tests/support/peer_environments.py
	$(BIN)/python tests/support/peer_environments.py
	touch $@

# Warnings in the code of others are theirs.
test-peers: $(PEERS)/all-tried
	$(BIN)/python tests/support/check_openapi.py $(PEERS)/bin/schemathesis
	ABATCH_TEST_PEERS=1 $(PEERS)/bin/python -m pytest -W ignore --timeout 900 tests/peers $(ARGS)

clean:
	rm -rf $(VENV) .wheels build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
