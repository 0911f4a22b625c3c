# Two commands on a fresh machine with Python 3.11+, make and g++:
#   make demo   own virtual environment, the main job on the shipped trace, a report to open
#   make test   lint, types, every test; installs what they need
# Further:
#   make agreement   published numbers beside ours, into sim_results/ and the README
#   make bench       figures beside their budgets, other tools beside ours (make peers installs them)
#   make fuzz        readers of files and texts, FUZZ_SECONDS=60
#   make clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
REPORT ?= report
FUZZ_SECONDS ?= 60
PEERS ?= .peers
PYTHON312 ?= python3.12

TOOLS := iverilog yosys

.PHONY: demo test lint tools agreement bench peers fuzz clean

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
	$(BIN)/python -m pytest -n 2 --dist loadfile

agreement: $(VENV)/demo.stamp
	$(BIN)/sparsight reproduce --summary README.md

bench: $(VENV)/test.stamp
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-columns=min,median,max \
	  --figures sim_results/bench/figures.md; kept=$$?; \
	$(BIN)/python -m tests.benchmarks.peers --peers $(PEERS) --out sim_results/bench && exit $$kept

# Tools that answer the same questions, each in an environment of its own; make bench compares with
# those that are there. SCALE-Sim 3.0.0 fails with NumPy 2.4, ZigZag misses six, AccelForge needs 3.12.
peers: $(VENV)/test.stamp
	-$(PIP) --editable '.[spgemm-benchmarks]'
	-$(PYTHON) -m venv $(PEERS)/scalesim
	-$(PEERS)/scalesim/bin/pip install --quiet scalesim==3.0.0 'numpy<2.4'
	-$(PYTHON) -m venv $(PEERS)/zigzag
	-$(PEERS)/zigzag/bin/pip install --quiet zigzag-dse==3.9.1 six
	-$(PYTHON312) -m venv $(PEERS)/accelforge
	-$(PEERS)/accelforge/bin/pip install --quiet accelforge==1.0.467

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
	rm -rf $(VENV) build *.egg-info $(REPORT) sim_build fuzz $(PEERS)
