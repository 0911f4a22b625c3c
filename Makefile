# Two commands on a fresh machine with Python 3.11+, make and g++:
#   make demo   own virtual environment, the main job on the shipped trace, a report to open
#   make test   lint, types, every test; installs what they need
# Further: make agreement (published numbers beside ours, into the README), make bench (figures
# beside their budgets), make fuzz FUZZ_SECONDS=600 (readers of files and texts), make clean.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
REPORT ?= report
FUZZ_SECONDS ?= 60

TOOLS := iverilog yosys

.PHONY: demo test lint tools agreement bench fuzz clean

demo: $(VENV)/demo.stamp
	$(BIN)/sparsight compare sat --trace digits-resnet \
	  --methods dense,sr-ste:2:8,bdwp:2:8 --report $(REPORT)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Simulate and count the emitted Verilog. Installed where that is possible without asking.
tools:
	@missing=; for tool in $(TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
	else \
	  echo "make test needs$$missing: install with your package manager (apt-get install$$missing)" >&2; \
	  exit 2; \
	fi

test: tools lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

agreement: $(VENV)/demo.stamp
	$(BIN)/sparsight reproduce --summary README.md

bench: $(VENV)/test.stamp
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-columns=min,median,max

fuzz: $(VENV)/test.stamp
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test,torch,rtl]'
	touch $@ $(VENV)/demo.stamp

clean:
	rm -rf $(VENV) build *.egg-info $(REPORT) sim_build fuzz
