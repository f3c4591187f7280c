# Two commands on a machine that has Python 3.11 to 3.13, make and gcc:
#   make bench   install, then measure the built-in engine
#   make test    install, then lint, types, tests
.DEFAULT_GOAL := help
.PHONY: help bench test lint types pytest wheel gpu-wheels clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

help:
	@sed -n 's/^#   //p' Makefile

# torch by its exact pin first: where a CPU build of that version is offered, a range would take gigabytes of CUDA
# packages instead.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	mkdir -p $(VENV)/types
	ln -sfn ../.. $(VENV)/types/abatch
	touch $@

# ARGS are abatch's own: make bench ARGS='--workload hol-probe --batching window'
bench: $(VENV)/installed
	$(BIN)/abatch bench $(ARGS)

test: lint types pytest wheel

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# The repository root is the package, which mypy cannot know: it finds it through a link of that name.
types: $(VENV)/installed
	MYPYPATH=$(VENV)/types $(BIN)/mypy -p abatch.cli -p abatch.engine -p abatch.reports -p abatch.workloads
	MYPYPATH=$(VENV)/types:tests $(BIN)/mypy --explicit-package-bases tests

pytest: $(VENV)/installed
	$(BIN)/python -m pytest $(ARGS)

# What users install, installed where nothing else is: the client alone, without torch.
wheel: $(VENV)/installed
	rm -rf build dist
	$(BIN)/python -m build --quiet --wheel
	$(BIN)/python tests/support/check_wheel.py dist/*.whl

# What a machine with a GPU that has torch and transformers still lacks (docs/benchmarks.md), for Python 3.12 on x86-64.
# pip finds only wheels of the platforms it is told, letter by letter.
GPU_PACKAGES := msgspec|hdrhistogram|pbr|pytest-asyncio
GPU_PLATFORMS := manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1
gpu-wheels: $(VENV)/installed
	rm -rf .wheels
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
		$(GPU_PLATFORMS:%=--platform %_x86_64) --dest .wheels $$(grep -E '^($(GPU_PACKAGES))==' constraints.txt)
	ls .wheels

clean:
	rm -rf $(VENV) .wheels build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
